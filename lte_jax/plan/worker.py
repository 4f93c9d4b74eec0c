"""Run as `python -m lte_jax.plan.worker`: compiles the programs that a JSON request on standard input names and prints
one JSON line for each. A process of its own, since the target decides variables that a process begins with.
"""

import json
import math
import sys
import time
from dataclasses import asdict

import jax

from lte_jax.config import Config
from lte_jax.device.attention import resolve
from lte_jax.device.mesh import make_mesh
from lte_jax.device.weights import Architecture, Experts, Yarn
from lte_jax.plan import hlo, targets
from lte_jax.plan.flops import matrix_flops
from lte_jax.plan.programs import Programs, n_bytes, process_mesh
from lte_jax.plan.topology import devices


def main() -> None:
    request = json.load(sys.stdin)
    arch, target = architecture(request["arch"]), targets.parse(request["target"])
    described = devices(target)
    for values in request["configs"]:
        config = Config(**values)
        try:
            mesh = make_mesh(config.mesh, described)
            programs = Programs(config, arch, mesh, process_mesh(mesh, target))
        except ValueError as error:  # the model does not divide over this mesh
            say(error=str(error))
            continue
        arrays = {name: n_bytes(tree) for name, tree in programs.arrays.items()}
        mesh, own = dict(programs.mesh.shape), dict(programs.own.shape)
        say(mesh=mesh, own=own, sizes=asdict(programs.sizes), arrays=arrays)
        for name in request["programs"]:
            say(begun=name)
            say(program=name, **compiled(programs, name, target))


def architecture(values: dict) -> Architecture:
    """From the values of its fields, those of its parts as dicts."""
    parts = {"experts": Experts, "yarn": Yarn}
    return Architecture(**values | {name: part(**values[name]) for name, part in parts.items() if values[name]})


def say(**values) -> None:
    print(json.dumps(values), flush=True)


def compiled(programs: Programs, name: str, target: targets.Target) -> dict:
    """What the compiler says of one program: bytes on one device, what it sends, its largest arrays; or, where it
    refuses for want of memory, what it says."""
    begun = time.perf_counter()
    traced = programs.trace[name]()
    flops = flops_of(programs, name, traced, target.platform)
    lowered = traced.lower(lowering_platforms=("cuda" if target.platform == "gpu" else target.platform,))
    try:
        made = lowered.compile()
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        return {"refused": str(error)[:2000], "flops": flops, "seconds": round(time.perf_counter() - begun, 1)}
    memory, text = made.memory_analysis(), made.as_text()
    cache_shape = programs.arrays["cache"][0].k_BKSH
    shapes = sorted(hlo.shapes(text), key=lambda array: array_bytes(*array), reverse=True)[:5]
    return {
        "flops": flops,
        "temporaries": memory.temp_size_in_bytes,
        "arguments": memory.argument_size_in_bytes,
        "outputs": memory.output_size_in_bytes,
        "aliased": memory.alias_size_in_bytes,
        "code": memory.generated_code_size_in_bytes,
        "collectives": [asdict(one) for one in hlo.collectives(text)],
        "cache_copies": hlo.n_copies(text, cache_shape.sharding.shard_shape(cache_shape.shape)),
        "largest": [[dtype, list(dims)] for dtype, dims in shapes],
        "seconds": round(time.perf_counter() - begun, 1),
    }


def flops_of(programs: Programs, name: str, traced, platform: str) -> float:
    """Of matrix products on one device. What a kernel hides is counted in the plain attention, of which a kernel for
    causal attention leaves out half."""
    config = programs.config
    has_kernel = resolve(config.model.attention, config.model.compute_dtype, platform) in ("splash", "cudnn")
    if name in ("prefill", "measure", "accumulate") and has_kernel:
        plain = config.model_copy(update={"model": config.model.model_copy(update={"attention": "reference"})})
        traced = Programs(plain, programs.arch, programs.mesh, programs.own).trace[name]()
        counted = matrix_flops(traced.jaxpr)
        total = counted.dense + counted.attention / 2
    else:
        total = sum(matrix_flops(traced.jaxpr))
    return total / (programs.own if name in ("prefill", "decode") else programs.mesh).devices.size


def array_bytes(dtype: str, dims: tuple[int, ...]) -> int:
    return hlo.N_BYTES.get(dtype, 0) * math.prod(dims)


if __name__ == "__main__":
    main()
