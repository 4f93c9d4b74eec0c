"""The tables of docs/scale.md, in Markdown, from plans:

lte plan configs/qwen3-4b-lte.yaml model.path=Qwen3-4B-Base --target h200:8 --json > plans/4b-h200.json
python bench/scale.py plans/*.json
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

GIB = 2**30
PROGRAMS = ("decode", "prefill", "accumulate", "apply", "sampler_weights")


def main(paths: Sequence[str]) -> None:
    plans = {Path(path).stem: json.loads(Path(path).read_text()) for path in paths}
    print(table(["plan", "target", "mesh", "slots of a process", "rows of a micro-batch"], plans, setting))
    kinds = ["weights, optimiser", "copy", "cache", "sampling", "gradients", "temporaries", "updating", "limit", "fits"]
    print(table(["GiB of one device", *kinds], plans, memory))
    print(table(["seconds at best", *PROGRAMS, "a step", "tokens/s", "chip-hours"], timed(plans), seconds))
    kinds = sorted({kind for plan in timed(plans).values() for kind in plan["step"]["collectives"]})
    print(
        table(["GiB received in a step", *kinds], timed(plans), lambda plan: [received(plan, kind) for kind in kinds])
    )


def timed(plans: dict[str, dict]) -> dict[str, dict]:
    """Those whose programs all compiled: only they have times."""
    return {name: plan for name, plan in plans.items() if plan["step"]}


def setting(plan: dict) -> list[str]:
    mesh = " x ".join(f"{name} {size}" for name, size in plan["mesh"].items())
    return [plan["target"]["name"], mesh, str(plan["sizes"]["slots"]), str(plan["sizes"]["rows"])]


def memory(plan: dict) -> list[str]:
    phases, totals = plan["memory"]["phases"], plan["memory"]["totals"]
    sample, update = phases["sample"], phases["update"]
    values = [
        sample["weights"] + sample["optimiser"],
        sample["copy"],
        sample["cache"],
        totals["sample"],
        update["gradients"],
        update["temporaries"],
        totals["update"],
        plan["target"]["limit"],
    ]
    return [f"{value / GIB:.1f}" for value in values] + ["yes" if plan["fits"] else "no"]


def seconds(plan: dict) -> list[str]:
    step, run = plan["step"], plan["run"]
    by_program = [f"{step['programs'][name]['seconds']:.1f}" for name in PROGRAMS]
    return [*by_program, f"{step['seconds']:.0f}", f"{run['tokens_per_s']:.0f}", f"{run['chip_hours']:.0f}"]


def received(plan: dict, kind: str) -> str:
    return f"{plan['step']['collectives'].get(kind, {}).get('n_bytes', 0) / GIB:.1f}"


def table(head: Sequence[str], plans: dict[str, dict], cells) -> str:
    rows = [head, ["---"] * len(head), *([name, *cells(plan)] for name, plan in plans.items())]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


if __name__ == "__main__":
    main(sys.argv[1:])
