"""A plan as text for people; its values are those of make_plan."""

from collections.abc import Iterator

from lte_jax.terminal.live import clock

GIB, MIB = 2**30, 2**20
PHASES = {
    "copy": "weights are copied for sampling",
    "sample": "sampling",
    "measure": "features are measured",
    "update": "gradients are added up",
    "apply": "the optimiser steps",
}


def lines(plan: dict) -> Iterator[str]:
    """The whole plan, line by line."""
    target, model = plan["target"], plan["model"]
    yield (
        f"{model['n_params'] / 1e9:.2f} billion weights on {target['name']}: {target['n_chips']} chips, "
        f"{target['n_devices']} devices, {target['n_processes']} processes; jax {target['jax']}"
    )
    yield from _setting(plan, target["limit"])
    yield ""
    yield "What is split over how many:"
    yield from (_division(name, **pair) for name, pair in plan["divides"].items())
    if plan["fits"]:
        yield "It fits."
        return
    yield "It does not fit."
    if plan["nearest"]:
        yield ""
        yield f"The nearest setting found that fits: {' '.join(plan['nearest']['overrides'])}"
        yield from _setting(plan["nearest"], target["limit"])
    elif plan["nearest_was_sought"]:
        yield "No setting was found that does: a larger slice, or one with more memory, is wanted."


def _setting(plan: dict, limit: int) -> Iterator[str]:
    sizes = plan["sizes"]
    yield (
        f"Mesh {_axes(plan['mesh'])}; each process samples on {_axes(plan['process_mesh'])}: {sizes['slots']} slots x "
        f"{sizes['columns']} columns; micro-batches of {sizes['rows']} rows x {sizes['row_columns']}"
    )
    yield ""
    yield from _memory(plan["memory"], limit)
    for name, said in plan["refused"].items():
        yield f"The compiler refuses {name}: {said.partition(chr(10))[0]}"
    for warning in plan["warnings"]:
        yield f"The partitioner says: {warning}"
    yield ""
    if plan["step"]:
        yield from _time(plan)


def _memory(memory: dict, limit: int) -> Iterator[str]:
    """A row for each phase, a column for each kind of array."""
    kinds = list(dict.fromkeys(kind for parts in memory["phases"].values() for kind in parts))
    kinds = [kind for kind in kinds if any(parts.get(kind) for parts in memory["phases"].values())]
    kinds.sort(key=lambda kind: kind == "temporaries")
    unit, size = ("GiB", GIB) if memory["peak"] >= GIB else ("MiB", MIB)
    width = max(map(len, PHASES.values()))
    yield f"{f'{unit} of one device while':{width}}  " + "  ".join(f"{kind:>11}" for kind in [*kinds, "together"])
    for name, parts in memory["phases"].items():
        values = [*(parts.get(kind) for kind in kinds), memory["totals"][name]]
        cells = ["" if value is None else f"{value / size:.2f}" for value in values]
        yield f"{PHASES[name]:{width}}  " + "  ".join(f"{cell:>11}" for cell in cells)
    yield f"Peak {memory['peak'] / size:.2f} of {limit / size:.2f} {unit}"


def _time(plan: dict) -> Iterator[str]:
    step, run = plan["step"], plan["run"]
    yield f"A step of {step['tokens']} sampled tokens, {plan['response_length']} a response, on each device:"
    sent = "; ".join(
        f"{kind} {one['times']:.0f} x, together {one['n_bytes'] / GIB:.1f} GiB"
        for kind, one in step["collectives"].items()
    )
    yield f"  {step['flops']:.3g} floating-point operations, {step['bytes'] / GIB:.1f} GiB read and written at least"
    yield f"  received from other devices: {sent or 'nothing'}"
    if run is None:
        return
    for name, one in step["programs"].items():
        yield f"  {name:16} {one['runs']:8.0f} x  {one['seconds']:8.1f} s at best, bound by {one['bound']}"
    cost = "" if run["cost"] is None else f", cost {run['cost']:.0f}"
    yield (
        f"  {step['seconds']:.1f} s at best, {run['tokens_per_s']:.0f} tokens/s; the run {clock(3600 * run['hours'])}, "
        f"{run['chip_hours']:.0f} chip-hours{cost} (without hinted rounds and evaluations)"
    )


def _division(name: str, size: int, over: int, left: int) -> str:
    return f"  {name}: {size} over {over}{f', {left} left over: some devices have less to do' if left else ''}"


def _axes(mesh: dict[str, int]) -> str:
    return " x ".join(f"{name} {size}" for name, size in mesh.items())
