"""Paths that may lie in a bucket (gs://BUCKET/…), through etils.epath, beside those of a disk.

An object cannot be appended to and a folder cannot be renamed there; an object is there whole or not at all by itself.
"""

import atexit
import shutil
import tempfile
from pathlib import Path

import fsspec
from etils import epath


def open_path(spelled: str | Path | epath.Path) -> epath.Path:
    """A path of a disk, made absolute, or of a bucket. Raises ValueError where what reads buckets is not installed."""
    path = epath.Path(spelled)
    if not is_remote(path):
        return epath.Path(Path(spelled).absolute())
    try:
        fsspec.get_filesystem_class(str(path).partition("://")[0])
    except ImportError as error:
        raise ValueError(f"{path}: {error}; for gs://, pip install 'lte_jax[gcs]'") from None
    return path


def is_remote(path: epath.Path) -> bool:
    """Whether the path lies in a bucket."""
    return "://" in str(path)


def write_whole(path: epath.Path, content: str | bytes) -> None:
    """Writes a file that is there whole or not at all, in place of one of its name. Raises OSError with the path."""
    data = content.encode() if isinstance(content, str) else content
    unfinished = path if is_remote(path) else path.with_name(f"{path.name}.partial")
    try:
        unfinished.write_bytes(data)
        if unfinished != path:
            unfinished.replace(path)
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error


def copy_files(source: epath.Path | Path, target: epath.Path, last: str = "") -> None:
    """Copies the files of a folder, not its folders. `last`: name of a file that says that the others are there."""
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted(epath.Path(source).iterdir(), key=lambda path: path.name == last):
        if path.is_file():
            path.copy(target / path.name, overwrite=True)


def on_disk(folder: epath.Path) -> Path:
    """The folder itself, or a copy of its files that lasts as long as the process, for what reads disks only."""
    if not is_remote(folder):
        return Path(folder)
    copy = Path(tempfile.mkdtemp(prefix="lte-"))
    atexit.register(shutil.rmtree, copy, ignore_errors=True)
    copy_files(folder, epath.Path(copy))
    return copy
