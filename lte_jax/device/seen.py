"""A micro-batch as a policy sees it: what features and a regulariser's targets are measured from, without gradient.

Hidden states and distributions stay inside the jit that asks for them; only what is made of them leaves it.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lte_jax.device.arrays import Microbatch
from lte_jax.device.logprob import over_vocabulary, token_logp
from lte_jax.device.policy import chunk_tokens, hidden_states, policy_logp


class Seen(NamedTuple):
    """Column t describes token t; `hidden_BTD` holds the state behind it. Log-probs and entropies are those at the
    sampling temperature, 0 where `mask_BT` is False."""

    micro: Microbatch
    mask_BT: jax.Array  # bool: response tokens that are trained; no token of a padding row
    logp_BT: jax.Array
    entropy_BT: jax.Array  # nats
    hidden_BTD: jax.Array  # after the final norm, in the compute type
    reference_logp_BT: Any  # of the starting model; None where nobody asked for it
    over_vocabulary: Callable  # (function) -> arrays [B, T, ...]: logprob.over_vocabulary


def see(params: dict, reference: dict | None, micro: Microbatch, temperature, spec) -> Seen:
    """Of one micro-batch. What nobody reads of it, the compiler leaves out. `spec`: an UpdateSpec."""
    hidden_BTD, head_VD = hidden_states(params, micro.tokens_BT, spec)
    rows = hidden_BTD, head_VD, micro.tokens_BT, temperature, chunk_tokens(spec), spec.mesh
    mask_BT = micro.trained_BT
    logp_BT, entropy_BT = (jnp.where(mask_BT, value_BT, 0.0) for value_BT in token_logp(*rows))
    reference_logp_BT = None
    if reference is not None:
        reference_logp_BT = jnp.where(mask_BT, policy_logp(reference, micro.tokens_BT, temperature, spec)[0], 0.0)
    scan = partial(_over_vocabulary, rows)
    return Seen(micro, mask_BT, logp_BT, entropy_BT, hidden_BTD, reference_logp_BT, scan)


def _over_vocabulary(rows, function):
    return over_vocabulary(function, *rows)
