"""The numbers of a study: held-out figures by step and at equal cost, stagnation, rescues, paired differences.

A spread is {mean, min, max, by_seed} over the seeds that have the value; None where no seed has it. All runs share one
base, so a spread says how much RL varies, not how much a base does.
"""

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean

from lte_jax.config import Config
from lte_jax.host.scores import t_interval
from lte_jax.report.runs import COSTS, SECONDS_MEASURED, RunLog, interpolated
from lte_jax.storage.run_files import evaluated_steps

FEWEST = 3  # seeds or bases for a verdict: two of them agree by chance, and their interval shrinks to a point
EDGE_STEPS = 10  # training figures at the start and the end are means over so many steps, at most half of all

Arms = Mapping[str, Sequence[RunLog]]


def summarise(config: Config, logs: Sequence[RunLog]) -> dict:
    """All figures of finished runs that were evaluated alike; the first benchmark is the held-out one."""
    arms = {arm: [log for log in logs if log.arm == arm] for arm in dict.fromkeys(log.arm for log in logs)}
    end = logs[0].evaluations[config.steps]
    held_out, *others = end
    measures = ["pass_at_1", *_pass_at_k(end[held_out]), "none_pass_frac"]
    budgets = {cost: min(log.spent[cost][-1] for log in logs) for cost in COSTS}
    return {
        "held_out": held_out,
        "measures": measures,
        "benchmarks": {name: {key: end[name][key] for key in ("n_problems", "n_samples")} for name in end},
        "steps": evaluated_steps(config),
        "budgets": budgets,
        "notes": _notes(config, end[held_out]),
        "arms": {
            arm: {
                "overrides": list(config.study.arms[arm]),
                "by_step": [_at_step(runs, held_out, step) for step in evaluated_steps(config)],
                **{f"at_equal_{cost}": _at_cost(runs, held_out, measures, cost, budgets[cost]) for cost in COSTS},
                "other_benchmarks": {name: _edges(runs, name, config.steps) for name in others},
                "training": _training(runs),
                "rescue": _rescue(runs),
            }
            for arm, runs in arms.items()
        },
        "paired": _paired(config.study.references, arms, held_out, measures, budgets),
        "runs": {f"{log.arm}-{log.seed}": {"compile_s": log.compile_s} for log in logs},
    }


def spread(by_seed: Mapping[int, float]) -> dict | None:
    """Mean, min and max over seeds beside every seed's value."""
    if not by_seed:
        return None
    values = list(by_seed.values())
    return {"mean": fmean(values), "min": min(values), "max": max(values), "by_seed": dict(by_seed)}


def difference_of(by_unit: Mapping[int | str, float]) -> dict | None:
    """A spread of paired differences with its t-interval over the units (seeds, or bases): `interval` is None for one
    unit, and `apart` says whether the interval leaves out 0; None below FEWEST units."""
    found = spread(by_unit)
    if found is None:
        return None
    interval = t_interval(list(by_unit.values()))
    apart = interval[0] > 0 or interval[1] < 0 if len(by_unit) >= FEWEST else None
    return {**found, "interval": interval, "apart": apart}


def _over_seeds(runs: Sequence[RunLog], figure: Callable[[RunLog], float | None]) -> dict | None:
    return spread({log.seed: value for log in runs if (value := figure(log)) is not None})


def _pass_at_k(metrics: Mapping[str, float]) -> list[str]:
    return [key for key in metrics if key.startswith("pass_at_") and key != "pass_at_1"]


def _notes(config: Config, held_out: Mapping[str, float]) -> list[str]:
    n, k = held_out["n_samples"], list(config.eval.k)
    notes = [
        f"Held out: {held_out['n_problems']} problems, {n} samples each at temperature {config.eval.temperature:g}; "
        f"Pass@k for k = {', '.join(map(str, k))} is the unbiased estimate."
    ]
    if f"pass_at_{n}" in held_out and n > 1:
        notes.append(f"Pass@{n} from {n} samples is 1 - none-pass: only one of them is in the tables.")
    if not config.model.path:
        notes.append(
            "heldout: new problems of facts that RL practises. heldout_facts: new problems of facts that RL never "
            "sees, where forgetting shows."
        )
    return [
        *notes,
        "Paired differences: arm - reference on the same seed. Intervals are Student's t at 95% over RL seeds, each "
        "for itself: of many, one in twenty leaves out 0 by chance. They say nothing about other bases.",
        f"Training figures: start and end are means over the first and the last {_n_edge(config.steps)} steps.",
        f"Seconds: {SECONDS_MEASURED}.",
    ]


def _at_step(runs: Sequence[RunLog], benchmark: str, step: int) -> dict:
    """Spreads of the costs and of every metric of an evaluation."""
    points = {log.seed: next(p for p in log.points(benchmark) if p["step"] == step) for log in runs}
    keys = [key for key in next(iter(points.values())) if key != "step"]
    return {"step": step, **{key: spread({seed: p[key] for seed, p in points.items()}) for key in keys}}


def _at_cost(runs: Sequence[RunLog], benchmark: str, measures: Sequence[str], cost: str, budget: float) -> dict:
    """Spreads of the measures where a run has spent `budget`, on straight lines between its evaluations."""
    return {key: _over_seeds(runs, lambda log: value_at(log, benchmark, key, cost, budget)) for key in measures}


def value_at(log: RunLog, benchmark: str, measure: str, cost: str, budget: float) -> float:
    points = log.points(benchmark)
    return interpolated([p[cost] for p in points], [p[measure] for p in points], budget)


def _edges(runs: Sequence[RunLog], benchmark: str, n_steps: int) -> dict:
    start, end = _at_step(runs, benchmark, 0), _at_step(runs, benchmark, n_steps)
    keys = [key for key in start if key.startswith("pass_at_") or key == "none_pass_frac"]
    return {"start": {key: start[key] for key in keys}, "end": {key: end[key] for key in keys}}


def _training(runs: Sequence[RunLog]) -> dict:
    """None-pass share of the training groups before and after mixing, at the start and at the end."""
    return {
        f"none_pass_{when}": {
            edge: _over_seeds(runs, lambda log: fmean(row[f"group/none_pass_frac_{when}"] for row in rows(log)))
            for edge, rows in (("start", first_rows), ("end", last_rows))
        }
        for when in ("before", "after")
    }


def _rescue(runs: Sequence[RunLog]) -> dict:
    """Of none-pass groups tried again: share rescued (per group), share of correct rollouts, hinted beside plain."""
    found = {
        kind: {
            f"{name}_{span}": _over_seeds(runs, lambda log: _pooled(rows(log), f"rescue/{kind}_{metric}", kind))
            for name, metric in (("rescue_rate", "rate"), ("hit_rate", "hit_frac"))
            for span, rows in (("start", first_rows), ("all", lambda log: log.rows))
        }
        for kind in ("hinted", "plain")
    }
    return {kind: figures for kind, figures in found.items() if figures["rescue_rate_all"]}


def _pooled(rows: Sequence[dict], key: str, kind: str) -> float | None:
    """Mean over the groups of all steps: a step weighs as many groups as it tried again."""
    tried = [(row[key], row[f"rescue/{kind}_groups"]) for row in rows if key in row]
    return sum(value * n for value, n in tried) / sum(n for _, n in tried) if tried else None


def first_rows(log: RunLog) -> Sequence[dict]:
    return log.rows[: _n_edge(len(log.rows))]


def last_rows(log: RunLog) -> Sequence[dict]:
    return log.rows[-_n_edge(len(log.rows)) :]


def _n_edge(n_steps: int) -> int:
    return max(1, min(EDGE_STEPS, n_steps // 2))


def _paired(
    references: Sequence[str], arms: Arms, benchmark: str, measures: Sequence[str], budgets: Mapping[str, float]
) -> dict:
    """{reference: {arm: {where: {measure: difference arm - reference on the same seed}}}}."""

    def value(log: RunLog, where: str, key: str) -> float:
        if where == "end":
            return log.points(benchmark)[-1][key]
        return value_at(log, benchmark, key, where, budgets[where])

    def difference(arm: str, reference: str, where: str, key: str) -> dict | None:
        other = {log.seed: log for log in arms[reference]}
        return difference_of(
            {
                log.seed: value(log, where, key) - value(other[log.seed], where, key)
                for log in arms[arm]
                if log.seed in other
            }
        )

    return {
        reference: {
            arm: {where: {key: difference(arm, reference, where, key) for key in measures} for where in ("end", *COSTS)}
            for arm in arms
            if arm not in references[: i + 1]  # a pair of references once
        }
        for i, reference in enumerate(references)
        if reference in arms
    }
