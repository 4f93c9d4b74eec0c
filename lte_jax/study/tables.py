"""The figures of a study as text: pipe tables that read alike in a terminal and in Markdown. Means over seeds, with min
and max in brackets; with short names of arms and three seeds they are at most 100 columns wide.
"""

from collections.abc import Mapping
from textwrap import fill

from lte_jax.terminal.table import name_of, pipe_table

WIDTH = 100  # characters
MOST_STEPS = 7  # columns of the table by step; the first and the last are always among them

Spread = Mapping | None


def tables(summary: Mapping) -> str:
    """Every table of a study with its heading, and the notes below."""
    parts = [
        _by_step(summary),
        _at_the_end(summary),
        _at_equal_cost(summary),
        _training(summary),
        _rescues(summary),
        _other_benchmarks(summary),
        _paired(summary),
        "\n".join(fill(note, WIDTH, initial_indent="- ", subsequent_indent="  ") for note in summary["notes"]),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _by_step(summary: Mapping) -> str:
    steps = summary["steps"]
    places = sorted({round(i * (len(steps) - 1) / (MOST_STEPS - 1)) for i in range(MOST_STEPS)})
    rows = [
        [arm, *(_mean(figures["by_step"][place]["pass_at_1"]) for place in places)]
        for arm, figures in summary["arms"].items()
    ]
    title = f"{summary['held_out']}: Pass@1 by step, mean over {_seeds(summary)} seeds"
    return pipe_table(title, ["arm", *(f"step {steps[place]}" for place in places)], rows)


def _at_the_end(summary: Mapping) -> str:
    measures, none_pass = _shown(summary)
    rows = []
    for arm, figures in summary["arms"].items():
        end = figures["by_step"][-1]
        shares = [_range(end[key]) for key in measures] + [_mean(end[key]) for key in none_pass]
        costs = [_count(end["rollouts"]), _count(end["tokens"]), f"{end['seconds']['mean']:.1f}"]
        rows.append([arm, *shares, *costs])
    header = ["arm", *map(name_of, [*measures, *none_pass]), "rollouts", "tokens", "seconds"]
    return pipe_table(f"{summary['held_out']}: after {summary['steps'][-1]} steps, mean (min to max)", header, rows)


def _at_equal_cost(summary: Mapping) -> str:
    measures, _ = _shown(summary)
    budgets = summary["budgets"]
    names = {"tokens": f"{budgets['tokens'] / 1000:,.0f}k tokens", "seconds": f"{budgets['seconds']:.1f} s"}
    rows = [
        [arm, *(_range(figures[f"at_equal_{cost}"][key]) for cost in names for key in measures)]
        for arm, figures in summary["arms"].items()
    ]
    header = ["arm", *(f"{name_of(key)}, {names[cost]}" for cost in names for key in measures)]
    title = f"{summary['held_out']}: at equal sampled tokens and at equal seconds, mean (min to max)"
    return pipe_table(title, header, rows)


def _training(summary: Mapping) -> str:
    rows = [
        [arm, *(_range(figures["training"][f"none_pass_{when}"][edge]) for when, edge in _WHEN)]
        for arm, figures in summary["arms"].items()
    ]
    header = ["arm", *(f"{when}, {edge}" for when, edge in _WHEN)]
    return pipe_table(
        "training: none-pass share of the groups before and after mixing, first and last steps", header, rows
    )


_WHEN = (("before", "start"), ("before", "end"), ("after", "start"), ("after", "end"))


def _rescues(summary: Mapping) -> str:
    columns = ("rescue_rate_start", "rescue_rate_all", "hit_rate_start", "hit_rate_all")
    rows = [
        [f"{arm}, {kind}", *(_range(found[key]) for key in columns)]
        for arm, figures in summary["arms"].items()
        for kind, found in figures["rescue"].items()
    ]
    title = "training: rescued share of none-pass groups, and correct share of the rollouts drawn for them"
    return pipe_table(title, ["arm, prompt", "rescued, start", "rescued, all", "correct, start", "correct, all"], rows)


def _other_benchmarks(summary: Mapping) -> str:
    measures, _ = _shown(summary)
    found = []
    for name in (name for name in summary["benchmarks"] if name != summary["held_out"]):
        rows = [
            [arm, *(_range(figures["other_benchmarks"][name][edge][key]) for key in measures for edge in _EDGES)]
            for arm, figures in summary["arms"].items()
        ]
        header = ["arm", *(f"{name_of(key)}, {edge}" for key in measures for edge in _EDGES)]
        found.append(pipe_table(f"{name}: before and after training, mean (min to max)", header, rows))
    return "\n\n".join(found)


_EDGES = ("start", "end")


def _paired(summary: Mapping) -> str:
    found = []
    for where, said in _WHERE.items():
        rows = [
            difference_row(f"{arm} - {reference}", figures[where]["pass_at_1"])
            for reference, arms in summary["paired"].items()
            for arm, figures in arms.items()
        ]
        title = f"{summary['held_out']}: paired differences of Pass@1 {said}, interval over RL seeds"
        found.append(pipe_table(title, DIFFERENCE, rows))
    return "\n\n".join(filter(None, found))


_WHERE = {"end": "at the end", "tokens": "at equal sampled tokens", "seconds": "at equal seconds"}
DIFFERENCE = ["arms", "mean", "95% interval", "apart from 0", "every one"]


def difference_row(name: str, values: Mapping | None) -> list[str]:
    """A row under DIFFERENCE: mean, interval, whether it leaves out 0, and every seed's or base's value."""
    if not values:
        return [name, *"----"]
    low_high = values["interval"]
    interval = "one value: none" if low_high is None else f"{low_high[0]:+.3f} to {low_high[1]:+.3f}"
    apart = {None: "too few", True: "yes", False: "no"}[values["apart"]]
    every = " ".join(_short(value, "+") for value in values["by_seed"].values())
    return [name, f"{values['mean']:+.3f}", interval, apart, every]


def _shown(summary: Mapping) -> tuple[list[str], list[str]]:
    """Pass@1 and the largest Pass@k; and none-pass, where it is not 1 - that."""
    *at_k, none_pass = summary["measures"]
    measures = list(dict.fromkeys([at_k[0], at_k[-1]]))
    n = summary["benchmarks"][summary["held_out"]]["n_samples"]
    return measures, [] if f"pass_at_{n}" in measures else [none_pass]


def _seeds(summary: Mapping) -> int:
    return len(next(iter(summary["arms"].values()))["by_step"][0]["pass_at_1"]["by_seed"])


def _mean(values: Spread) -> str:
    return f"{values['mean']:.3f}" if values else "-"


def _range(values: Spread) -> str:
    return f"{values['mean']:.3f} ({_short(values['min'])}-{_short(values['max'])})" if values else "-"


def _short(value: float, sign: str = "") -> str:
    """Two digits without the leading zero: .85, +.03, 1.00."""
    return f"{value:{sign}.2f}".replace("0.", ".", 1)


def _count(values: Mapping) -> str:
    return f"{values['mean'] / 1000:,.1f}k"
