"""Paths that may lie in a bucket (gs://BUCKET/…), through etils.epath, beside those of a disk.

An object cannot be appended to and a folder cannot be renamed there; an object is there whole or not at all by itself.
"""

import atexit
import shutil
import tempfile
from pathlib import Path

import fsspec
from etils import epath

from lte_jax.config import ConfigError


def open_path(text: str | Path | epath.Path) -> epath.Path:
    """A path of a disk, made absolute, or of a bucket. Raises ValueError where what reads buckets is not installed."""
    path = epath.Path(text)
    if not is_remote(path):
        return epath.Path(Path(text).expanduser().absolute())
    try:
        fsspec.get_filesystem_class(str(path).partition("://")[0])
    except ImportError as error:
        raise ValueError(f"{path}: {error}; for gs://, pip install 'lte_jax[gcs]'") from None
    return path


def refuse_overlap(run: str | Path, model: str) -> None:
    """Refuses a run folder that is the starting model, lies inside it, or holds it. Raises ConfigError."""
    places = [_resolved(str(run)), _resolved(model)]
    is_model = bool(model) and (is_remote(model) or places[1].exists())  # a Hub id is no place
    if is_model and any(one == other or one in other.parents for one, other in (places, places[::-1])):
        raise ConfigError(
            f"--run {run} and model.path = {model}: wanted two folders, neither inside the other, got {places[0]} and "
            f"{places[1]}; a run that continues takes the model.path that it was started with"
        )


def _resolved(text: str) -> Path:
    """Absolute and without links; of a bucket as it is written, which is there for comparing only."""
    return Path(text) if is_remote(text) else Path(text).expanduser().resolve()


def is_remote(path: str | epath.Path) -> bool:
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
