"""Rotary position embedding (arXiv 2104.09864), plain or stretched by YaRN (arXiv 2309.00071).

Angles are float32: near position 4000 bfloat16 is off by up to 8.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lte_jax.device.weights import Architecture, Yarn


class Rotation(NamedTuple):
    """By what each pair of a head is turned at each position, float32, the attention factor of YaRN included."""

    cos_BTH: jax.Array  # half as many as the head is large
    sin_BTH: jax.Array


def rotation(position_BT, arch: Architecture) -> Rotation:
    frequency = arch.rope_theta ** (-jnp.arange(0, arch.d_head, 2, dtype=jnp.float32) / arch.d_head)
    if arch.yarn:
        frequency *= _slowing(arch.d_head, arch.rope_theta, arch.yarn)
    angle_BTH = position_BT[..., None].astype(jnp.float32) * frequency
    scale = arch.yarn.attention_factor if arch.yarn else 1.0
    return Rotation(scale * jnp.cos(angle_BTH), scale * jnp.sin(angle_BTH))


def rotate(x_BTNH, turn: Rotation):
    """Queries or keys at their positions, halves paired as Hugging Face pairs them."""
    cos, sin = turn.cos_BTH[:, :, None], turn.sin_BTH[:, :, None]
    a, b = jnp.split(x_BTNH.astype(jnp.float32), 2, axis=-1)
    return jnp.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1).astype(x_BTNH.dtype)


def _slowing(d_head: int, theta: float, yarn: Yarn) -> np.ndarray:
    """What YaRN multiplies each pair's frequency by: from 1 for fast pairs down a ramp to 1 / factor for slow ones."""

    def pair(n_turns: float) -> float:
        """The pair, as a fraction, that turns so often over the trained length."""
        return d_head * math.log(yarn.trained_length / (2 * math.pi * n_turns)) / (2 * math.log(theta))

    low, high = pair(yarn.beta_fast), pair(yarn.beta_slow)
    if yarn.truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, d_head - 1)
    ramp = np.clip((np.arange(d_head // 2) - low) / max(high - low, 0.001), 0, 1)
    return (1 - ramp + ramp / yarn.factor).astype(np.float32)
