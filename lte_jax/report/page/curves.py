"""The curves of a report as plain data: which metrics stand in which panel, and every run's values by step.

A long run is averaged over equal blocks of steps, so that a file of many runs stays small.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from statistics import fmean

from lte_jax.report.page.source import Run
from lte_jax.report.runs import without_compiling
from lte_jax.terminal.table import name_of

MOST_POINTS = 1000  # of a run's curve
DIGITS = 4  # significant ones; what a screen can show


@dataclass(frozen=True)
class Panel:
    """One chart. `lines`: (metric, what its line is); the first is solid, a second dashed, a third dotted."""

    title: str
    unit: str
    lines: tuple[tuple[str, str], ...]
    table: str = "train"  # or "eval"


def _levels() -> tuple[Panel, ...]:
    return tuple(
        Panel(
            f"{level.capitalize()}-pass groups",
            "share of groups",
            ((f"group/{level}_pass_frac_before", "before mixing"), (f"group/{level}_pass_frac_after", "after mixing")),
        )
        for level in ("none", "some", "all")
    )


SECTIONS: tuple[tuple[str, tuple[Panel, ...]], ...] = (
    (
        "Training groups",
        (
            *_levels(),
            Panel(
                "Reward",
                "mean of rollouts",
                (("reward/mean_before", "before mixing"), ("reward/mean_after", "after mixing")),
            ),
        ),
    ),
    (
        "Failures and rescues",
        (
            Panel("All truncated", "share of none-pass groups", (("failure/all_truncated_frac", ""),)),
            Panel("Some truncated", "share of none-pass groups", (("failure/some_truncated_frac", ""),)),
            Panel("None truncated", "share of none-pass groups", (("failure/none_truncated_frac", ""),)),
            Panel("No answer", "share of none-pass groups", (("failure/no_answer_frac", ""),)),
            Panel(
                "Rescue rate",
                "share of groups tried again",
                (("rescue/hinted_rate", "with a hint"), ("rescue/plain_rate", "plain prompt")),
            ),
            Panel(
                "Correct among further rollouts",
                "share of rollouts",
                (("rescue/hinted_hit_frac", "with a hint"), ("rescue/plain_hit_frac", "plain prompt")),
            ),
        ),
    ),
    (
        "Policy",
        (
            Panel("Entropy", "nats per token", (("policy/entropy", ""),)),
            Panel(
                "Importance ratio, hinted rows",
                "mean per token",
                (("ratio/hinted_mean", "plain ratio"), ("ratio/hinted_shaped_mean", "shaped, f(r)")),
            ),
            Panel(
                "Importance ratio, plain rows",
                "per token",
                (("ratio/on_policy_mean", "mean"), ("ratio/on_policy_max", "largest")),
            ),
            Panel(
                "Clip share",
                "share of plain rows' tokens",
                (("ratio/clipped_frac", "clipped"), ("ratio/outside_frac", "outside of the range")),
            ),
            Panel("Gradient norm", "before clipping", (("update/grad_norm", ""),)),
            Panel("KL to the starting model", "nats per token", (("policy/kl", ""),)),
        ),
    ),
    (
        "Responses",
        (
            Panel("Length", "tokens", (("response/length_mean", "mean"), ("response/length_max", "longest"))),
            Panel("Truncated responses", "share of responses", (("response/truncated_frac", ""),)),
        ),
    ),
    (
        "Sampler against trainer",
        (
            Panel(
                "Mismatch of log-probs",
                "nats per token",
                (("mismatch/mean_abs", "mean"), ("mismatch/max_abs", "largest")),
            ),
            Panel("Mismatch of probabilities", "mean relative error per token", (("mismatch/token_error", ""),)),
        ),
    ),
    (
        "Speed",
        (
            Panel("Sampling", "tokens/s", (("speed/sample_tokens_per_s", ""),)),
            Panel("Update", "trained tokens/s", (("speed/update_tokens_per_s", ""),)),
            Panel("Time of a step", "seconds", (("time/step_s", ""),)),
            Panel(
                "Time sampling",
                "seconds per step",
                (("time/sample_s", "all of it"), ("time/decode_s", "decoding"), ("time/prefill_s", "prefill")),
            ),
            Panel("Time updating", "seconds per step", (("time/update_s", ""),)),
            Panel(
                "Time on the host",
                "seconds per step",
                (("time/verify_s", "verifying"), ("time/hint_s", "writing hints")),
            ),
        ),
    ),
)
EVALUATED = {  # beside Pass@k: metric of an evaluation -> its panel's title and unit
    "majority": ("Majority vote", "share of problems"),
    "truncated_frac": ("Truncated", "share of responses"),
    "length_mean": ("Length", "tokens, mean"),
}
PLACED = {key for _, panels in SECTIONS for panel in panels for key, _ in panel.lines}


def curves(runs: Sequence[Run]) -> dict:
    """{arms, runs, sections} for the page; panels without a value are left out, metrics without a panel come last."""
    arms = list(dict.fromkeys(run.arm for run in runs))
    tables = [_tables(run) for run in runs]
    present = {table: _keys(found[table] for found in tables) for table in ("train", "eval")}
    declared = _declared_panels(runs)
    placed = PLACED | {key for panel in declared for key in _own(panel)}
    rest = tuple(Panel(key, "", ((key, ""),)) for key in sorted(present["train"] - placed))
    sections = [
        ("Held-out evaluations", _evaluation_panels(runs)),
        *SECTIONS,
        ("Of the method", declared),
        ("More metrics", rest),
    ]
    return {
        "arms": arms,
        "runs": [
            {"name": run.name, "arm": arms.index(run.arm), "seed": str(run.seed), **found}
            for run, found in zip(runs, tables, strict=True)
        ],
        "sections": [
            {"title": title, "panels": shown, "closed": title == "More metrics"}
            for title, panels in sections
            if (shown := [_shown(panel, keys) for panel in panels if (keys := present[panel.table]) & _own(panel)])
        ],
    }


def spent(run: Run) -> dict[str, dict[int, float]]:
    """{cost: {steps done: tokens drawn, or seconds of training steps without compiling, until then}}."""
    done = [0, *(row["step"] + 1 for row in run.rows)]
    seconds = without_compiling([row.get("time/step_s", 0.0) for row in run.rows])
    tokens = [row.get("sample/tokens", 0) for row in run.rows]
    return {
        name: dict(zip(done, accumulate(values, initial=0), strict=True))
        for name, values in (("tokens", tokens), ("seconds", seconds))
    }


def _own(panel: Panel) -> set[str]:
    return {key for key, _ in panel.lines}


def _shown(panel: Panel, present: set[str]) -> dict:
    lines = [line for line in panel.lines if line[0] in present]
    return {"title": panel.title, "unit": panel.unit, "table": panel.table, "lines": lines}


def _declared_panels(runs: Sequence[Run]) -> tuple[Panel, ...]:
    """The charts that the runs' own code asks for; metrics of one chart are its lines."""
    lines: dict[tuple[str, str], dict[str, str]] = {}
    for metric in (metric for run in runs for metric in run.declared if metric.name not in PLACED):
        lines.setdefault((metric.panel, metric.unit), {})[metric.name] = metric.name
    return tuple(
        Panel(title, unit, tuple((name, text if len(names) > 1 else "") for name, text in names.items()))
        for (title, unit), names in lines.items()
    )


def _evaluation_panels(runs: Sequence[Run]) -> tuple[Panel, ...]:
    """Pass@1 of every benchmark first, then Pass@k, then the rest of EVALUATED."""
    found = dict.fromkeys(
        (benchmark, key)
        for run in runs
        for metrics in run.evaluations.values()
        for benchmark, values in metrics.items()
        for key in values
        if key.startswith("pass_at_") or key in EVALUATED
    )
    places = ["pass_at_1", "pass_at_k", *EVALUATED]
    ordered = sorted(found, key=lambda pair: places.index(pair[1] if pair[1] in places else "pass_at_k"))
    panels = []
    for benchmark, key in ordered:
        name, unit = EVALUATED.get(key, (name_of(key), "share of problems"))
        panels.append(Panel(f"{name}, {benchmark}", unit, ((f"{benchmark}/{key}", ""),), "eval"))
    return tuple(panels)


def _tables(run: Run) -> dict:
    """{train, eval}: each {step, tokens, seconds, values}, all of one length; steps are counted as done."""
    costs = spent(run)
    done = [row["step"] + 1 for row in run.rows]
    rows = [{key: value for key, value in row.items() if key != "step"} for row in run.rows]
    evaluated = {
        step: {f"{name}/{key}": value for name, values in metrics.items() for key, value in values.items()}
        for step, metrics in sorted(run.evaluations.items())
        if step in costs["tokens"]
    }
    return {"train": _table(done, costs, rows), "eval": _table([*evaluated], costs, [*evaluated.values()])}


def _table(done: Sequence[int], costs: dict, rows: Sequence[dict]) -> dict:
    """Columns over blocks of rows: the last step and cost of a block, the mean of each metric in it."""
    size = math.ceil(len(rows) / MOST_POINTS) or 1
    blocks = [range(i, min(i + size, len(rows))) for i in range(0, len(rows), size)]
    last = [done[block[-1]] for block in blocks]
    return {
        "step": last,
        **{cost: [_short(by_step[step]) for step in last] for cost, by_step in costs.items()},
        "values": {key: [_mean([rows[i].get(key) for i in block]) for block in blocks] for key in _numbers(rows)},
        "block": size,
    }


def _numbers(rows: Sequence[dict]) -> list[str]:
    """Keys whose values are numbers; histograms are lists."""
    return sorted({key for row in rows for key, value in row.items() if isinstance(value, int | float)})


def _keys(tables) -> set[str]:
    return {key for table in tables for key in table["values"]}


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None and math.isfinite(value)]
    return _short(fmean(known)) if known else None


def _short(value: float) -> float | int:
    """Four significant digits, whole where it is whole: what makes the file small."""
    short = float(f"{value:.{DIGITS}g}") if abs(value) < 10**DIGITS else round(value)
    return int(short) if short == int(short) else short
