"""A JSONL file that a stopped command continues, and beside it FILE.settings.json: what its rows were made with."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from lte_jax.config import ConfigError


class Resumable:
    """`done`: rows that are there, by the values of `key`; a line that a kill left half-written is cut.

    Raises ConfigError where the file was begun with another value of a setting. Settings that it did not have are
    added: another benchmark may follow, another temperature may not.
    """

    def __init__(self, path: Path, settings: Mapping, key: Sequence[str]):
        beside = path.with_name(path.name + ".settings.json")
        self.done: dict[tuple, dict] = {}
        before: dict = {}
        if path.exists():
            if not beside.exists():
                raise ConfigError(f"{path}: there is such a file, and no {beside.name} that says how it was made")
            before = json.loads(beside.read_text(encoding="utf-8"))
            changed = [name for name in settings if before.get(name, settings[name]) != settings[name]]
            if changed:
                raise ConfigError(f"{path}: begun with other settings: {', '.join(changed)}; choose another place")
            whole = [line for line in path.read_bytes().split(b"\n") if line.endswith(b"}")]
            path.write_bytes(b"".join(line + b"\n" for line in whole))
            self.done = {tuple(row[name] for name in key): row for row in map(json.loads, whole)}
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(json.dumps(before | dict(settings), indent=1), encoding="utf-8")
        self._file = path.open("a", encoding="utf-8")

    def __enter__(self) -> "Resumable":
        return self

    def __exit__(self, *_) -> None:
        self._file.close()

    def write(self, row: dict) -> None:
        self._file.write(json.dumps(row, ensure_ascii=False) + "\n")
        self._file.flush()
