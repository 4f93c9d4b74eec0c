"""The feed-forward of Qwen3 MoE (arXiv 2505.09388): each token through its few experts, as ragged products.

Tokens are sorted by expert, so that each expert multiplies one run of rows; none is dropped and there is no capacity.
Over a mesh, each device sorts its own rows and computes what its own experts add; tensor then sums.
M tokens, A experts of a token, R = M A rows: a token once for each of its experts.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec

from lte_jax.device.weights import Experts


def mixture(x_BTD, router_DE, gate_EDX, up_EDX, down_EXD, experts: Experts, mesh: Mesh | None):
    """The weighted sum of what its experts make of each token -> [B, T, D].

    `mesh`: rows over data and fsdp, experts over tensor; None: all on one device.
    """
    arguments = (x_BTD, router_DE, gate_EDX, up_EDX, down_EXD)
    if mesh is None:
        return _held(*arguments, experts=experts)
    rows, split = PartitionSpec(("data", "fsdp")), PartitionSpec("tensor")
    # the partitioner would gather all tokens to sort them, and all experts to multiply them
    return jax.shard_map(
        lambda *arguments: jax.lax.psum(_held(*arguments, experts=experts, axis="tensor"), "tensor"),
        mesh=mesh,
        in_specs=(rows, PartitionSpec(None, "tensor"), split, split, split),
        out_specs=rows,
        check_vma=False,  # with it, jax 0.10 leaves the sum over tensor out of the gradient of x
    )(*arguments)


def _held(x_BTD, router_DE, gate_EDX, up_EDX, down_EXD, experts: Experts, axis: str | None = None):
    """What the experts that are held here add to each token. `axis`: the mesh axis on which the others are."""
    x_UD, n_held = x_BTD.reshape(-1, x_BTD.shape[-1]), gate_EDX.shape[0]
    logits_UE = jnp.einsum("ud,de->ue", x_UD, router_DE.astype(x_UD.dtype), preferred_element_type=jnp.float32)
    if axis:
        logits_UE = jax.lax.all_gather(logits_UE, axis, axis=1, tiled=True)
    expert_UA, weight_UA = _route(logits_UE, experts)

    place_R = expert_UA.reshape(-1) - (jax.lax.axis_index(axis) * n_held if axis else 0)
    place_R = jnp.where((place_R >= 0) & (place_R < n_held), place_R, n_held)  # those of other devices come last
    order_R = jnp.argsort(place_R)
    is_held_R = (place_R[order_R] < n_held)[:, None]
    product = partial(_ragged, group_sizes=jnp.bincount(place_R, length=n_held))
    # rows outside every group are undefined, in the backward pass too: masked before and after
    x_RD = jnp.where(is_held_R, jnp.repeat(x_UD, experts.n_active, axis=0)[order_R], 0)
    x_RD = product(jax.nn.silu(product(x_RD, gate_EDX)) * product(x_RD, up_EDX), down_EXD)
    x_RD = jnp.where(is_held_R, x_RD, 0)[jnp.argsort(order_R)]
    out_UD = jnp.einsum("uad,ua->ud", x_RD.reshape(*expert_UA.shape, -1).astype(jnp.float32), weight_UA)
    return out_UD.astype(x_BTD.dtype).reshape(x_BTD.shape)


def _route(logits_UE, experts: Experts):
    """(expert_UA, weight_UA) of each token's active experts, likeliest first; weights are float32."""
    weight_UA, expert_UA = jax.lax.top_k(jax.nn.softmax(logits_UE, axis=-1), experts.n_active)
    if experts.normed:
        weight_UA /= weight_UA.sum(-1, keepdims=True)
    return expert_UA, weight_UA


def _ragged(x_RD, weight_EDX, group_sizes):
    return jax.lax.ragged_dot(x_RD, weight_EDX.astype(x_RD.dtype), group_sizes)
