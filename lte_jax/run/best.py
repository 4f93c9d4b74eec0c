"""The best model of a run so far, by an evaluated figure: RUN/best, a run folder with one checkpoint and its score."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

from lte_jax.config import ConfigError
from lte_jax.model_io.checkpoint import MODEL, save_params
from lte_jax.run.evaluate import Benchmark
from lte_jax.run.processes import is_first, wait_for_all
from lte_jax.storage.paths import is_remote, open_path

BEST, SCORE = "best", "score.json"


def check_measure(wanted: str, benchmarks: Sequence[Benchmark], run: str | Path) -> None:
    """Refuses an `eval.keep_best` that no evaluation will give, or a run folder where no folder can be renamed. Raises
    ConfigError with what was wanted."""
    if is_remote(open_path(run)):
        raise ConfigError(f"eval.keep_best = {wanted}: wanted a run folder on a disk, got {run}")
    known = [f"{b.name}/{name}" for b in benchmarks for name in _measures(b)]
    in_all = set.intersection(*(set(_measures(b)) for b in benchmarks)) if benchmarks else set()
    if wanted not in {*known, *in_all}:
        raise ConfigError(f"eval.keep_best = {wanted}: wanted one of {', '.join([*sorted(in_all), *known])}")


def _measures(benchmark: Benchmark) -> list[str]:
    return ["pass_at_1", "majority", *(f"pass_at_{k}" for k in benchmark.k if k > 1)]


def score(metrics: Mapping[str, Mapping[str, float]], wanted: str) -> float:
    """BENCHMARK/MEASURE, or the mean of a measure over all benchmarks."""
    benchmark, _, measure = wanted.rpartition("/")
    return fmean([values[measure] for name, values in metrics.items() if not benchmark or name == benchmark])


def keep_if_best(run: Path, step: int, params: dict, wanted: str, metrics: Mapping[str, Mapping[str, float]]) -> bool:
    """Replaces RUN/best where the figure is larger than its score; of equal ones the earlier stays.

    There is a whole one at any moment: the old one is moved aside before the new one takes its place.
    """
    value = score(metrics, wanted)
    target, unfinished, aside = run / BEST, run / f"{BEST}.partial", run / f"{BEST}.old"
    if is_first() and aside.is_dir():
        _finish_the_move(target, aside)
    wait_for_all("the best model so far is known")
    before = json.loads((target / SCORE).read_text(encoding="utf-8")) if target.is_dir() else None
    if before and before["measure"] == wanted and before["value"] >= value:
        return False
    if is_first():
        shutil.rmtree(unfinished, ignore_errors=True)
        shutil.copytree(run / MODEL, unfinished / MODEL)
        shutil.copyfile(run / "config.yaml", unfinished / "config.yaml")
        about = {"measure": wanted, "value": value, "step": step}
        (unfinished / SCORE).write_text(json.dumps(about), encoding="utf-8")
    wait_for_all("the best model can be written")
    save_params(unfinished, step, params)
    if is_first():
        if target.is_dir():
            target.rename(aside)
        unfinished.rename(target)
        shutil.rmtree(aside, ignore_errors=True)
    return True


def _finish_the_move(target: Path, aside: Path) -> None:
    """After a kill between the two moves."""
    if target.is_dir():
        shutil.rmtree(aside)
    else:
        aside.rename(target)
