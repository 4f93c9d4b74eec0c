"""What the runs of a study left on disk, as curves: evaluations beside what had been spent by then.

Cost counts training only: rollouts and response tokens drawn, and wall seconds of steps. Evaluations and checkpoints
are outside of `time/step_s`; compiling is inside of it, and is taken out here.
"""

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path

from lte_jax.config import Config, ConfigError
from lte_jax.storage.run_files import evaluated_steps, read_metrics, whole_lines

COSTS = ("rollouts", "tokens", "seconds")
SECONDS_MEASURED = (
    "wall seconds of training steps (sampling, verification, hints, update), without evaluations and checkpoints. A "
    "step that took over 3 times the median of the 21 steps around it compiled a program: it counts as that median, "
    "and the excess is given as compile_s. Runs beside each other share the machine"
)
SLOW, AROUND = 3.0, 10  # what SECONDS_MEASURED says


@dataclass(frozen=True)
class RunLog:
    """One run: its metrics by step, and its evaluations as {step: {benchmark: metrics}}."""

    arm: str
    seed: int
    rows: tuple[dict, ...]
    evaluations: dict[int, dict[str, dict[str, float]]]

    @cached_property
    def spent(self) -> dict[str, list[float]]:
        """Cumulative costs; entry i holds what the first i steps took."""
        per_step = {
            "rollouts": [row["sample/rollouts"] for row in self.rows],
            "tokens": [row["sample/tokens"] for row in self.rows],
            "seconds": without_compiling([row["time/step_s"] for row in self.rows]),
        }
        return {cost: list(accumulate(values, initial=0)) for cost, values in per_step.items()}

    def points(self, benchmark: str) -> list[dict[str, float]]:
        """One per evaluation, in order: step, cumulative costs, and the benchmark's metrics."""
        return [
            {"step": step, **{cost: self.spent[cost][step] for cost in COSTS}, **found[benchmark]}
            for step, found in sorted(self.evaluations.items())
        ]

    @property
    def compile_s(self) -> float:
        """Seconds that were taken out of `spent` as compiling."""
        return sum(row["time/step_s"] for row in self.rows) - self.spent["seconds"][-1]


def without_compiling(step_s: Sequence[float]) -> list[float]:
    """Seconds by step, those of compiling steps replaced as SECONDS_MEASURED says."""
    kept = []
    for i, seconds in enumerate(step_s):
        usual = statistics.median(step_s[max(0, i - AROUND) : i + AROUND + 1])
        kept.append(usual if seconds > SLOW * usual else seconds)
    return kept


def read_run(folder: Path, arm: str, seed: int, config: Config) -> RunLog:
    """A finished run. Raises ConfigError where a step or an evaluation is missing."""
    rows = tuple(row for row in read_metrics(folder) if row["step"] < config.steps)
    if [row["step"] for row in rows] != list(range(config.steps)):
        raise ConfigError(f"{folder}/metrics: wanted one row for each of {config.steps} steps, got {len(rows)} rows")
    found = read_evaluations(folder)
    steps = evaluated_steps(config)
    missing = [step for step in steps if step not in found]
    if missing:
        raise ConfigError(f"{folder}/eval: no evaluation of step {missing[0]}; wanted steps {steps}")
    return RunLog(arm, seed, rows, {step: found[step] for step in steps})


def read_evaluations(folder: Path) -> dict[int, dict[str, dict[str, float]]]:
    """{steps done: {benchmark: metrics}}; a file that a kill left half-written is passed over."""
    found = {int(path.stem): _evaluation(path) for path in sorted((folder / "eval").glob("*.jsonl"))}
    return {step: metrics for step, metrics in found.items() if metrics}


def last_evaluation(folder: Path) -> dict[str, dict[str, float]]:
    """The newest whole evaluation, {} before the first."""
    paths = sorted((folder / "eval").glob("*.jsonl"), reverse=True)
    return next((metrics for path in paths if (metrics := _evaluation(path))), {})


def _evaluation(path: Path) -> dict[str, dict[str, float]]:
    head, *rows = whole_lines(path) or ["{}"]
    metrics = json.loads(head).get("metrics", {})
    n_problems = sum(values["n_problems"] for values in metrics.values())
    return metrics if len(rows) == n_problems else {}


def interpolated(xs: Sequence[float], ys: Sequence[float], x: float) -> float:
    """The value at x on straight lines between the points; xs rise. Raises ValueError outside of them."""
    for (x0, y0), (x1, y1) in zip(zip(xs, ys), zip(xs[1:], ys[1:]), strict=False):
        if x0 <= x <= x1:
            return y0 if x == x0 else y0 + (y1 - y0) * (x - x0) / (x1 - x0)
    raise ValueError(f"{x} lies outside of the measured range {xs[0]} to {xs[-1]}")
