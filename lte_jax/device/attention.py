"""Attention: one function for whole sequences with several implementations, one for a decoded token over the cache.

Rows are right-padded, so position equals column, causal attention needs no further mask, and what a padded column
computes is never read. Softmax is float32 in every implementation.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
from jax.experimental.pallas.ops.tpu import splash_attention as splash
from jax.sharding import Mesh, PartitionSpec

LEAST_BLOCK, MOST_BLOCKS = 64, 4  # of queries, where XLA computes the scores
SPLASH_LANES, SPLASH_BLOCKS = 128, (512, 256, 128)  # columns: a kernel works on whole blocks, a block on whole lanes


def causal_attention(q_BTNH, k_BTKH, v_BTKH, impl: str = "auto", mesh: Mesh | None = None):
    """Causal grouped-query attention -> [B, T, N, H]. `impl`: auto, reference, xla, cudnn or splash.

    `mesh`: what it runs on, rows over data and fsdp, heads over tensor; None: one device of the default backend. Raises
    ValueError where an implementation is asked for that cannot run there.
    """
    platform = mesh.devices.flat[0].platform if mesh else jax.default_backend()
    impl = resolve(impl, q_BTNH.dtype, platform)
    if impl == "reference":
        return _reference(q_BTNH, k_BTKH, v_BTKH)
    if impl == "splash":
        return _splash(q_BTNH, k_BTKH, v_BTKH, mesh, interpret=platform != "tpu")
    if impl == "xla":
        return _blocks(q_BTNH, k_BTKH, v_BTKH)
    return jax.nn.dot_product_attention(q_BTNH, k_BTKH, v_BTKH, is_causal=True, implementation=impl)


def resolve(impl: str, dtype, platform: str) -> str:
    """The implementation that `auto` means there; refuses one that cannot run."""
    is_half = jnp.dtype(dtype).itemsize == 2
    if impl == "auto":
        if platform == "tpu":
            return "splash"
        return "cudnn" if platform in ("gpu", "cuda") and is_half else "xla"
    if impl == "cudnn" and not (platform in ("gpu", "cuda") and is_half):
        raise ValueError(
            f"model.attention=cudnn needs a GPU and bfloat16; this is {platform} with {jnp.dtype(dtype).name}: "
            "use auto or xla"
        )
    if impl == "splash" and platform in ("gpu", "cuda"):
        raise ValueError(f"model.attention=splash is a TPU kernel; this is {platform}: use auto, cudnn or xla")
    return impl


def _blocks(q_BTNH, k_BTKH, v_BTKH):
    """Blocks of queries, each over the keys up to its end: of four blocks' scores three eighths are never computed."""
    n_columns = q_BTNH.shape[1]
    size = max(LEAST_BLOCK, -(-n_columns // MOST_BLOCKS))
    out = []
    for start in range(0, n_columns, size):
        end = min(start + size, n_columns)
        seen = jnp.tril(jnp.ones((end - start, end), bool), start)
        of_block = q_BTNH[:, start:end], k_BTKH[:, :end], v_BTKH[:, :end]
        out.append(jax.nn.dot_product_attention(*of_block, mask=seen[None, None], implementation="xla"))
    return jnp.concatenate(out, axis=1)


def _splash(q_BTNH, k_BTKH, v_BTKH, mesh: Mesh | None, interpret: bool):
    """The TPU kernel that never holds a row's scores (jax.experimental.pallas); interpreted on a CPU, for tests.

    The partitioner cannot split a kernel, so each device runs it on its own rows and heads.
    """
    local = partial(_splash_local, interpret=interpret)
    if mesh is None:
        return local(q_BTNH, k_BTKH, v_BTKH)
    spec = PartitionSpec(("data", "fsdp"), None, "tensor")
    over_mesh = jax.shard_map(local, mesh=mesh, in_specs=(spec,) * 3, out_specs=spec, check_vma=False)
    return over_mesh(q_BTNH, k_BTKH, v_BTKH)


def _splash_local(q_BTNH, k_BTKH, v_BTKH, interpret: bool):
    """Pads to whole blocks: a padded key lies behind every real query, so causality hides it."""
    n_columns, n_heads, d_head = q_BTNH.shape[1:]
    n_kv = k_BTKH.shape[2]
    per_kv = n_heads // n_kv
    padding = -n_columns % SPLASH_LANES
    block = next(size for size in SPLASH_BLOCKS if (n_columns + padding) % size == 0)
    names = [
        f"block_{name}" for name in ("q", "kv", "kv_compute", "q_dkv", "kv_dkv", "kv_dkv_compute", "q_dq", "kv_dq")
    ]
    kernel = splash.make_splash_mqa_single_device(
        splash.MultiHeadMask([splash.CausalMask((n_columns + padding,) * 2)] * per_kv),
        block_sizes=splash.BlockSizes(**dict.fromkeys(names, block)),
        interpret=interpret,
    )

    def heads_first(x_BTNH):
        return jnp.pad(x_BTNH, ((0, 0), (0, padding), (0, 0), (0, 0))).swapaxes(1, 2)

    scaled = heads_first((q_BTNH.astype(jnp.float32) / math.sqrt(d_head)).astype(q_BTNH.dtype))
    grouped = scaled.reshape(-1, n_kv, per_kv, *scaled.shape[2:])
    out = jax.vmap(jax.vmap(kernel))(grouped, heads_first(k_BTKH), heads_first(v_BTKH))
    return out.reshape(scaled.shape).swapaxes(1, 2)[:, :n_columns]


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
