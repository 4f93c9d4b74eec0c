"""What lies in one device's memory in each phase of a step, from what the compiler said of the phase's programs."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from lte_jax.config import Config
from lte_jax.host.credits import make_credits, wanted_features

GIB = 2**30
PROGRAMS = ("sampler_weights", "prefill", "decode", "accumulate", "apply")  # those whose memory and time count
LIVE_PREFIXES = 2  # prefilled prompts that wait for slots while the next ones are prefilled


class DoesNotDivide(ValueError):
    """A model that a mesh cannot split, or a mesh that devices do not make up. The message names the axis."""


@dataclass
class Measured:
    """One config on one target: sizes and bytes on one device of the arrays and programs of lte_jax.plan.programs."""

    mesh: dict[str, int]
    own: dict[str, int]  # of the process that samples
    sizes: dict[str, int]
    arrays: dict[str, int]
    programs: dict[str, dict] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def shards(self, mesh: str) -> int:
        """Over how many devices `mesh` or `own` splits rows."""
        shape = getattr(self, mesh)
        return shape["data"] * shape["fsdp"]


def programs_of(config: Config) -> tuple[str, ...]:
    """PROGRAMS, and the measuring of what credits read where they read any."""
    return (*PROGRAMS, *(["measure"] if wanted_features(make_credits(config)) else []))


def read(lines: Iterable[dict]) -> list[Measured]:
    """The worker's lines, one Measured for each config. Raises DoesNotDivide where the model does not divide."""
    found: list[Measured] = []
    for line in lines:
        if "error" in line:
            raise DoesNotDivide(line["error"])
        if "mesh" in line:
            found.append(Measured(**line))
        elif "program" in line:
            found[-1].programs[line["program"]] = line
        elif "warnings" in line:
            found[-1].warnings = line["warnings"]
    return found


def phases(measured: Measured) -> dict[str, dict[str, int]]:
    """Bytes on one device by what they are, in each phase. Cache and copy are given back before the update."""
    arrays, extra = measured.arrays, {name: temporaries(measured, name) for name in measured.programs}
    always = {name: arrays[name] for name in ("weights", "optimiser", "reference")}
    always["code"] = sum(program.get("code", 0) for program in measured.programs.values())
    sampling = {"copy": arrays["copy"], "cache": arrays["cache"], "prompts": LIVE_PREFIXES * arrays["prefix"]}
    gradients = {"gradients": arrays["gradients"]}
    measuring = {"measure": always | {"temporaries": extra["measure"]}} if "measure" in extra else {}
    return {
        "copy": always | {"copy": arrays["copy"], "temporaries": extra["sampler_weights"]},
        "sample": always | sampling | {"temporaries": max(extra["prefill"], extra["decode"])},
        **measuring,
        "update": always | gradients | {"temporaries": extra["accumulate"]},
        "apply": always | gradients | {"temporaries": extra["apply"]},
    }


def totals(measured: Measured) -> dict[str, int]:
    return {name: sum(parts.values()) for name, parts in phases(measured).items()}


def temporaries(measured: Measured, name: str) -> int:
    """Bytes that a program takes beside its arguments and the arrays that it is there to make."""
    program, made = measured.programs[name], {"sampler_weights": "copy", "prefill": "prefix"}.get(name)
    if refused := program.get("refused"):
        held = {"decode": ("copy", "cache"), "accumulate": ("weights", "gradients"), "prefill": ("copy",)}
        held |= {
            "measure": ("weights",),
            "apply": ("weights", "optimiser", "gradients"),
            "sampler_weights": ("weights",),
        }
        return max(0, required(refused) - sum(measured.arrays[array] for array in held[name]))
    outputs = program["outputs"] - program["aliased"] - (measured.arrays[made] if made else 0)
    return program["temporaries"] + max(0, outputs)


def required(refusal: str) -> int:
    """Bytes that a compiler says a program needs, arguments included. Raises ValueError where it does not say."""
    units = {"K": 2**10, "M": 2**20, "G": 2**30}
    said = re.search(r"required[^(]*\((\d+(?:\.\d+)?)([KMG])", refusal) or re.search(
        r"Used (\d+(?:\.\d+)?)([KMG]) of", refusal
    )
    if not said:
        raise ValueError(f"the compiler refuses a program for want of memory and does not say how much: {refusal}")
    return int(float(said[1]) * units[said[2]])
