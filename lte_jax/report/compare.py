"""Two evaluations of the same problems: paired differences with bootstrap intervals, and the problems that flipped."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from lte_jax.config import ConfigError
from lte_jax.host.scores import LEVEL, bootstrap_interval, pass_at_k
from lte_jax.report.scorecard import PROBLEMS_FILE
from lte_jax.storage.run_files import whole_lines
from lte_jax.terminal.table import pipe_table

MOST_SHOWN = 20  # flipped problems on the terminal; --json has all
Problems = Mapping[tuple[str, str], dict]  # (benchmark, id) -> the problem's row


def read_problems(path: Path) -> Problems:
    """The rows of an evaluation: the folder of `lte eval --output`, a run (its last evaluation), or a file of either.

    Raises ConfigError where there is none.
    """
    found = path
    if path.is_dir():
        of_run = sorted((path / "eval").glob("*.jsonl"))
        found = of_run[-1] if of_run else path / PROBLEMS_FILE
    if not found.is_file():
        raise ConfigError(f"{path}: no evaluation here; wanted {PROBLEMS_FILE} of `lte eval --output`, or a run folder")
    rows = [row for row in map(json.loads, whole_lines(found)) if "metrics" not in row]
    if not rows or not all({"benchmark", "id", "n_samples", "n_correct"} <= row.keys() for row in rows):
        raise ConfigError(f"{found}: its lines are not problems of an evaluation")
    return {(row["benchmark"], row["id"]): row for row in rows}


def compare(first: Problems, second: Problems) -> dict:
    """{benchmark: differences, second - first, over the common problems}; all benchmarks together where several are.

    Raises ConfigError where no problem is common or a reference answer differs.
    """
    common = [key for key in first if key in second]
    if not common:
        raise ConfigError("the two evaluations have no problem in common: benchmark names and ids must agree")
    other = [key for key in common if first[key].get("answer") != second[key].get("answer")]
    if other:
        raise ConfigError(f"{len(other)} common ids have different reference answers, such as {' '.join(other[0])}")
    names = list(dict.fromkeys(benchmark for benchmark, _ in common))
    found = {name: _differences(first, second, [key for key in common if key[0] == name]) for name in names}
    if len(names) > 1:
        found["all"] = _differences(first, second, common)
    return found


def _differences(first: Problems, second: Problems, keys: Sequence[tuple[str, str]]) -> dict:
    pairs, benchmarks = [(first[key], second[key]) for key in keys], {benchmark for benchmark, _ in keys}
    most = min(row["n_samples"] for pair in pairs for row in pair)
    measures = {f"pass_at_{k}": [_pass_at(b, k) - _pass_at(a, k) for a, b in pairs] for k in dict.fromkeys([1, most])}
    flips = [(key, _pass_at(first[key], 1), _pass_at(second[key], 1)) for key in keys]
    return {
        "n_problems": len(keys),
        "n_only_first": sum(key[0] in benchmarks for key in first.keys() - second.keys()),
        "n_only_second": sum(key[0] in benchmarks for key in second.keys() - first.keys()),
        **{name: _with_interval(values) for name, values in measures.items()},
        "gained": [_flip(*flip) for flip in flips if flip[1] <= 0.5 < flip[2]],
        "lost": [_flip(*flip) for flip in flips if flip[2] <= 0.5 < flip[1]],
    }


def _pass_at(row: Mapping, k: int) -> float:
    return pass_at_k(row["n_samples"], row["n_correct"], k)


def _with_interval(differences: Sequence[float]) -> dict:
    low, high = bootstrap_interval(differences)
    mean = sum(differences) / len(differences)
    return {"difference": mean, "low": low, "high": high, "significant": low > 0 or high < 0}


def _flip(key: tuple[str, str], before: float, after: float) -> dict:
    return {"benchmark": key[0], "id": key[1], "first": before, "second": after}


def comparison_text(first: str, second: str, found: Mapping[str, Mapping]) -> str:
    """The differences as a table, then the problems that flipped."""
    rows = []
    for name, values in found.items():
        for measure in (key for key in values if key.startswith("pass_at_")):
            of = values[measure]
            interval = f"{100 * of['low']:+.2f} to {100 * of['high']:+.2f}"
            said = "yes" if of["significant"] else "no"
            label = measure.replace("pass_at_", "Pass@")
            rows.append([name, label, str(values["n_problems"]), f"{100 * of['difference']:+.2f}", interval, said])
    header = ["benchmark", "measure", "problems", "difference", f"{LEVEL:.0%} interval", "apart from 0"]
    title = f"{second} - {first}, percentage points, paired by problem"
    parts = [pipe_table(title, header, rows)]
    for name, values in found.items():
        if name == "all":
            continue
        for kind in ("gained", "lost"):
            parts.append(_flips(name, kind, values[kind]))
        if values["n_only_first"] or values["n_only_second"]:
            left = f"{values['n_only_first']} problems only in the first, {values['n_only_second']} only in the second"
            parts.append(f"{name}: {left}; left out.")
    return "\n\n".join(parts) + "\n"


def _flips(name: str, kind: str, flips: Sequence[Mapping]) -> str:
    shown = ", ".join(f"{flip['id']} ({flip['first']:.2f} -> {flip['second']:.2f})" for flip in flips[:MOST_SHOWN])
    left_out = f", and {len(flips) - MOST_SHOWN} more" if len(flips) > MOST_SHOWN else ""
    return f"{name}: {len(flips)} {kind} (more than half of the samples correct): {shown}{left_out}".rstrip(": ")
