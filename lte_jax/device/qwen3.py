"""Qwen3, dense and MoE (arXiv 2505.09388), and Qwen2.5 in Flax NNX: the modules say what the architecture is.

Used functionally: the pure dict of weights is the only parameter tree; `bind` puts a module around it inside jit (0.3
ms a call, where nnx.jit takes 34). Norms, softmax and logits are float32 whatever the compute type.
"""

import math
from functools import lru_cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import Mesh

from lte_jax.device import weights
from lte_jax.device.attention import cached_attention, causal_attention
from lte_jax.device.experts import mixture
from lte_jax.device.rope import rotate, rotation
from lte_jax.device.sums import look_up, product
from lte_jax.device.weights import Architecture


class LayerCache(NamedTuple):
    """Keys and values of one layer for every slot and column, heads before positions."""

    k_BKSH: jax.Array
    v_BKSH: jax.Array


def _param(arch: Architecture, path: tuple[str, ...], rngs: nnx.Rngs) -> nnx.Param:
    """One weight of the table, drawn; a stacked weight's L axis is added by nnx.vmap, not here."""
    row = weights.TABLE[path]
    shape = tuple(arch.size(letter) for letter in row.axes if letter != "L")
    if not row.fan_in:
        return nnx.Param(jnp.full(shape, row.start, jnp.float32))
    return nnx.Param(row.initial_std(arch) * jax.random.normal(rngs.params(), shape, jnp.float32))


class Layer(nnx.Module):
    """One block: attention with normed queries and keys, then SwiGLU or experts, each behind an RMS norm."""

    def __init__(self, arch: Architecture, mesh: Mesh | None, rngs: nnx.Rngs):
        self.arch, self.mesh = arch, mesh

        def param(name: str) -> nnx.Param:
            return _param(arch, ("layers", name), rngs)

        self.attn_norm = param("attn_norm")
        self.q, self.k, self.v = param("q"), param("k"), param("v")
        if arch.qk_norm:
            self.q_norm, self.k_norm = param("q_norm"), param("k_norm")
        else:
            self.q_bias, self.k_bias, self.v_bias = param("q_bias"), param("k_bias"), param("v_bias")
        self.o = param("o")
        self.mlp_norm = param("mlp_norm")
        if arch.experts:
            self.router = param("router")
            self.expert_gate, self.expert_up, self.expert_down = map(param, ("expert_gate", "expert_up", "expert_down"))
        else:
            self.gate, self.up, self.down = param("gate"), param("up"), param("down")

    def project(self, x_BTD, turn):
        """Rotated queries [B, T, N, H] and keys [B, T, K, H], and values [B, T, K, H]."""
        x = rms_norm(x_BTD, self.attn_norm[...], self.arch.rms_eps)
        q, k, v = _dot(x, self.q), _dot(x, self.k), _dot(x, self.v)
        # biases are added in float32, so that their gradients are summed in it
        if self.arch.qk_norm:
            q = rms_norm(q, self.q_norm[...], self.arch.rms_eps)
            k = rms_norm(k, self.k_norm[...], self.arch.rms_eps)
        else:
            q, k, v = (y.astype(x.dtype) for y in (q + self.q_bias[...], k + self.k_bias[...], v + self.v_bias[...]))
        return rotate(q, turn), rotate(k, turn), v

    def finish(self, x_BTD, attended_BTNH):
        """Adds what attention found, then what the feed-forward makes of it."""
        x_BTD = x_BTD + _dot(attended_BTNH, self.o, n_in=2)
        x = rms_norm(x_BTD, self.mlp_norm[...], self.arch.rms_eps)
        if self.arch.experts:
            held = (self.router, self.expert_gate, self.expert_up, self.expert_down)
            return x_BTD + mixture(x, *(weight[...] for weight in held), self.arch.experts, self.mesh)
        x = jax.nn.silu(_dot(x, self.gate)) * _dot(x, self.up)
        return x_BTD + _dot(x, self.down)


class Qwen3(nnx.Module):
    """Embedding, layers, final norm and head. `stacked`: one module whose weights lead with L, else a list."""

    def __init__(self, arch: Architecture, mesh: Mesh | None, rngs: nnx.Rngs, stacked: bool):
        self.arch = arch
        self.embed = _param(arch, ("embed",), rngs)
        if stacked:
            self.layers = nnx.vmap(partial(Layer, arch, mesh))(rngs.split(arch.n_layers))
        else:
            self.layers = nnx.List([Layer(arch, mesh, rngs) for _ in range(arch.n_layers)])
        self.final_norm = _param(arch, ("final_norm",), rngs)
        if not arch.tied:
            self.head = _param(arch, ("head",), rngs)

    def __call__(
        self,
        tokens_BT,
        *,
        dtype,
        attend=causal_attention,
        scan=True,
        remat="none",
        constrain=lambda x_BTD: x_BTD,
        constrain_table=lambda embed_VD: embed_VD,
    ):
        """Final hidden states [B, T, D] of right-padded rows.

        `attend`: causal_attention with its implementation and mesh. `constrain` pins the sharding of activations,
        `constrain_table` that of the embedding while rows are looked up.
        """
        x_BTD = constrain(look_up(self.embed[...], tokens_BT, dtype, constrain_table))
        turn = rotation(jnp.arange(tokens_BT.shape[1])[None], self.arch)

        def block(x_BTD, layer):
            q, k, v = layer.project(x_BTD, turn)
            return constrain(layer.finish(x_BTD, attend(q, k, v))), None

        if remat != "none":
            block = jax.checkpoint(block, policy=REMAT[remat], prevent_cse=not scan)
        if scan:
            x_BTD, _ = jax.lax.scan(block, x_BTD, self.layers)
        else:
            for index in range(self.arch.n_layers):
                x_BTD, _ = block(x_BTD, jax.tree.map(lambda stacked: stacked[index], self.layers))
        return rms_norm(x_BTD, self.final_norm[...], self.arch.rms_eps)

    def prefix(self, tokens_BT, *, dtype, attend=causal_attention) -> list[LayerCache]:
        """Keys and values of right-padded prompts, for unstacked layers; no logits."""
        x_BTD = self.embed[...].astype(dtype)[tokens_BT]
        turn = rotation(jnp.arange(tokens_BT.shape[1])[None], self.arch)
        cache = []
        for layer in self.layers:
            q, k, v = layer.project(x_BTD, turn)
            cache.append(LayerCache(k.swapaxes(1, 2), v.swapaxes(1, 2)))
            x_BTD = layer.finish(x_BTD, attend(q, k, v))
        return cache

    def decode(self, token_B, position_B, cache, *, dtype):
        """Logits [B, V] after one token per row, and the cache with that token written at its position."""
        x_BTD = self.embed[...].astype(dtype)[token_B][:, None]
        turn = rotation(position_B[:, None], self.arch)
        written = []
        for layer, old in zip(self.layers, cache, strict=True):
            q, k, v = layer.project(x_BTD, turn)
            new = LayerCache(*(write_column(c, u[:, 0], position_B) for c, u in zip(old, (k, v), strict=True)))
            x_BTD = layer.finish(x_BTD, cached_attention(q[:, 0], *new, position_B + 1)[:, None])
            written.append(new)
        hidden_BD = rms_norm(x_BTD[:, 0], self.final_norm[...], self.arch.rms_eps)
        return logits(hidden_BD, self.head_VD), written

    @property
    def head_VD(self):
        return self.embed[...] if self.arch.tied else self.head[...]


REMAT = {
    "dots": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
    "offload": jax.checkpoint_policies.offload_dot_with_no_batch_dims("device", "pinned_host"),
    "full": jax.checkpoint_policies.nothing_saveable,
}


def logits(hidden_D, head_VD):
    """float32 logits over V of hidden states [..., D]: operands in the compute type, products summed in float32."""
    head_VD = head_VD.astype(hidden_D.dtype)
    return jnp.einsum("...d,vd->...v", hidden_D, head_VD, preferred_element_type=jnp.float32)


def rms_norm(x, scale, eps):
    x32 = x.astype(jnp.float32)
    return (x32 * jax.lax.rsqrt(jnp.mean(x32 * x32, axis=-1, keepdims=True) + eps) * scale).astype(x.dtype)


def write_column(cache_BKSH, update_BKH, position_B):
    """Writes one column per row, in place where donated. The vmapped slice update is the form that neither the TPU nor
    the GPU compiler turns into a copy of the cache."""

    def write_row(cache_KSH, update_KH, position):
        return jax.lax.dynamic_update_slice(cache_KSH, update_KH[:, None], (0, position, 0))

    return jax.vmap(write_row)(cache_BKSH, update_BKH.astype(cache_BKSH.dtype), position_B)


def _dot(x_BT, param: nnx.Param, n_in: int = 1):
    """x [B, T, *in] times a weight [*in, *out], as one product of two matrices: XLA's CPU backward pass adds
    transposing copies to the same product with three axes (MLP backward 118 ms against 78)."""
    weight = param[...]
    d_in = math.prod(weight.shape[:n_in])
    flat = product(x_BT.reshape(-1, d_in), weight.reshape(d_in, -1))
    return flat.reshape(*x_BT.shape[:2], *weight.shape[n_in:])


@lru_cache
def _graph(arch: Architecture, mesh: Mesh | None, stacked: bool):
    return nnx.split(nnx.eval_shape(lambda: Qwen3(arch, mesh, nnx.Rngs(0), stacked)))[0]


def bind(arch: Architecture, params: dict, mesh: Mesh | None = None, stacked: bool = True) -> Qwen3:
    """The model around a parameter tree. Cheap; meant to be called inside jit. `mesh`: what experts are split over."""
    return nnx.merge(_graph(arch, mesh, stacked), params)


def initial_params(arch: Architecture, key) -> dict:
    """Random float32 weights as the stacked tree of the table."""
    return nnx.to_pure_dict(nnx.split(Qwen3(arch, None, nnx.Rngs(key), stacked=True))[1])


def unstack(arch: Architecture, params: dict, dtype) -> dict:
    """The sampler's copy: one entry per layer, matrices in the compute type, scales and biases in float32."""
    cast = weights.tree(arch, lambda path, row: _cast(weights.leaf(params, path), row, dtype))
    layers = {i: {name: stacked[i] for name, stacked in cast["layers"].items()} for i in range(arch.n_layers)}
    return {**cast, "layers": layers}


def _cast(weight, row: weights.Weight, dtype):
    return weight.astype(dtype) if row.fan_in else weight
