"""What stands above the curves: one row per arm, and the settings with what differs between the arms."""

from collections.abc import Sequence
from statistics import fmean

import yaml

from lte_jax.config import fields
from lte_jax.report.page.curves import spent
from lte_jax.report.page.source import Run
from lte_jax.terminal.live import clock
from lte_jax.terminal.table import name_of

EDGE = 10  # steps over which "start" and "end" of a training figure are averaged


def by_arm(runs: Sequence[Run]) -> dict[str, list[Run]]:
    arms: dict[str, list[Run]] = {}
    for run in runs:
        arms.setdefault(run.arm, []).append(run)
    return arms


def overview(runs: Sequence[Run]) -> tuple[list[str], list[list[str]]]:
    """(header, one row per arm): means over seeds, min and max in brackets where there are several."""
    measures = dict.fromkeys(
        (benchmark, key)
        for run in runs
        for metrics in run.evaluations.values()
        for benchmark, values in metrics.items()
        for key in values
        if key.startswith("pass_at_")
    )
    header = [
        "arm",
        "seeds",
        "steps",
        *(f"{name_of(key)}, {benchmark}" for benchmark, key in measures),
        "none-pass at the end",
        "rescued",
        "tokens drawn",
        "time",
    ]
    rows = []
    for arm, members in by_arm(runs).items():
        costs = [{name: max(by_step.values()) for name, by_step in spent(run).items()} for run in members]
        rows.append(
            [
                arm,
                ", ".join(str(run.seed) for run in members),
                _span([len(run.rows) for run in members]),
                *(_change(members, benchmark, key) for benchmark, key in measures),
                _spread([_end(run, "group/none_pass_frac_before") for run in members]),
                _spread([_rescued(run) for run in members]),
                f"{fmean(cost['tokens'] for cost in costs) / 1e6:,.2f} M",
                clock(fmean(cost["seconds"] for cost in costs)),
            ]
        )
    return header, rows


def differing(runs: Sequence[Run]) -> tuple[list[str], list[list[str]]]:
    """(header, rows) of the settings that are not the same in every run, a column per arm."""
    arms = by_arm(runs)
    names = dict.fromkeys(name for run in runs for name in run.settings)
    rows = []
    for name in names:
        if len({as_text(run.settings.get(name)) for run in runs}) > 1:
            cells = [
                ", ".join(dict.fromkeys(as_text(run.settings.get(name)) for run in members))
                for members in arms.values()
            ]
            rows.append([name, *cells])
    return ["setting", *arms], rows


def settings(runs: Sequence[Run]) -> list[tuple[str, str, str]]:
    """(name, value in the first run, meaning) of every setting; beside the value those before a change."""
    meanings = {name: meaning for name, _, meaning in fields()}
    before: dict[str, list[str]] = {}
    for change in runs[0].changes:
        for name, (old, _) in change["changed"].items():
            before.setdefault(name, []).append(f"{as_text(old)} until step {change['step']}")
    values = {
        name: f"{as_text(value)} ({', '.join(before[name])})" if name in before else as_text(value)
        for name, value in runs[0].settings.items()
    }
    return [(name, value, meanings.get(name, "")) for name, value in values.items()]


def as_text(value: object) -> str:
    """As it stands in YAML, on one line."""
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10**9)
    return text.removesuffix("\n").removesuffix("\n...")


def _change(members: Sequence[Run], benchmark: str, key: str) -> str:
    """First evaluation -> last one."""
    found = [
        values
        for run in members
        if (values := [m[benchmark][key] for _, m in sorted(run.evaluations.items()) if key in m.get(benchmark, {})])
    ]
    if not found:
        return "–"
    return f"{fmean(values[0] for values in found):.3f} → {_spread([values[-1] for values in found])}"


def _end(run: Run, key: str) -> float | None:
    values = [row[key] for row in run.rows[-EDGE:] if key in row]
    return fmean(values) if values else None


def _rescued(run: Run) -> float | None:
    """Of all groups that were tried again, hinted or plain."""
    pairs = [
        (row[f"rescue/{kind}_rate"], row[f"rescue/{kind}_groups"])
        for row in run.rows
        for kind in ("hinted", "plain")
        if f"rescue/{kind}_groups" in row
    ]
    return sum(rate * n for rate, n in pairs) / sum(n for _, n in pairs) if pairs else None


def _spread(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "–"
    if len(known) == 1:
        return f"{known[0]:.3f}"
    return f"{fmean(known):.3f}\n({min(known):.3f}–{max(known):.3f})"


def _span(values: Sequence[int]) -> str:
    return str(min(values)) if min(values) == max(values) else f"{min(values)}–{max(values)}"
