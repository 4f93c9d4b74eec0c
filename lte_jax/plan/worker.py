"""Run as `python -m lte_jax.plan.worker`: compiles the programs that a JSON request on standard input names and prints
one JSON line for each. A process of its own, since the target decides variables that a process begins with.
"""

import json
import sys
import time

import jax

from lte_jax.config import Config
from lte_jax.device.mesh import make_mesh
from lte_jax.device.weights import Architecture
from lte_jax.plan import hlo, targets
from lte_jax.plan.programs import Programs, n_bytes


def main() -> None:
    request = json.load(sys.stdin)
    config, arch = Config(**request["config"]), Architecture(**request["arch"])
    target = targets.parse(request["target"])
    programs = Programs(config, arch, make_mesh(config.mesh, target.devices()))
    arrays = {name: n_bytes(tree) for name, tree in programs.arrays.items()}
    say(mesh=dict(programs.mesh.shape), own=dict(programs.own.shape), sizes=programs.sizes.as_dict(), arrays=arrays)
    for name in request["programs"] or programs.trace:
        say(begun=name)
        say(program=name, **compiled(programs, name, target.platform))


def say(**values) -> None:
    print(json.dumps(values), flush=True)


def compiled(programs: Programs, name: str, platform: str) -> dict:
    """What the compiler says of one program: bytes on one device, what it sends, its largest arrays, or its error."""
    begun = time.perf_counter()
    lowered = programs.trace[name]().lower(lowering_platforms=("cuda" if platform == "gpu" else platform,))
    try:
        made = lowered.compile()
    except jax.errors.JaxRuntimeError as error:
        if "memory" not in str(error):
            raise
        return {"refused": str(error).partition("\n")[0]}
    memory, text = made.memory_analysis(), made.as_text()
    cache_shape = programs.arrays["cache"][0].k_BKSH
    shapes = sorted(hlo.shapes(text), key=lambda array: array_bytes(*array), reverse=True)[:5]
    return {
        "temporaries": memory.temp_size_in_bytes,
        "arguments": memory.argument_size_in_bytes,
        "outputs": memory.output_size_in_bytes,
        "aliased": memory.alias_size_in_bytes,
        "code": memory.generated_code_size_in_bytes,
        "collectives": [one.as_dict() for one in hlo.collectives(text)],
        "cache_copies": hlo.n_copies(text, cache_shape.sharding.shard_shape(cache_shape.shape)),
        "largest": [[dtype, list(dims)] for dtype, dims in shapes],
        "seconds": round(time.perf_counter() - begun, 1),
    }


def array_bytes(dtype: str, dims: tuple[int, ...]) -> int:
    size = hlo.N_BYTES.get(dtype, 0)
    for dim in dims:
        size *= dim
    return size


if __name__ == "__main__":
    main()
