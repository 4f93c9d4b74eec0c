"""What `lte plan` predicts for one CPU device beside what a process really takes there.

    python bench/plan_memory.py [--shape qwen3-0.6b|tiny] [PROGRAM ...]

One JSON line for each program, MiB: arguments and temporaries as the compiler states them, the growth of the process's
resident memory when the arguments are made, and its peak above that while the program runs. Linux only: the peak is
VmHWM, set back through /proc/self/clear_refs.
"""

import argparse
import gc
import json
import os
import re
from pathlib import Path

os.environ |= {"JAX_PLATFORMS": "cpu", "JAX_ENABLE_COMPILATION_CACHE": "false"}

import jax
import jax.numpy as jnp

from lte_jax.config import build
from lte_jax.device.mesh import make_mesh
from lte_jax.device.weights import Architecture
from lte_jax.plan.models import SHAPES
from lte_jax.plan.programs import Programs

MIB = 2**20
TINY = Architecture(512, 64, 192, 3, 4, 2, 16, 1e4, 1e-6, True)
SETTINGS = {
    "model": {"compute_dtype": "float32"},
    "prompt": {"budget": 64, "hinted_budget": 64},
    "sample": {"response_budget": 192},
    "engine": {"slots": 16, "chunk": 4},
    "optim": {"microbatch_tokens": 1024},
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--shape", default="qwen3-0.6b", choices=["tiny", *SHAPES])
    parser.add_argument("programs", nargs="*", default=["decode", "accumulate"])
    options = parser.parse_args()
    config, arch = build(SETTINGS), SHAPES.get(options.shape, TINY)
    mesh = make_mesh(config.mesh, jax.devices()[:1])
    programs = Programs(config, arch, mesh, mesh)
    for name in options.programs:
        print(json.dumps({"shape": options.shape, "program": name, **measured(programs.trace[name]())}), flush=True)
        gc.collect()


def measured(traced) -> dict[str, float]:
    compiled = traced.lower().compile()
    memory = compiled.memory_analysis()
    before = resident("VmRSS")
    args, kwargs = jax.tree.map(lambda info: jnp.ones(info.shape, info.dtype), traced.args_info)
    jax.block_until_ready((args, kwargs))
    held = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    out = jax.block_until_ready(compiled(*args, **kwargs))
    peak = resident("VmHWM")
    del out
    extra = memory.temp_size_in_bytes + memory.output_size_in_bytes - memory.alias_size_in_bytes
    return {
        "planned_arguments": round(memory.argument_size_in_bytes / MIB, 1),
        "real_arguments": round((held - before) / MIB, 1),
        "planned_temporaries": round(extra / MIB, 1),
        "real_temporaries": round((peak - held) / MIB, 1),
    }


def resident(name: str) -> int:
    """Bytes that this process holds now (VmRSS) or held at most since the peak was set back (VmHWM)."""
    return 1024 * int(re.search(rf"{name}:\s+(\d+)", Path("/proc/self/status").read_text())[1])


if __name__ == "__main__":
    main()
