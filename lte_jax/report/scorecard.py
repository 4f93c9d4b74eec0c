"""An evaluation as tables in the paper's layout, in percent, and as files; on request with the paper's rows.

The paper's figures are quoted (arXiv 2510.26109): for 4B the main table of its first version, whose rows do not add up
to that version's own headline; for 8B its averages over the six benchmarks, all that we have of that table.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from lte_jax.host.scores import LEVEL
from lte_jax.terminal.table import pipe_table

COLUMNS = ("MATH-500", "Minerva", "Olympiad", "AMC23", "AIME24", "AIME25")
AVERAGE = "avg"
PROBLEMS_FILE, SUMMARY_FILE, TABLE_FILE = "problems.jsonl", "summary.json", "table.md"
# name of the row -> Pass@1 and Pass@k, each for COLUMNS and then the average; None: not known to us
Rows = Mapping[str, tuple[tuple[float | None, ...], tuple[float | None, ...]]]
_NONE = (None,) * len(COLUMNS)
PAPER: dict[str, Rows] = {
    "4b": {
        "base model": (
            (45.40, 19.49, 22.81, 35.31, 8.75, 3.75, 22.59),
            (69.80, 37.87, 39.70, 82.50, 33.33, 26.67, 48.31),
        ),
        "GRPO": (
            (69.65, 32.17, 34.33, 50.62, 12.08, 4.38, 33.87),
            (77.20, 37.50, 42.07, 75.00, 26.67, 26.67, 47.52),
        ),
        "GRPO + extra": (
            (69.30, 31.99, 35.59, 55.78, 11.88, 6.46, 35.17),
            (76.00, 38.60, 44.30, 80.00, 26.67, 20.00, 47.60),
        ),
        "LTE": (
            (70.60, 33.30, 35.70, 55.94, 17.29, 10.63, 37.24),
            (81.00, 39.46, 45.47, 80.00, 36.67, 23.33, 50.99),
        ),
        "GRPO, entropy bonus": (
            (73.25, 30.15, 38.44, 55.00, 18.96, 13.96, 38.29),
            (81.80, 39.34, 47.11, 77.50, 46.67, 33.33, 54.29),
        ),
        "GRPO + extra, entropy bonus": (
            (69.75, 33.46, 34.52, 54.84, 19.17, 8.96, 36.78),
            (77.80, 40.44, 41.93, 85.00, 40.00, 26.67, 51.97),
        ),
        "LTE, entropy bonus": (
            (76.05, 35.70, 35.59, 57.19, 23.96, 14.17, 40.44),
            (83.60, 43.75, 45.74, 85.00, 50.00, 36.67, 57.46),
        ),
    },
    "8b": {
        "GRPO": ((*_NONE, 43.99), (*_NONE, 56.82)),
        "GRPO + extra": ((*_NONE, 41.72), (*_NONE, None)),
        "LTE": ((*_NONE, 49.01), (*_NONE, 66.78)),
        "LUFFY": ((*_NONE, 47.15), (*_NONE, 61.55)),
        "LTE, entropy bonus": ((*_NONE, 49.56), (*_NONE, 67.58)),
    },
}


def scorecard(model: str, metrics: Mapping[str, Mapping[str, float]], paper: str = "") -> str:
    """The tables of one evaluation, {benchmark: metrics}. `paper`: "4b" or "8b" puts the paper's rows above ours.

    Raises ValueError where there is no such table.
    """
    if paper and paper not in PAPER:
        raise ValueError(f"--paper: wanted one of {', '.join(PAPER)}, got {paper}")
    names = [name for name in COLUMNS if name in metrics] + [name for name in metrics if name not in COLUMNS]
    if paper:
        names = [*COLUMNS, *(name for name in names if name not in COLUMNS)]
    most = {name: max(ks) for name in metrics if (ks := _ks(metrics[name]))}
    of_ours = (
        {name: values["pass_at_1"] for name, values in metrics.items()},
        {name: metrics[name][f"pass_at_{k}"] for name, k in most.items()},
    )
    by_benchmark = ", ".join(f"{name} {k}" for name, k in most.items())
    parts = [
        pipe_table(title, ["%", *names, AVERAGE], [*_paper_rows(paper, names, which), _our_row(model, names, ours)])
        for which, (title, ours) in enumerate(zip(("Pass@1", f"Pass@k, k = {by_benchmark}"), of_ours, strict=True))
        if ours
    ]
    return "\n\n".join([*parts, _details(metrics)]) + "\n"


def write_scorecard(
    folder: Path, model: str, metrics: Mapping[str, Mapping[str, float]], rows: Sequence[dict], table: str
) -> None:
    """problems.jsonl (one row per problem), summary.json and table.md of one evaluation."""
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (folder / PROBLEMS_FILE).write_text("".join(lines), encoding="utf-8")
    summary = json.dumps({"model": model, "benchmarks": metrics}, indent=1)
    (folder / SUMMARY_FILE).write_text(summary, encoding="utf-8")
    (folder / TABLE_FILE).write_text(table, encoding="utf-8")


def _our_row(model: str, names: Sequence[str], ours: Mapping[str, float]) -> list[str]:
    """The average is over the benchmarks that were evaluated, and only where none of the columns is missing."""
    values = [100 * ours[name] if name in ours else None for name in names]
    average = None if None in values else sum(values) / len(values)
    return [f"ours: {model}", *map(_percent, [*values, average])]


def _paper_rows(paper: str, names: Sequence[str], which: int) -> list[list[str]]:
    """The average is the paper's own, over its six columns."""
    rows = []
    for name, figures in PAPER[paper].items() if paper else ():
        known = dict(zip((*COLUMNS, AVERAGE), figures[which], strict=True))
        rows.append([f"paper: {name}", *(_percent(known.get(column)) for column in (*names, AVERAGE))])
    return rows


def _details(metrics: Mapping[str, Mapping[str, float]]) -> str:
    ks = sorted({k for values in metrics.values() for k in _ks(values)})
    rows = [
        [
            name,
            str(values["n_problems"]),
            str(values["n_samples"]),
            f"{100 * values['pass_at_1']:.2f} ({100 * values['low']:.1f} to {100 * values['high']:.1f})",
            *(_percent(100 * values[f"pass_at_{k}"] if f"pass_at_{k}" in values else None) for k in ks),
            _percent(100 * values["majority"]),
            _percent(100 * values["truncated_frac"]),
            f"{values['length_mean']:.1f}",
            str(values["n_undecided"]),
        ]
        for name, values in metrics.items()
    ]
    header = ["benchmark", "problems", "samples", f"Pass@1 ({LEVEL:.0%} interval)", *(f"Pass@{k}" for k in ks)]
    header += ["majority", "truncated", "tokens", "no verdict"]
    return pipe_table("By benchmark: %, interval by bootstrap over problems", header, rows)


def _ks(values: Mapping[str, float]) -> list[int]:
    """k of every Pass@k but Pass@1."""
    found = [int(key.removeprefix("pass_at_")) for key in values if key.startswith("pass_at_")]
    return [k for k in found if k > 1]


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
