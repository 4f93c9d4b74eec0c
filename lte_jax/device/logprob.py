"""Log-probability of given tokens and entropy over the vocabulary, in chunks, so that [B, T, V] never exists.

The only shift by one in the package: hidden state t predicts token t + 1; every result column describes its own token.
The backward pass recomputes the logits of a chunk: d logp = onehot - p, d entropy = -p (log p + entropy).
"""

from functools import partial

import jax
import jax.numpy as jnp

from lte_jax.device import mesh as meshes
from lte_jax.device.qwen3 import logits


def token_logp(hidden_BTD, head_VD, tokens_BT, temperature, chunk: int, mesh: jax.sharding.Mesh | None = None):
    """(logp_BT, entropy_BT), float32, of each token given those before it; column 0 is 0.

    `temperature` divides the logits. `chunk`: tokens whose logits exist at once. `mesh`: on which rows are split.
    """
    n_rows, n_columns = tokens_BT.shape
    next_BT = jnp.roll(tokens_BT, -1, axis=1)
    columns = min(n_columns, max(1, chunk // n_rows))
    padding = -n_columns % columns
    hidden_BTD = jnp.pad(hidden_BTD, ((0, 0), (0, padding), (0, 0)))
    next_BT = jnp.pad(next_BT, ((0, 0), (0, padding)))
    logp_BT, entropy_BT = _chunked(hidden_BTD, head_VD, next_BT, jnp.float32(temperature), columns, mesh)
    return _shift_right(logp_BT[:, :n_columns]), _shift_right(entropy_BT[:, :n_columns])


def plain_token_logp(hidden_BTD, head_VD, tokens_BT, temperature):
    """The reference: the same, with [B, T, V] in memory."""
    logp_BTV = jax.nn.log_softmax(logits(hidden_BTD, head_VD) / temperature, axis=-1)
    logp_BT = jnp.take_along_axis(logp_BTV, jnp.roll(tokens_BT, -1, axis=1)[..., None], axis=-1)[..., 0]
    return _shift_right(logp_BT), _shift_right(-jnp.sum(jnp.exp(logp_BTV) * logp_BTV, axis=-1))


def over_vocabulary(function, hidden_BTD, head_VD, tokens_BT, temperature, chunk: int, mesh=None):
    """What `function(logp_BCV, token_BC, head_VD)` makes of the whole distribution at each token, from those before it:
    arrays [B, T, ...] of its results [B, C, ...]; column 0 is 0. As in `token_logp`, no more than a chunk's
    distributions exist at once, also where it is differentiated."""
    n_rows, n_columns = tokens_BT.shape
    columns = min(n_columns, max(1, chunk // n_rows))
    padding = -n_columns % columns
    hidden_BTD = jnp.pad(hidden_BTD, ((0, 0), (0, padding), (0, 0)))
    next_BT = jnp.pad(jnp.roll(tokens_BT, -1, axis=1), ((0, 0), (0, padding)))
    cast_VD = _whole(head_VD.astype(hidden_BTD.dtype), mesh)

    @jax.checkpoint
    def one(hidden_BCD, token_BC, cast_VD):
        logp_BCV = jax.nn.log_softmax(logits(hidden_BCD, cast_VD) / temperature, axis=-1)
        return function(logp_BCV, token_BC, cast_VD)

    def scanned(_, index):
        return None, one(_slice(hidden_BTD, index, columns), _slice(next_BT, index, columns), cast_VD)

    _, chunks = jax.lax.scan(scanned, None, jnp.arange(next_BT.shape[1] // columns))
    return jax.tree.map(lambda chunks_GBC: _shift_right(_join(chunks_GBC)[:, :n_columns]), chunks)


def _whole(head_VD, mesh):
    """The head with D whole on each device: gathered here once, not by the partitioner in every chunk."""
    return jax.lax.with_sharding_constraint(head_VD, meshes.lookup_sharding(mesh)) if mesh else head_VD


def _shift_right(values_BT):
    return jnp.pad(values_BT[:, :-1], ((0, 0), (1, 0), *[(0, 0)] * (values_BT.ndim - 2)))


def _slice(array_BT, index, columns):
    return jax.lax.dynamic_slice_in_dim(array_BT, index * columns, columns, axis=1)


def _join(chunks_GBC):
    """[chunks, B, C, ...] -> [B, T, ...]"""
    joined = jnp.moveaxis(chunks_GBC, 0, 1)
    return joined.reshape(joined.shape[0], -1, *joined.shape[3:])


@partial(jax.custom_vjp, nondiff_argnums=(4, 5))
def _chunked(hidden_BTD, head_VD, target_BT, temperature, columns, mesh):
    return _forward(hidden_BTD, head_VD, target_BT, temperature, columns, mesh)[0]


def _forward(hidden_BTD, head_VD, target_BT, temperature, columns, mesh):
    cast_VD = _whole(head_VD.astype(hidden_BTD.dtype), mesh)

    def one(_, index):
        logits_BCV = logits(_slice(hidden_BTD, index, columns), cast_VD) / temperature
        lse_BC = jax.nn.logsumexp(logits_BCV, axis=-1)
        chosen_BC = jnp.take_along_axis(logits_BCV, _slice(target_BT, index, columns)[..., None], axis=-1)[..., 0]
        entropy_BC = lse_BC - jnp.sum(jnp.exp(logits_BCV - lse_BC[..., None]) * logits_BCV, axis=-1)
        return None, (chosen_BC - lse_BC, entropy_BC, lse_BC)

    _, chunks = jax.lax.scan(one, None, jnp.arange(target_BT.shape[1] // columns))
    logp_BT, entropy_BT, lse_BT = map(_join, chunks)
    return (logp_BT, entropy_BT), (hidden_BTD, head_VD, target_BT, temperature, lse_BT, entropy_BT)


def _backward(columns, mesh, saved, cotangents):
    """The head's gradient is summed over chunks by each batch shard for itself (axis Y), then once over the shards."""
    shards = meshes.n_batch_shards(mesh) if mesh else 1
    hidden_BTD, head_VD, target_BT, temperature, lse_BT, entropy_BT = saved
    cast_VD = _whole(head_VD.astype(hidden_BTD.dtype), mesh)

    def one(d_head_YVD, index):
        hidden_BCD, target_BC, lse_BC, entropy_BC, d_logp_BC, d_entropy_BC = (
            _slice(a, index, columns) for a in (hidden_BTD, target_BT, lse_BT, entropy_BT, *cotangents)
        )
        logp_BCV = logits(hidden_BCD, cast_VD) / temperature - lse_BC[..., None]
        p_BCV = jnp.exp(logp_BCV)
        hit_BCV = target_BC[..., None] == jnp.arange(head_VD.shape[0])
        d_logits_BCV = d_logp_BC[..., None] * (hit_BCV - p_BCV)
        d_logits_BCV -= d_entropy_BC[..., None] * p_BCV * (logp_BCV + entropy_BC[..., None])
        d_logits_BCV = (d_logits_BCV / temperature).astype(hidden_BCD.dtype)
        own = [x.reshape(shards, -1, *x.shape[2:]) for x in (d_logits_BCV, hidden_BCD)]
        d_head_YVD += jnp.einsum("snv,snd->svd", *own, preferred_element_type=jnp.float32)
        return d_head_YVD, jnp.einsum("bcv,vd->bcd", d_logits_BCV, cast_VD)

    chunks = jnp.arange(target_BT.shape[1] // columns)
    d_head_YVD = jnp.zeros((shards, *head_VD.shape), jnp.float32)
    if mesh:
        d_head_YVD = jax.lax.with_sharding_constraint(d_head_YVD, meshes.head_sum_sharding(mesh))
    d_head_YVD, d_hidden = jax.lax.scan(one, d_head_YVD, chunks)
    return _join(d_hidden).astype(hidden_BTD.dtype), d_head_YVD.sum(0).astype(head_VD.dtype), None, None


_chunked.defvjp(_forward, _backward)
