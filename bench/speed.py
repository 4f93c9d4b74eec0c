"""Tokens per second of sampling and of the update on this machine, one JSON line each.

    python bench/speed.py [--shape T|tiny] [--repeats 5]

Shape T: vocabulary 512, D 256, 6 layers, float32. Sampling: 64 requests of 64 prompt tokens, 128 forced tokens each (no
stop id), in 64 slots. Update: 16 rows of 192 tokens, one micro-batch. Compilation is left out; the median and the range
of the repeats are given, in wall and in CPU seconds. Random weights: speed only.
"""

import argparse
import json
import statistics
import time

import jax
import numpy as np

from lte_jax.config import EngineConfig, LossConfig, MeshConfig, ModelConfig, OptimConfig
from lte_jax.device import qwen3, weights
from lte_jax.device.arrays import OFF_POLICY, ON_POLICY, Microbatch
from lte_jax.device.mesh import make_mesh
from lte_jax.device.update import UpdateSpec, initial_state, update
from lte_jax.device.weights import Architecture
from lte_jax.engine.rollout import GENERATE, Engine, device_kind
from lte_jax.records import Prompt, Request, Sampling

SHAPES = {
    "T": Architecture(512, 256, 768, 6, 8, 4, 32, 1e6, 1e-6, True),
    "tiny": Architecture(27, 64, 192, 3, 4, 2, 16, 1e4, 1e-6, True),
}
MODEL = ModelConfig(compute_dtype="float32", scan_layers=False, remat="none")
ROWS, PROMPT, RESPONSE = 64, 64, 128


def sampling(arch: Architecture, repeats: int) -> dict:
    engine = Engine(
        arch, MODEL, EngineConfig(slots=ROWS, chunk=32, length_bucket=64), make_mesh(MeshConfig()), [], PROMPT
    )
    engine.load(qwen3.initial_params(arch, jax.random.key(0)))
    rng = np.random.default_rng(0)
    prompts = [Prompt("", tuple(rng.integers(0, arch.vocab_size, PROMPT).tolist())) for _ in range(ROWS // 8)]
    requests = [Request(p, (0, GENERATE, 0, g, 0, i)) for g, p in enumerate(prompts) for i in range(8)]

    def run() -> int:
        return sum(len(r.tokens) for _, r in engine.generate(requests, Sampling(1.0, 1.0, 0, RESPONSE)))

    return timed("sampling", run, repeats)


def updating(arch: Architecture, repeats: int) -> dict:
    n_rows, n_columns = 16, 192
    spec = UpdateSpec(arch, MODEL, LossConfig(), OptimConfig(), 100, make_mesh(MeshConfig()))
    state = initial_state(spec, qwen3.initial_params(arch, jax.random.key(0)))
    rng = np.random.default_rng(0)
    logp_BT = np.full((n_rows, n_columns), -np.log(arch.vocab_size), np.float32)
    kind_B1 = np.where(np.arange(n_rows) % 4 == 0, OFF_POLICY, ON_POLICY)[:, None]
    micro = Microbatch(
        tokens_BT=rng.integers(0, arch.vocab_size, (n_rows, n_columns)).astype(np.int32),
        kind_BT=np.where(np.arange(n_columns) >= 64, kind_B1, 0).astype(np.int8),
        behaviour_logp_BT=logp_BT,
        sampled_logp_BT=logp_BT,
        old_logp_BT=logp_BT,
        reference_logp_BT=np.zeros_like(logp_BT),
        advantage_BT=np.broadcast_to(rng.standard_normal((n_rows, 1)), (n_rows, n_columns)).astype(np.float32),
        entropy_scale_B=np.zeros(n_rows, np.float32),
        weight_BT=np.full((n_rows, n_columns), 1 / (n_rows * 128), np.float32),
    )

    def run() -> int:
        nonlocal state
        state, _, norm = update(state, [micro], np.float32(1), np.float32(0), spec)
        norm.block_until_ready()
        return n_rows * n_columns

    return timed("update", run, repeats)


def timed(name: str, run, repeats: int) -> dict:
    run()
    walls, cpus, tokens = [], [], 0
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        tokens = run()
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    return {
        "what": name,
        "tokens": tokens,
        "tokens_per_s": round(tokens / statistics.median(walls)),
        "tokens_per_cpu_s": round(tokens / statistics.median(cpus)),
        "wall_s": [round(f(walls), 4) for f in (min, statistics.median, max)],
        "cpu_s": [round(f(cpus), 4) for f in (min, statistics.median, max)],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", choices=SHAPES, default="T")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    arch = SHAPES[arguments.shape]
    about = {
        "shape": arguments.shape,
        "parameters": weights.n_params(arch),
        "devices": device_kind(),
        "jax": jax.__version__,
    }
    for measure in (sampling, updating):
        print(json.dumps({**about, **measure(arch, arguments.repeats)}), flush=True)


if __name__ == "__main__":
    main()
