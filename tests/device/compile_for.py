"""Run as `python compile_for.py TARGET [PROGRAM ...]`: compiles every device program of the package, or what is named,
for a TPU slice or a GPU that is not here, with that device's own compiler. Prints one JSON line per program: seconds,
MiB, collectives.

TARGET: a TPU topology such as v5e:2x4, or h200. PYTHONPATH must hold the compiler (launch/targets.sh).
"""

import json
import os
import re
import sys
import time
from dataclasses import replace
from functools import partial

os.environ |= {"JAX_PLATFORMS": "cpu", "TPU_SKIP_MDS_QUERY": "1"}

import jax
import numpy as np
from jax.experimental import topologies
from jax.sharding import AxisType, Mesh

from lte_jax.config import LossConfig, ModelConfig, OptimConfig
from lte_jax.device import mesh as meshes
from lte_jax.device import sampler, tally, update
from lte_jax.device.arrays import Drawing, Starts
from lte_jax.device.weights import Architecture, Experts

# Layers of Qwen3-0.6B: two, since compiling takes its time; four to decode, so that the cache is what is large.
ARCH = Architecture(151936, 1024, 3072, 2, 16, 8, 128, 1e6, 1e-6, True)
DECODED = replace(ARCH, n_layers=4)
EXPERTS = replace(  # two layers of Qwen3-30B-A3B
    ARCH, d_model=2048, d_ff=768, n_heads=32, n_kv_heads=4, tied=False, experts=Experts(128, 8, True)
)
SLOTS, COLUMNS, PROMPTS, PROMPT = 64, 8192, 8, 1024  # the paper's budgets, or nearly
ROWS, LENGTH = 16, 1024
COLLECTIVES = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute")
H200 = """
gpu_device_info {
  threads_per_block_limit: 1024 threads_per_warp: 32 shared_memory_per_block: 49152 shared_memory_per_core: 233472
  threads_per_core_limit: 2048 core_count: 132 fpus_per_core: 128 block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535 block_dim_limit_z: 65535 memory_bandwidth: 4800000000000 l2_cache_size: 52428800
  clock_rate_ghz: 1.98 device_memory_size: 150000000000 shared_memory_per_block_optin: 232448
  cuda_compute_capability { major: 9 } registers_per_core_limit: 65536 registers_per_block_limit: 65536
}
platform_name: "CUDA" dnn_version_info { major: 9 minor: 8 } runtime_version { major: 12 minor: 9 }
device_description_str: "NVIDIA H200"
"""


def target_mesh(name: str) -> Mesh:
    """The slice as fsdp x tensor 2; one GPU as a mesh of one."""
    if name == "h200":
        found = topologies.get_topology_desc(
            platform="cuda", topology_name="", target_config=H200, topology="1x1x1"
        ).devices[:1]
    else:
        found = topologies.get_topology_desc(platform="tpu", topology_name=name).devices
    tensor = 2 if len(found) > 1 else 1
    devices = np.array(found).reshape(1, -1, tensor)
    return Mesh(devices, ("data", "fsdp", "tensor"), axis_types=(AxisType.Auto,) * 3)


def placed(tree, sharding):
    """Abstract arrays with a sharding: one for all, or a tree of them."""
    shardings = sharding if not hasattr(sharding, "spec") else jax.tree.map(lambda _: sharding, tree)
    return jax.tree.map(lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), tree, shardings)


def programs(mesh: Mesh):
    """(name, what compiles it) of every jitted function."""
    rows, cache, whole = meshes.batch_sharding(mesh), meshes.cache_sharding(mesh), meshes.replicated(mesh)
    masters = meshes.abstract_params(ARCH, mesh)

    def sampling(arch):
        """(spec, abstract copy, abstract state) of the sampler."""
        spec = sampler.SamplerSpec(arch, "bfloat16", "auto", mesh)
        copy = jax.eval_shape(partial(sampler.sampler_weights, spec=spec), meshes.abstract_params(arch, mesh))
        state = jax.eval_shape(lambda: sampler.empty_slots(SLOTS, COLUMNS, spec))
        layers = placed(state.cache, cache)
        state = placed(state._replace(cache=[]), rows)._replace(cache=layers)
        return spec, placed(copy, meshes.sampler_shardings(arch, mesh)), state

    def array(shape, dtype, sharding=whole):
        return jax.ShapeDtypeStruct(shape, dtype, sharding=sharding)

    spec, copy, state = sampling(ARCH)
    layers = state.cache
    yield "sampler_weights", lambda: sampler.sampler_weights.trace(masters, spec)
    yield "empty_slots", lambda: sampler.empty_slots.trace(SLOTS, COLUMNS, spec)
    prompts = array((PROMPTS, PROMPT), np.int32)
    yield "prefill", lambda: sampler.prefill.trace(copy, prompts, spec)
    prefix = placed(jax.eval_shape(partial(sampler.prefill, spec=spec), copy, prompts)[0], cache)
    slot_M, starts = array((SLOTS,), np.int32), [array((SLOTS,), np.int32) for _ in range(6)]
    yield "insert_layer", lambda: sampler.insert_layer.trace(layers[0], prefix, slot_M, slot_M, mesh)
    keys = array((SLOTS, sampler.N_KEY_PARTS), np.uint32)
    yield "start", lambda: sampler.start_rows.trace(state._replace(cache=[]), Starts(*starts, keys), mesh)
    yield "resize_layer", lambda: sampler.resize_layer.trace(layers[0], array((SLOTS // 2,), np.int32), COLUMNS, mesh)
    i32, f32 = array((), np.int32), array((), np.float32)
    decoder, copy, state = sampling(DECODED)
    chunk = (copy, state, array((2,), np.int32), i32, i32, Drawing(*[f32] * 6, i32))
    yield "decode_chunk", lambda: sampler.decode_chunk.trace(*chunk, 32, decoder)
    sparse, copy, state = sampling(EXPERTS)
    sparse_chunk = (copy, state, *chunk[2:])
    yield "decode_experts", lambda: sampler.decode_chunk.trace(*sparse_chunk, 32, sparse)

    spec = update.UpdateSpec(ARCH, ModelConfig(), LossConfig(), OptimConfig(), 10, mesh)
    batch = update.abstract_microbatch(ROWS, LENGTH, spec)
    sums = masters, jax.eval_shape(lambda: tally.empty(spec.loss))
    yield "accumulate", lambda: update.accumulate.trace(masters, sums, batch, f32, f32, spec)
    yield "reference_weights", lambda: update.reference_weights.trace(masters, spec)
    yield "old_logp", lambda: update.old_logp.trace(masters, batch, f32, spec)
    reference = jax.eval_shape(partial(update.reference_weights, spec=spec), masters)
    reference = placed(reference, update.state_shardings(spec).params)
    yield "trained_logp", lambda: update.trained_logp.trace(reference, batch, f32, spec)
    yield "apply", lambda: update.apply.trace(update.abstract_state(spec), masters, spec)


def look(name: str, trace, platform: str) -> dict:
    start = time.perf_counter()
    lowered = trace.lower(lowering_platforms=(platform,))
    compiled = lowered.compile()
    memory, text = compiled.memory_analysis(), compiled.as_text()
    mib = {
        kind: round(getattr(memory, f"{kind}_size_in_bytes") / 2**20, 1)
        for kind in ("temp", "argument", "output", "alias")
    }
    counts = {kind: len(re.findall(rf"{kind}(?:-start)?\(", text)) for kind in COLLECTIVES}
    shapes = {tuple(map(int, dims.split(","))) for dims in re.findall(r"= [a-z0-9]+\[([0-9,]+)\]", text)}
    largest = max(shapes, key=lambda dims: int(np.prod(dims)))
    return {"program": name, "seconds": round(time.perf_counter() - start, 1), **mib, "largest": largest, **counts}


def main() -> None:
    mesh = target_mesh(sys.argv[1])
    platform = "cuda" if sys.argv[1] == "h200" else "tpu"
    chips = mesh.devices.size
    cache_mib = 2 * 2 * DECODED.n_layers * SLOTS * ARCH.n_kv_heads * COLUMNS * ARCH.d_head / 2**20 / chips
    weights_mib = 4 * sum(np.prod(x.shape) for x in jax.tree.leaves(meshes.abstract_params(ARCH, mesh))) / 2**20 / chips
    print(json.dumps({"target": sys.argv[1], "chips": chips, "cache": cache_mib, "masters": float(weights_mib)}))
    for name, trace in programs(mesh):
        if sys.argv[2:] and name not in sys.argv[2:]:
            continue
        print(json.dumps(look(name, trace(), platform)), flush=True)


if __name__ == "__main__":
    main()
