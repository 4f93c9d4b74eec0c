"""What a study leaves behind: table.md, curves.png, report.html, rescue.txt and summary.json with all figures."""

import json
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from lte_jax.config import Config
from lte_jax.report.page.write import write_report
from lte_jax.report.runs import RunLog, read_run
from lte_jax.study.bases import bases_table, over_bases
from lte_jax.study.rescue import find_rescue, rescue_text
from lte_jax.study.summary import summarise
from lte_jax.study.tables import tables

CAVEAT = (
    "All of this is from one base: it shows how RL varies over seeds on it, and claims nothing beyond.\n"
    "The figures stand as they came out, in whatever order; no run of the study was left out."
)
PACKAGES = ("lte_jax", "jax", "numpy")
FILES = (
    ("summary.json", "every figure, with settings and versions"),
    ("curves.png", "the curves"),
    ("report.html", "curves, rollouts and settings of all runs, for a browser"),
    ("table.md", "these tables"),
    ("rescue.txt", "this rescue"),
    ("ARM-SEED", "each run: metrics, rollouts, eval, checkpoints, log.txt"),
)
OVER_BASES = (
    "Its unit is the base: a difference counts as found where the interval over bases leaves out 0. With few bases\n"
    "such intervals are wide, and what is not found may yet be there. No base, seed or run of the study was left out."
)


def write_results(
    config: Config,
    folder: Path,
    runs: Sequence[tuple[str, int]],
    hinted: Sequence[str],
    phases_s: Mapping[str, float],
    say: Callable[[str], None],
) -> dict:
    """Reads the finished runs (arm, seed) in `folder`, writes the results there and says tables and rescue.

    `hinted`: arms whose rescues may be shown; `phases_s`: wall seconds by phase, for the record. Returns what
    summary.json holds. Raises ConfigError where a run is not whole.
    """
    from lte_jax.study.plots import plot_curves  # here, since matplotlib is an extra

    logs = [read_run(folder / f"{arm}-{seed}", arm, seed, config) for arm, seed in runs]
    figures = summarise(config, logs)
    table = tables(figures)
    rescue = rescue_text(find_rescue([folder / f"{arm}-{seed}" for arm, seed in runs if arm in hinted]))
    arms = {arm: [log for log in logs if log.arm == arm] for arm in figures["arms"]}
    plot_curves(folder / "curves.png", _title(config, folder), figures["held_out"], arms)
    (folder / "table.md").write_text(f"{table}\n{CAVEAT}\n", encoding="utf-8")
    (folder / "rescue.txt").write_text(rescue, encoding="utf-8")
    write_report([folder / f"{arm}-{seed}" for arm, seed in runs], folder / "report.html")
    made_with = {**_circumstances(config, folder, logs[0]), "phases_s": dict(phases_s)}
    summary = {**made_with, **figures, "rescue": rescue}
    (folder / "summary.json").write_text(json.dumps(summary, indent=1, ensure_ascii=False), encoding="utf-8")
    where = "\n".join(f"  {str(folder / name):36} {what}" for name, what in FILES)
    for text in (table, rescue, CAVEAT, where):
        say(f"\n{text.rstrip()}")
    return summary


def write_bases(config: Config, folder: Path, summaries: Mapping[str, Mapping], say: Callable[[str], None]) -> dict:
    """table.md, differences.png and summary.json of a study of several bases, from the summaries of each.

    Returns what summary.json holds.
    """
    from lte_jax.study.plots import plot_differences  # here, since matplotlib is an extra

    found = over_bases(summaries)
    table = bases_table(found)
    plot_differences(folder / "differences.png", f"{folder.name}: Pass@1 at the end, arm - reference", found["paired"])
    (folder / "table.md").write_text(f"{table}\n{OVER_BASES}\n", encoding="utf-8")
    summary = {"claim": OVER_BASES, "config": config.model_dump(mode="json"), **found}
    (folder / "summary.json").write_text(json.dumps(summary, indent=1, ensure_ascii=False), encoding="utf-8")
    write_report([folder / base for base in summaries], folder / "report.html")
    files = ("summary.json", "differences.png", "report.html", "table.md", *summaries)
    where = "\n".join(f"  {folder / name}" for name in files)
    for text in (table, OVER_BASES, where):
        say(f"\n{text.rstrip()}")
    return summary


def n_cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _title(config: Config, folder: Path) -> str:
    base = Path(config.model.path).name if config.model.path else "the built-in task, one base"
    seeds = ", ".join(map(str, config.study.seeds))
    return f"{folder.name}: {base}\nmean over RL seeds {seeds}, band from the lowest to the highest"


def _circumstances(config: Config, folder: Path, log: RunLog) -> dict:
    """What the figures were made with. Devices are what a run said that it computed on."""
    path = folder / f"{log.arm}-{log.seed}" / "log.txt"
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []
    devices = [line.removeprefix("devices: ") for line in lines if line.startswith("devices: ")]
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        "devices": devices[-1] if devices else "unknown",
        "cpu_cores": n_cores(),
        "claim": CAVEAT,
        "config": config.model_dump(mode="json"),
    }
