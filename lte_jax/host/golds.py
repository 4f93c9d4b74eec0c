"""Notes of files whose reference answers can all be graded, so that a large file is looked through once.

A note is named by everything that the look depends on: the file's bytes, the verifier's conventions, the code and
Python. So it never changes what is decided, and nothing has to be deleted.
"""

import hashlib
import os
import sys
from functools import cache
from pathlib import Path

from lte_jax.host.problems import file_hash

_WORTH = 10_000  # distinct answers, which take some seconds; fewer are looked at each time


def folder() -> Path:
    """Where notes are kept: lte_jax/golds of the user's cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lte_jax" / "golds"


def note_of(path: str | Path, conventions: str) -> Path:
    """The note that would say it of this file under these conventions."""
    parts = (file_hash(path), conventions, _code(), sys.version)
    return folder() / hashlib.sha256("\n".join(parts).encode()).hexdigest()


def is_noted(note: Path) -> bool:
    """Whether it is there, and whole."""
    try:
        return note.read_text(encoding="utf-8") == note.name
    except OSError:
        return False


def write_note(note: Path, n_answers: int) -> None:
    """After a look that found nothing, where it is worth it. Raises OSError where the folder cannot be written."""
    if n_answers < _WORTH:
        return
    note.parent.mkdir(parents=True, exist_ok=True)
    unfinished = note.with_name(f"{note.name}.{os.getpid()}.tmp")
    unfinished.write_text(note.name, encoding="utf-8")
    unfinished.replace(note)


@cache
def _code() -> str:
    """SHA-256 of what reads problems and answers: all of host/ and the records."""
    package = Path(__file__).resolve().parent
    found = hashlib.sha256()
    for path in [package.parent / "records.py", *sorted(package.rglob("*.py"))]:
        found.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return found.hexdigest()
