"""A JSONL file that a stopped command continues, and beside it FILE.settings.json: what its rows were made with."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from etils import epath

from lte_jax.config import ConfigError
from lte_jax.storage.paths import write_whole
from lte_jax.storage.run_files import whole_lines


class Resumable:
    """`done`: rows that are there, by the values of `key`; a line that a kill left half-written is cut.

    `others`: files of other processes, begun with the same settings, whose rows are done too and which are only read.

    Raises ConfigError where a file was begun with another value of a setting. Settings that it did not have are added:
    another benchmark may follow, another temperature may not.
    """

    def __init__(self, path: Path, settings: Mapping, key: Sequence[str], others: Sequence[Path] = ()):
        files = [found for found in (path, *others) if found.exists()]
        before = {found: _settings(found) for found in files}
        for found, theirs in before.items():
            changed = [name for name in settings if theirs.get(name, settings[name]) != settings[name]]
            if changed:
                raise ConfigError(f"{found}: begun with other settings: {', '.join(changed)}; choose another place")
        lines = {found: whole_lines(epath.Path(found)) for found in files}
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(epath.Path(_beside(path)), json.dumps(before.get(path, {}) | dict(settings), indent=1))
        if path in lines:
            write_whole(epath.Path(path), "".join(line + "\n" for line in lines[path]))
        rows = [json.loads(line) for found in files for line in lines[found]]
        self.done: dict[tuple, dict] = {tuple(row[name] for name in key): row for row in rows}
        self._file = path.open("a", encoding="utf-8")

    def __enter__(self) -> "Resumable":
        return self

    def __exit__(self, *_) -> None:
        self._file.close()

    def write(self, row: dict) -> None:
        self._file.write(json.dumps(row, ensure_ascii=False) + "\n")
        self._file.flush()


def _beside(path: Path) -> Path:
    return path.with_name(path.name + ".settings.json")


def _settings(path: Path) -> dict:
    """What the rows of a file that is there were made with."""
    beside = _beside(path)
    if not beside.exists():
        raise ConfigError(f"{path}: there is such a file, and no {beside.name} that says how it was made")
    return json.loads(beside.read_text(encoding="utf-8"))
