"""The policy on right-padded rows: its last hidden states, and log-prob and entropy of every token."""

from functools import partial

import jax
import jax.numpy as jnp

from lte_jax.device import mesh, qwen3
from lte_jax.device.attention import causal_attention
from lte_jax.device.logprob import token_logp


def hidden_states(params: dict, tokens_BT, spec):
    """(hidden_BTD after the final norm, head_VD) under float32 weights. `spec`: an UpdateSpec."""
    batch, table = mesh.batch_sharding(spec.mesh), mesh.lookup_sharding(spec.mesh)
    model = qwen3.bind(spec.arch, params, spec.mesh)
    hidden_BTD = model(
        tokens_BT,
        dtype=jnp.dtype(spec.model.compute_dtype),
        attend=partial(causal_attention, impl=spec.model.attention, mesh=spec.mesh),
        scan=spec.model.scan_layers,
        remat=spec.model.remat,
        constrain=lambda x_BTD: jax.lax.with_sharding_constraint(x_BTD, batch),
        constrain_table=lambda embed_VD: jax.lax.with_sharding_constraint(embed_VD, table),
    )
    return hidden_BTD, model.head_VD


def policy_logp(params: dict, tokens_BT, temperature, spec):
    """(logp_BT, entropy_BT) of right-padded rows under float32 weights, at a temperature."""
    hidden_BTD, head_VD = hidden_states(params, tokens_BT, spec)
    return token_logp(hidden_BTD, head_VD, tokens_BT, temperature, chunk_tokens(spec), spec.mesh)


def chunk_tokens(spec) -> int:
    """Tokens whose logits exist at once, over all batch shards, on which the rows of a chunk lie."""
    return spec.model.logprob_chunk * mesh.n_batch_shards(spec.mesh)
