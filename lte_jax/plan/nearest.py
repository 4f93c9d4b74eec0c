"""The nearest setting that fits: fewer slots, smaller micro-batches, more recomputed, then more tensor parallelism.

Settings are judged by prediction first (arrays are exact, temporaries scaled), and what is proposed has been compiled.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

from lte_jax.config import Config
from lte_jax.plan.memory import Measured, phases, totals

MOST_COMPILED = 4
RECOMPUTED = {"none": "dots", "dots": "full"}
FEWEST = 8  # slots are cut to this fraction before the mesh is changed

Sizes = Callable[[Config], Measured | None]  # None: the model does not divide over the config's mesh


def nearest(
    config: Config, measured: Measured, limit: float, sizes_of: Sizes, compile_for: Callable[[Config], Measured]
) -> tuple[Config, Measured] | None:
    """(config, what the compiler said of it) of the first that fits; None where none was found.

    `limit`: bytes of one device. `sizes_of`: arrays without compiling.
    """
    least_slots = max(1, config.engine.slots // FEWEST)
    for _ in range(MOST_COMPILED):
        predicted = measured
        while not fits(predicted, limit):
            for candidate in changes(config, predicted, limit, least_slots):
                if sized := sizes_of(candidate):
                    is_known = candidate.model.remat == config.model.remat
                    config, predicted = candidate, _predicted(predicted, sized, is_known)
                    break
            else:
                return None
        measured = compile_for(config)
        if fits(measured, limit):
            return config, measured
    return None


def fits(measured: Measured, limit: float) -> bool:
    return max(totals(measured).values()) <= limit


def changes(config: Config, measured: Measured, limit: float, least_slots: int) -> Iterator[Config]:
    """Single changes that may help the first phase that is too large, nearest first."""
    total = totals(measured)
    phase = next(name for name in ("sample", "copy", "measure", "update", "apply") if total.get(name, 0) > limit)
    tensor = changed(config, "mesh", tensor=config.mesh.tensor * 2, fsdp=-1)
    if phase in ("sample", "copy"):
        slots = _slots_that_fit(measured, limit)
        if slots >= least_slots:
            yield changed(config, "engine", slots=slots)
        yield tensor
        if 0 < slots:
            yield changed(config, "engine", slots=slots)
        return
    if phase in ("measure", "update"):
        rows = measured.sizes["rows"] // measured.shards("mesh")
        if rows > 1:
            tokens = rows // 2 * measured.shards("mesh") * measured.sizes["row_columns"]
            yield changed(config, "optim", microbatch_tokens=tokens)
        if config.model.remat in RECOMPUTED:
            yield changed(config, "model", remat=RECOMPUTED[config.model.remat])
        yield tensor
    if config.mesh.data > 1:
        yield changed(config, "mesh", data=1, fsdp=-1)


def changed(config: Config, section: str, **values) -> Config:
    part = getattr(config, section).model_copy(update=values)
    return config.model_copy(update={section: part})


def overrides(before: Config, after: Config) -> list[str]:
    """What to write on the command line to get from one config to the other."""
    found = []
    for section in ("engine", "optim", "model", "mesh"):
        old, new = getattr(before, section), getattr(after, section)
        found += [
            f"{section}.{name}={getattr(new, name)}"
            for name in type(new).model_fields
            if getattr(old, name) != getattr(new, name)
        ]
    return found


def _slots_that_fit(measured: Measured, limit: float) -> int:
    """The most slots, a multiple of the shards, fewer than now, at which sampling should fit; 0: none. Temporaries are
    taken to grow with the slots: where a TPU pads the cache to whole tiles, that is among them."""
    shards, slots = measured.shards("own"), measured.sizes["slots"]
    parts = phases(measured)["sample"]
    growing = parts["cache"] + parts["temporaries"]
    fixed = sum(parts.values()) - growing
    rows = int((limit - fixed) // (growing / (slots // shards)))
    return max(0, min(rows, slots // shards - 1)) * shards


def _predicted(before: Measured, sized: Measured, is_known: bool) -> Measured:
    """Arrays as they are, temporaries as before, scaled by rows of a device and by the tensor axis. Those of the update
    are left out where they are not known: only compiling tells what another remat saves."""
    tensor = sized.mesh["tensor"] / before.mesh["tensor"]
    rows = {
        name: (sized.sizes[kind] / sized.shards(mesh)) / (before.sizes[kind] / before.shards(mesh))
        for name, kind, mesh in (("decode", "slots", "own"), ("accumulate", "rows", "mesh"))
    }
    rows["measure"] = rows["accumulate"]
    rows["accumulate"] *= is_known
    extra = {"sample": "decode", "update": "accumulate", "copy": "sampler_weights", "apply": "apply"}
    extra |= {"measure": "measure"} if "measure" in before.programs else {}
    programs = {}
    for phase, name in extra.items():
        parts = phases(before)[phase]
        bytes_ = parts["temporaries"] * rows.get(name, 1.0) / tensor
        programs[name] = dict(temporaries=int(bytes_), outputs=0, aliased=0, code=parts["code"] // len(extra))
    programs["prefill"] = dict(temporaries=0, outputs=0, aliased=0, code=0)
    return replace(sized, programs=programs)
