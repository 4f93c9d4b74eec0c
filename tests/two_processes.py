"""Run as `python two_processes.py INDEX PORT`: one of two real processes that share a mesh and sample without lockstep.

Each draws its own requests, the second twice as many and in three goes, and prints what it drew as JSON.
"""

import json
import os
import sys

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = (
    f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=4"  # the last counts
)

import jax

INDEX, PORT = int(sys.argv[1]), sys.argv[2]
jax.distributed.initialize(f"127.0.0.1:{PORT}", num_processes=2, process_id=INDEX)

from dataclasses import replace

import numpy as np
import tiny
from jax.sharding import AxisType, Mesh

from lte_jax.config import EngineConfig, ModelConfig
from lte_jax.device import sampler
from lte_jax.device.mesh import own_view, param_shardings, sampler_shardings
from lte_jax.engine.rollout import Engine
from lte_jax.records import Prompt, Request, Sampling

STOP_IDS = (3, 9, 17, 24, 31, 44)


def requests(process: int) -> list[Request]:
    """Of process 1 more, and longer prompts."""
    return [
        Request(Prompt("", tuple(range(5, 8 + 3 * process + n % 3))), (7, 0, 0, 10 * process + n, 0, 0))
        for n in range(5 + 6 * process)
    ]


def buffers(arrays) -> set[int]:
    return {s.data.unsafe_buffer_pointer() for array in jax.tree.leaves(arrays) for s in array.addressable_shards}


def main() -> None:
    devices = np.array(jax.devices()).reshape(1, 4, 2)
    mesh = Mesh(devices, ("data", "fsdp", "tensor"), axis_types=(AxisType.Auto,) * 3)
    masters = jax.tree.map(
        lambda whole, sharding: jax.make_array_from_callback(whole.shape, sharding, lambda index: whole[index]),
        jax.tree.map(np.asarray, tiny.params()),
        param_shardings(tiny.ARCH, mesh),
    )
    layout = EngineConfig(slots=4 + 4 * INDEX, chunk=3, length_bucket=8)
    engine = Engine(tiny.ARCH, ModelConfig(compute_dtype="float32", attention="xla"), layout, mesh, STOP_IDS, 12)
    engine.load(masters)
    copy = sampler.sampler_weights(masters, replace(engine.spec, mesh=mesh))
    own_copy = own_view(copy, sampler_shardings(tiny.ARCH, engine.spec.mesh))
    drawn = {}
    own = requests(INDEX)
    for part in range(1 + 2 * INDEX):
        asked = own[part :: 1 + 2 * INDEX]
        for place, response in engine.generate(asked, Sampling(1.7, 1.0, 0, 10 + 20 * INDEX)):
            drawn[own.index(asked[place])] = response.tokens.tolist()
    found = {"drawn": drawn, "devices": engine.spec.mesh.devices.size, "copied": buffers(copy) != buffers(own_copy)}
    print(json.dumps(found), flush=True)
    jax.distributed.shutdown()


if __name__ == "__main__":
    main()
