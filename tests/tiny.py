"""The model that tests share. All sizes differ from each other and from every default, and the norm scales are random,
so that a swapped axis or an unread field shows.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh

from lte_jax.device import weights
from lte_jax.device.weights import Architecture

ARCH = Architecture(
    vocab_size=50,
    d_model=12,
    d_ff=20,
    n_layers=3,
    n_heads=4,
    n_kv_heads=2,
    d_head=6,
    rope_theta=3e4,
    rms_eps=1e-3,
    tied=True,
)
UNTIED = Architecture(**{**vars(ARCH), "tied": False})


def params(arch: Architecture = ARCH, seed: int = 0) -> dict:
    """Random float32 weights as the stacked tree of the table: scales around one, matrices at their initial scale."""
    rng = np.random.default_rng(seed)

    def draw(path, row):
        noise = rng.standard_normal(row.shape(arch), np.float32)
        return jnp.asarray(noise * row.initial_std(arch) if row.fan_in else row.start + 0.3 * noise)

    return weights.tree(arch, draw)


def mesh(data: int = 1, fsdp: int = 1, tensor: int = 1) -> Mesh:
    """A mesh of the first data * fsdp * tensor virtual devices."""
    devices = np.array(jax.devices()[: data * fsdp * tensor]).reshape(data, fsdp, tensor)
    return Mesh(devices, ("data", "fsdp", "tensor"), axis_types=(AxisType.Auto,) * 3)
