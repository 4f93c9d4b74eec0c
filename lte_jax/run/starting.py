"""The weights that a run starts from, known by content: whatever lies at `model.path` later is compared with them.

A run folder as the starting model goes on by itself, so the checkpoint that was its newest is kept to. Files are read
once, in the background of the first steps; one whose size and times have not changed since is not read again.
"""

import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from etils import epath

from lte_jax.config import Config, ConfigError
from lte_jax.model_io.checkpoint import CHECKPOINTS, as_checkpoint, newest_step
from lte_jax.model_io.convert import INDEX, SINGLE
from lte_jax.model_io.hf_config import read_json
from lte_jax.run.processes import all_values
from lte_jax.storage.paths import open_path, write_whole

STARTING = "starting.json"
PIECE_BYTES = 16 << 20  # of a file, held by each of the threads that read
SMALL_BYTES = 1 << 20  # files of a checkpoint up to this size are read whole
SILENT_S = 3.0  # after which a start that waits for them says so
SETTLED_NS = 2_000_000_000  # a file that was written so shortly before it was read may change within its time stamp


@dataclass(frozen=True)
class Record:
    """What a run knows of its starting weights. `step`: of the run folder that it started from, None for others."""

    step: int | None = None
    digest: str = ""  # empty: not known yet
    seen: Mapping[str, list] = field(default_factory=dict)  # file -> [size, times of change, digest]


def read_record(run: epath.Path) -> Record | None:
    """None for a run that has not started, and for one of a version that kept no record."""
    path = run / STARTING
    return Record(**json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None


def write_record(run: epath.Path, record: Record) -> None:
    write_whole(run / STARTING, json.dumps(asdict(record), indent=1))


def reads_weights(run: epath.Path, config: Config) -> bool:
    """Whether a start reads the starting weights: only without a checkpoint, and for the reference of a KL."""
    return config.loss.kl != "none" or not newest_step(run)


def pinned(config: Config, run: str | Path) -> Config:
    """The config with a checkpoint in place of a run folder as the starting model: the one that the run started from,
    at its first start the newest. Raises ConfigError where it is gone and would be read."""
    path, folder = open_path(config.model.path), open_path(run)
    if not config.model.path or path.parent.name == CHECKPOINTS:
        return config
    source, newest = as_checkpoint(path)
    if source is None:
        return config
    record = read_record(folder)
    is_known = record and record.step is not None and (record.digest or newest_step(folder))
    step = all_values(record.step if is_known else newest)[0]
    if not (path / CHECKPOINTS / str(step)).is_dir():
        if reads_weights(folder, config):
            raise ConfigError(
                f"{path}: checkpoint {step}, which {folder} started from, is gone; the newest is {newest}. Put it "
                "back, or begin another run in another folder"
            )
        step = newest
    chosen = config.model.model_copy(update={"path": str(path / CHECKPOINTS / str(step))})
    return config.model_copy(update={"model": chosen})


class StartingWeights:
    """Compares the weights at `source` with those that the run started from, or takes them down at its first start."""

    def __init__(self, run: epath.Path, source: epath.Path, warn: Callable[[str], None]):
        self._run, self._source, self._warn = run, source, warn
        self._unknown: Future[Record] | None = None  # on its way

    def check(self, config: Config, moved: bool) -> bool:
        """Whether they were known. Raises ConfigError where they are others; looks only where they are read, or where
        they lie elsewhere now."""
        record = read_record(self._run)
        is_needed = moved or reads_weights(self._run, config)
        if record is None or not record.digest:
            if newest_step(self._run) and is_needed:
                self._warn(
                    f"{self._run}: the version that began this run did not record its starting weights: taken as "
                    f"they are now, {self._source}"
                )
            write_record(self._run, Record(step_of(self._source)))
            self._unknown = begin_record(self._source, {})
            return False
        if is_needed:
            found = self._wait(begin_record(self._source, record.seen))
            if found.digest != record.digest:
                raise ConfigError(
                    f"{self._run}: model.path = {config.model.path}: other weights ({self._source}) than this run "
                    "started from; restore them, or begin another run in another folder"
                )
            write_record(self._run, replace(record, seen=found.seen))
        return True

    def write_when_known(self, wait: bool = True) -> None:
        """Writes them down where they were not known; a checkpoint waits for that."""
        if self._unknown is not None and (wait or self._unknown.done()):
            unknown, self._unknown = self._unknown, None
            try:
                write_record(self._run, unknown.result())
            except (OSError, ValueError) as error:
                self._warn(
                    f"{self._source}: could not be read again, so the starting weights are not recorded: {error}"
                )

    def _wait(self, record: Future[Record]) -> Record:
        try:
            return record.result(timeout=SILENT_S)
        except TimeoutError:
            self._warn(f"{self._source}: reading the starting weights, to compare them with this run's")
            return record.result()


def step_of(source: epath.Path) -> int | None:
    """The step of a checkpoint, None for a Hugging Face folder."""
    return int(source.name) if source.parent.name == CHECKPOINTS else None


def begin_record(source: epath.Path, seen: Mapping[str, list]) -> Future[Record]:
    """The record of the weights at `source`, taken in a thread. `seen`: what is known of files already."""
    thread = ThreadPoolExecutor(1, "starting-weights")
    record = thread.submit(_take, source, seen)
    thread.shutdown(wait=False)
    return record


def _take(source: epath.Path, seen: Mapping[str, list]) -> Record:
    step = step_of(source)
    if step is not None:
        return Record(step, _checkpoint_digest(source / "params"))
    files = {str(path): _file_digest(path, seen) for path in _weight_files(Path(source))}
    total = sum(int(entry[-1], 16) for entry in files.values()) % 2**256
    now = time.time_ns()
    return Record(None, f"{total:064x}", {path: e for path, e in files.items() if now - max(e[1]) > SETTLED_NS})


def _weight_files(folder: Path) -> list[Path]:
    """The safetensors files that import reads."""
    if (folder / SINGLE).exists() or not (folder / INDEX).exists():
        return [folder / SINGLE]
    return [folder / name for name in sorted(set(read_json(folder / INDEX)["weight_map"].values()))]


def _file_digest(path: Path, seen: Mapping[str, list]) -> list:
    """[size, [times of the last change of content and of anything], digest]."""
    found = os.stat(path)
    stamp = [found.st_size, [found.st_mtime_ns, found.st_ctime_ns]]
    known = seen.get(str(path))
    if known and known[:2] == stamp:
        return known
    return [*stamp, f"{_tensors_digest(path):064x}"]


def _tensors_digest(path: Path) -> int:
    """The sum of all tensors' digests, by name, type, shape and bytes: it does not matter how they lie in files."""
    with path.open("rb") as file:
        n_header = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(n_header))
    tensors = [(name, entry) for name, entry in header.items() if name != "__metadata__"]
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as readers:
        return sum(readers.map(lambda tensor: _tensor_digest(path, 8 + n_header, *tensor), tensors)) % 2**256


def _tensor_digest(path: Path, n_before: int, name: str, entry: dict) -> int:
    start, end = entry["data_offsets"]
    digest = hashlib.sha256(json.dumps([name, entry["dtype"], entry["shape"]]).encode())
    piece = memoryview(bytearray(min(PIECE_BYTES, end - start)))
    with path.open("rb", buffering=0) as file:
        file.seek(n_before + start)
        while left := end - start:
            n = file.readinto(piece[: min(left, len(piece))])
            if not n:
                raise ConfigError(f"{path}: {name} is cut off: wanted {left} bytes more")
            digest.update(piece[:n])
            start += n
    return int.from_bytes(digest.digest())


def _checkpoint_digest(folder: epath.Path) -> str:
    """Of an Orbax item: names and sizes of all files and the content of the small ones. Its data files are called by
    numbers drawn at random, which the small ones list: two writes of a checkpoint differ, copies do not."""
    digest, folders, files = hashlib.sha256(), [folder], {}
    while folders:
        for path in folders.pop().iterdir():
            if path.is_dir():
                folders.append(path)
            else:
                files[str(path.relative_to(folder))] = path
    for name, path in sorted(files.items()):
        size = path.stat().length
        content = path.read_bytes() if size <= SMALL_BYTES else b""
        digest.update(json.dumps([name, size, hashlib.sha256(content).hexdigest()]).encode())
    return digest.hexdigest()
