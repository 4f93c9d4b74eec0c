"""A JSONL file that a stopped command continues, and beside it FILE.settings.json: what its rows were made with."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from etils import epath

from lte_jax.config import ConfigError
from lte_jax.paths import write_whole
from lte_jax.report.files import whole_lines


class Resumable:
    """`done`: rows that are there, by the values of `key`; a line that a kill left half-written is cut.

    Of several processes, `part` 0 writes FILE.jsonl and part n FILE.n.jsonl; `done` holds the rows of all parts, also
    where there were more of them before.

    Raises ConfigError where the file was begun with another value of a setting. Settings that it did not have are
    added: another benchmark may follow, another temperature may not.
    """

    def __init__(self, path: Path, settings: Mapping, key: Sequence[str], part: int = 0):
        own = path.with_suffix(f".{part}{path.suffix}") if part else path
        parts = sorted(found for found in path.parent.glob(f"{path.stem}*{path.suffix}") if _is_part(found, path))
        before = [_settings(found) for found in parts]
        changed = [name for name in settings if any(b.get(name, settings[name]) != settings[name] for b in before)]
        if changed:
            raise ConfigError(f"{path}: begun with other settings: {', '.join(changed)}; choose another place")
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(epath.Path(_beside(own)), json.dumps(_merged([*before, settings]), indent=1))
        lines = {found: whole_lines(epath.Path(found)) for found in parts}
        if own in lines:
            write_whole(epath.Path(own), "".join(line + "\n" for line in lines[own]))
        rows = [json.loads(line) for found in parts for line in lines[found]]
        self.done: dict[tuple, dict] = {tuple(row[name] for name in key): row for row in rows}
        self._file = own.open("a", encoding="utf-8")

    def __enter__(self) -> "Resumable":
        return self

    def __exit__(self, *_) -> None:
        self._file.close()

    def write(self, row: dict) -> None:
        self._file.write(json.dumps(row, ensure_ascii=False) + "\n")
        self._file.flush()


def _merged(parts: Sequence[Mapping]) -> dict:
    return {name: value for part in parts for name, value in part.items()}


def _beside(path: Path) -> Path:
    return path.with_name(path.name + ".settings.json")


def _settings(path: Path) -> dict:
    """What the rows of a file that is there were made with."""
    beside = _beside(path)
    if not beside.exists():
        raise ConfigError(f"{path}: there is such a file, and no {beside.name} that says how it was made")
    return json.loads(beside.read_text(encoding="utf-8"))


def _is_part(found: Path, path: Path) -> bool:
    """FILE.jsonl itself or FILE.n.jsonl, and not another file whose name begins alike."""
    return re.fullmatch(rf"(\.\d+)?{re.escape(path.suffix)}", found.name.removeprefix(path.stem)) is not None
