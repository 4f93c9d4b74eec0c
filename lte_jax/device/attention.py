"""Attention: one function for whole sequences with several implementations, one for a decoded token over the cache.

Rows are right-padded, so position equals column, causal attention needs no further mask, and what a padded column
computes is never read. Softmax is float32 in every implementation.
"""

import math

import jax
import jax.numpy as jnp


def causal_attention(q_BTNH, k_BTKH, v_BTKH, impl: str = "auto"):
    """Causal grouped-query attention -> [B, T, N, H]. `impl`: auto, reference, xla or cudnn.

    Raises ValueError where cudnn is asked for off GPU or in float32: it has neither.
    """
    impl = resolve(impl, q_BTNH.dtype)
    if impl == "reference":
        return _reference(q_BTNH, k_BTKH, v_BTKH)
    return jax.nn.dot_product_attention(q_BTNH, k_BTKH, v_BTKH, is_causal=True, implementation=impl)


def resolve(impl: str, dtype) -> str:
    """The implementation that `auto` means here; refuses one that cannot run."""
    on_gpu, is_half = jax.default_backend() == "gpu", jnp.dtype(dtype).itemsize == 2
    if impl == "auto":
        return "cudnn" if on_gpu and is_half else "xla"
    if impl == "cudnn" and not (on_gpu and is_half):
        raise ValueError(
            f"model.attention=cudnn needs a GPU and bfloat16; this is {jax.default_backend()} with "
            f"{jnp.dtype(dtype).name}: use auto or xla"
        )
    return impl


def _reference(q_BTNH, k_BTKH, v_BTKH):
    n_rows, n_columns, n_heads, d_head = q_BTNH.shape
    n_kv = k_BTKH.shape[2]
    grouped = q_BTNH.reshape(n_rows, n_columns, n_kv, n_heads // n_kv, d_head)
    scores = jnp.einsum("btkgh,bskh->bkgts", grouped, k_BTKH, preferred_element_type=jnp.float32)
    seen = jnp.tril(jnp.ones((n_columns, n_columns), bool))
    weights = jax.nn.softmax(jnp.where(seen, scores / math.sqrt(d_head), -jnp.inf), axis=-1)
    out = jnp.einsum("bkgts,bskh->btkgh", weights.astype(v_BTKH.dtype), v_BTKH)
    return out.reshape(q_BTNH.shape)


def cached_attention(q_BNH, k_BKSH, v_BKSH, length_B):
    """One query per row over the first `length_B` columns of its cache -> [B, N, H].

    Heads lie before positions: with the usual layout a GPU transposes and copies the whole cache in every step.
    """
    n_rows, n_heads, d_head = q_BNH.shape
    n_kv, n_columns = k_BKSH.shape[1:3]
    grouped = q_BNH.reshape(n_rows, n_kv, n_heads // n_kv, d_head)
    scores = jnp.einsum("bkgh,bksh->bkgs", grouped, k_BKSH, preferred_element_type=jnp.float32)
    seen_BS = jnp.arange(n_columns) < length_B[:, None]
    weights = jax.nn.softmax(jnp.where(seen_BS[:, None, None], scores / math.sqrt(d_head), -jnp.inf), axis=-1)
    out = jnp.einsum("bkgs,bksh->bkgh", weights.astype(v_BKSH.dtype), v_BKSH)
    return out.reshape(q_BNH.shape)
