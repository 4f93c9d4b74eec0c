"""Writes the page: jinja's sandbox fills the template, scripts and data are put in whole, and nothing is fetched.

The page's content policy names the hash of each of its scripts, so that nothing else in it can run.
"""

import base64
import hashlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

from jinja2 import StrictUndefined
from jinja2.sandbox import SandboxedEnvironment
from markupsafe import Markup

from lte_jax.config import ConfigError
from lte_jax.report.page.curves import curves
from lte_jax.report.page.embed import in_file, n_bytes, script_json
from lte_jax.report.page.overview import differing, overview, settings
from lte_jax.report.page.sample import Sample, sample
from lte_jax.report.page.source import Run, read_runs
from lte_jax.storage.paths import open_path, write_whole

MOST_BYTES = 20_000_000  # of the file; what a phone opens
CHARTS = ("uPlot", "1.6.32", "MIT")  # vendor/; https://github.com/leeoniya/uPlot
SCRIPTS = ("vendor/uPlot.iife.min.js", "page.js", "charts.js", "rollouts.js")
STYLES = ("vendor/uPlot.min.css", "style.css")
PART_BYTES = 200_000
NOTHING_KEPT = Sample((), 0, 1, 0, 0)


def write_report(paths: Sequence[str | Path], output: str | Path, most_bytes: int = MOST_BYTES) -> dict:
    """Writes the report of the runs in `paths` to the file `output`; returns what it holds, as counts.

    Raises ConfigError where a path is no run, or where the curves alone pass `most_bytes`.
    """
    runs = read_runs(paths)
    data = script_json(curves(runs))
    room = most_bytes - n_bytes(_page(runs, data, NOTHING_KEPT))
    if room < 0:
        raise ConfigError(f"the curves of {len(runs)} runs alone pass {most_bytes:,} bytes; report fewer runs at once")
    groups = sample(runs, room - room // 500 - 1000)  # elements around the parts, and counts that are not known yet
    page = in_file(_page(runs, data, groups))
    target = open_path(output)
    target.parent.mkdir(parents=True, exist_ok=True)
    write_whole(target, page)
    return {
        "output": str(output),
        "bytes": len(page),
        "runs": len(runs),
        "groups": groups.n_kept,
        "groups_left_out": groups.n_total - groups.n_kept,
        "rescues": groups.n_rescues_kept,
        "rescues_left_out": groups.n_rescues - groups.n_rescues_kept,
    }


def _parts(groups: Sequence[str]) -> Iterator[list[str]]:
    """The groups in order, cut where a script element has grown to PART_BYTES: a browser paints between elements."""
    part: list[str] = []
    size = 0
    for group in groups:
        part.append(group)
        size += len(group)
        if size >= PART_BYTES:
            yield part
            part, size = [], 0
    if part:
        yield part


def _page(runs: Sequence[Run], data: str, groups: Sample) -> str:
    folder = files("lte_jax.report.page")
    scripts = {name: (folder / name).read_text(encoding="utf-8") for name in SCRIPTS}
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts.values()]
    environment = SandboxedEnvironment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    header, arms = overview(runs)
    differing_header, differing_rows = differing(runs)
    return environment.from_string((folder / "page.html").read_text(encoding="utf-8")).render(
        title=", ".join(dict.fromkeys(run.arm for run in runs)),
        runs=runs,
        folders=[str(run.folder) for run in runs],
        parents=sorted({str(open_path(run.folder).parent) for run in runs}),
        policy=" ".join(f"'sha256-{value}'" for value in hashes),
        style=Markup("\n".join((folder / name).read_text(encoding="utf-8") for name in STYLES)),
        scripts={Path(name).stem: Markup(text) for name, text in scripts.items()},
        curves=Markup(data),
        rollouts=[Markup(f"[{','.join(part)}]") for part in _parts(groups.groups)],
        groups=groups,
        overview={"header": header, "rows": arms},
        differing={"header": differing_header, "rows": differing_rows},
        settings=settings(runs),
        charts=CHARTS,
        version=version("lte_jax"),
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )
