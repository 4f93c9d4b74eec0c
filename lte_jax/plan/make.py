"""`lte plan`: has a config's programs compiled for a target; says what they need, whether that fits, and what would."""

from collections.abc import Callable
from dataclasses import asdict
from importlib.metadata import version

from lte_jax.config import Config
from lte_jax.device.weights import Architecture, n_params
from lte_jax.plan import costs, memory, nearest
from lte_jax.plan.measure import measure
from lte_jax.plan.memory import Measured, programs_of
from lte_jax.plan.targets import Target

Progress = Callable[[str], None]


def make_plan(
    config: Config,
    arch: Architecture,
    target: Target,
    length: int | None = None,
    price: float | None = None,
    search: bool = True,
    progress: Progress = lambda text: None,
) -> dict:
    """The plan as plain values, bytes and seconds of one device. `length`: tokens of a response; none: the budget.

    Raises ValueError where the model does not divide over the mesh, a length is no length, or there is no compiler.
    """
    budget = config.sample.response_budget
    length = budget if length is None else length
    if not 0 < length <= budget:
        raise ValueError(f"--length {length}: wanted 1 to sample.response_budget = {budget} tokens")
    measured = _compiled(config, arch, target, progress)
    fits = nearest.fits(measured, target.device.memory)
    found = {
        "target": _about_target(target),
        "model": {"n_params": n_params(arch), **asdict(arch)},
        "divides": divides(config, arch, measured, target),
        **_about(config, measured, target, length, price),
        "fits": fits,
        "nearest": None,
        "nearest_was_sought": search and not fits,
    }
    if search and not fits:
        found["nearest"] = _nearest(config, arch, target, measured, length, price, progress)
    return found


def _about_target(target: Target) -> dict:
    return {
        "name": target.name,
        "kind": target.device.kind,
        "jax": version("jax"),
        "n_chips": target.n_chips,
        "n_devices": target.n_devices,
        "n_processes": target.n_hosts,
        "limit": int(target.device.memory),
    }


def _about(config: Config, measured: Measured, target: Target, length: int, price: float | None) -> dict:
    """What a plan says of one setting; times only where every program compiled."""
    refused = {name: program["refused"] for name, program in measured.programs.items() if "refused" in program}
    step = None if refused else costs.step(config, measured, target, length)
    totals = memory.totals(measured)
    return {
        "mesh": measured.mesh,
        "process_mesh": measured.own,
        "sizes": measured.sizes,
        "memory": {"phases": memory.phases(measured), "totals": totals, "peak": max(totals.values())},
        "compile_s": {name: program["seconds"] for name, program in measured.programs.items()},
        "refused": refused,
        "response_length": length,
        "step": step,
        "run": step and costs.run(config, step, target, price),
        "warnings": measured.warnings,
    }


def _compiled(config: Config, arch: Architecture, target: Target, progress: Progress) -> Measured:
    """All programs, each said before it is compiled."""
    programs = programs_of(config)

    def told(lines):
        n_begun = 0
        for line in lines:
            if "begun" in line:
                n_begun += 1
                progress(f"compiling {line['begun']} for {target.name} ({n_begun} of {len(programs)})")
            yield line

    progress(f"starting the compiler of {target.name}")
    return memory.read(told(measure([config], arch, target, programs)))[0]


def _nearest(config, arch, target, measured, length, price, progress) -> dict | None:
    """The nearest setting that fits, with its own figures."""

    def sizes_of(candidate: Config) -> Measured | None:
        if candidate.mesh.tensor > target.host_devices:
            return None
        try:
            return memory.read(measure([candidate], arch, target, ()))[0]
        except memory.DoesNotDivide:
            return None

    def compile_for(candidate: Config) -> Measured:
        progress(f"trying {' '.join(nearest.overrides(config, candidate))}")
        return _compiled(candidate, arch, target, progress)

    found = nearest.nearest(config, measured, target.device.memory, sizes_of, compile_for)
    if found is None:
        return None
    better, measured = found
    return {"overrides": nearest.overrides(config, better), **_about(better, measured, target, length, price)}


def divides(config: Config, arch: Architecture, measured: Measured, target: Target) -> dict[str, dict]:
    """What is split over how many, and what is left over: a remainder is padding, or devices with nothing to do."""
    rows = config.optim.problems_per_update * config.sample.group_size
    tensor = measured.mesh["tensor"]
    pairs = {
        "groups of a step over processes": (config.problems_per_step, target.n_hosts),
        "rows of an update over devices": (rows, measured.shards("mesh")),
        "slots over a process's devices": (config.engine.slots, measured.shards("own")),
        "query heads over tensor": (arch.n_heads, tensor),
        "key/value heads over tensor": (arch.n_kv_heads, tensor),
        "vocabulary over tensor": (arch.vocab_size, tensor),
        "d_model over fsdp": (arch.d_model, measured.mesh["fsdp"]),
    }
    return {name: {"size": size, "over": over, "left": size % over} for name, (size, over) in pairs.items()}
