"""What a report reads of a run folder, and which runs are seeds of one arm: those that differ in nothing but the seed
and in how they log and keep checkpoints.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import yaml
from etils import epath

from lte_jax.config import ConfigError
from lte_jax.metric import Metric
from lte_jax.report.runs import read_evaluations
from lte_jax.storage.paths import open_path
from lte_jax.storage.run_files import declared_metrics, read_changes, read_metrics

ANY_SEED = ("seed", "log.", "checkpoint.")  # settings in which the runs of one arm may differ


@dataclass(frozen=True)
class Run:
    """One run as far as it is: a running one has fewer rows than steps."""

    name: str  # distinct within a report
    arm: str
    folder: epath.Path
    settings: dict[str, object]  # dotted name -> value, as config.yaml has them
    rows: tuple[dict, ...]  # metrics by step
    evaluations: dict[int, dict[str, dict[str, float]]]  # {steps done: {benchmark: metrics}}
    declared: tuple[Metric, ...] = ()  # metrics that the run's own code shows, with their charts
    changes: tuple[dict, ...] = ()  # settings that had other values before a step, as changes.jsonl has them

    @property
    def seed(self) -> object:
        return self.settings.get("seed", 0)


def read_runs(paths: Sequence[str | Path]) -> list[Run]:
    """The runs in these folders; a folder of runs, such as a study's, stands for all of them. Raises ConfigError."""
    folders: dict[str, epath.Path] = {}
    for path in paths:
        for folder in _run_folders(epath.Path(path)):
            folders.setdefault(str(open_path(folder)), folder)  # one folder may be given twice
    return _with_names([_read_run(folder) for folder in folders.values()])


def _run_folders(path: epath.Path) -> list[epath.Path]:
    if not path.is_dir():
        raise ConfigError(f"{path}: no such folder; wanted a run folder or a folder of runs")
    if _is_run(path):
        return [path]
    inside = [folder for folder in sorted(path.iterdir()) if folder.is_dir() and _is_run(folder)]
    if not inside:
        raise ConfigError(f"{path}: no run: wanted config.yaml and metrics/*.jsonl in it, or in a folder inside")
    return inside


def _is_run(folder: epath.Path) -> bool:
    return (folder / "config.yaml").is_file() and any((folder / "metrics").glob("*.jsonl"))


def _read_run(folder: epath.Path) -> Run:
    """The settings are read as plain YAML: a run of an older version is shown, too."""
    try:
        values = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        raise ConfigError(f"{folder}/config.yaml: not YAML: {error}") from None
    rows = tuple(read_metrics(folder))
    if not rows:
        raise ConfigError(f"{folder}/metrics: no whole row yet; report after the first step")
    found = {step: metrics for step, metrics in read_evaluations(folder).items() if step <= len(rows)}
    declared, changes = tuple(declared_metrics(folder)), tuple(read_changes(folder))
    return Run(open_path(folder).name, "", folder, dict(_flat(values)), rows, found, declared, changes)


def _flat(values: dict, prefix: str = "") -> Iterator[tuple[str, object]]:
    for name, value in values.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _with_names(runs: Sequence[Run]) -> list[Run]:
    """Names every run by its folder, with the parent's name where two are called alike, and groups them to arms; an
    arm is called as its first run, without the seed where that is no other arm's name."""
    short = [run.name for run in runs]
    named = [
        replace(run, name=name if short.count(name) == 1 else "/".join(open_path(run.folder).parts[-2:]))
        for run, name in zip(runs, short, strict=True)
    ]
    arms: dict[str, list[Run]] = {}
    for run in named:
        common = {key: value for key, value in run.settings.items() if not key.startswith(ANY_SEED)}
        arms.setdefault(json.dumps(common, sort_keys=True, default=str), []).append(run)
    found: dict[str, list[Run]] = {}
    for members in arms.values():
        first = members[0]
        name = first.name.removesuffix(f"-{first.seed}")
        found[first.name if name in found else name] = members
    return [replace(run, arm=arm) for arm, members in found.items() for run in members]
