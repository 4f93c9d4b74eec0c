"""The device records: frozen tuples of arrays. All masks are decided in boundary.py; column t describes token t."""

from typing import NamedTuple

import jax


class Microbatch(NamedTuple):
    """Rows of one forward and backward, right-padded. A padding row has an empty loss mask.

    Log-probs are float32 and 0 where not trained.
    """

    tokens_BT: jax.Array  # int32
    loss_mask_BT: jax.Array  # bool: True on trained tokens, the stop token included
    behaviour_logp_BT: jax.Array  # the sampler's, without truncation, under the prompt that it sampled from
    sampled_logp_BT: jax.Array  # of what was drawn from: at the place's own temperature, after top-p and top-k
    old_logp_BT: jax.Array  # denominator of every ratio: behaviour_logp, or on on-policy rows the trainer's own
    reference_logp_BT: jax.Array  # of the starting model; 0 where the loss has no KL
    advantage_B: jax.Array  # float32
    entropy_scale_B: jax.Array  # float32: +-alpha where token entropy makes the advantage (RL-ZVP), else 0
    off_policy_B: jax.Array  # bool: True for rows sampled from a hinted prompt
    token_weight_B: jax.Array  # float32: what one token of the row weighs in the objective (its normaliser)


class Tally(NamedTuple):
    """Sums, counts and maxima over the trained tokens of one update; means are taken once, at its end."""

    n_on: jax.Array  # tokens of on-policy rows
    n_off: jax.Array  # tokens of hinted rows
    n_kl: jax.Array  # tokens on which a KL is taken
    n_corrected: jax.Array  # tokens that have a mismatch weight
    objective: jax.Array  # the maximised sum, KL in the loss and entropy bonus apart
    entropy: jax.Array  # nats, over all trained tokens
    ratio_on: jax.Array
    ratio_on_max: jax.Array
    ratio_off: jax.Array
    ratio_off_max: jax.Array
    shaped_off: jax.Array  # f(r')
    shaped_off_max: jax.Array
    outside: jax.Array  # on-policy tokens whose ratio lies outside the clip range
    clipped: jax.Array  # on-policy tokens whose gradient the clip removed
    dual_clipped: jax.Array  # on-policy tokens with A < 0 and a ratio above c, whether the dual clip acts or not
    push_on: jax.Array  # sum of |d objective / d logp|
    push_off: jax.Array
    kl: jax.Array  # nats, by the configured estimator
    correction: jax.Array  # mismatch weights
    correction_max: jax.Array
    rejected: jax.Array  # tokens of mismatch weight 0
    mismatch: jax.Array  # |trainer logp - sampler logp| over on-policy tokens
    mismatch_max: jax.Array
    token_error: jax.Array  # exp(|trainer logp - sampler logp|) - 1


MAXIMA = ("ratio_on_max", "ratio_off_max", "shaped_off_max", "correction_max", "mismatch_max")


class TrainState(NamedTuple):
    """What an update changes: float32 master weights and the optimiser's state, sharded alike."""

    params: dict
    opt_state: tuple
    n_updates: jax.Array  # int32: updates applied
    n_nonfinite: jax.Array  # int32: updates skipped because a gradient was not finite
    n_nonfinite_in_row: jax.Array  # int32


class Drawing(NamedTuple):
    """How tokens are drawn: scalars, traced, so that no setting compiles anything again."""

    temperature: jax.Array  # float32, and so are the others but for top_k: the policy's temperature
    high: jax.Array  # these four as in records.Annealing; high = low = temperature: no annealing
    low: jax.Array
    decay: jax.Array
    after: jax.Array
    top_p: jax.Array
    top_k: jax.Array  # int32


class SamplerState(NamedTuple):
    """The slots: one row each. `position` is the column of `token`, whose keys and values are not yet written."""

    cache: list  # LayerCache per layer, [B, K, S, H]
    token_B: jax.Array  # int32: to be decoded next
    position_B: jax.Array  # int32
    n_response_B: jax.Array  # int32: response tokens drawn so far
    budget_B: jax.Array  # int32: most response tokens
    key_B2: jax.Array  # uint32: the request's random key, before the token's place is folded in
    active_B: jax.Array  # bool: True while the row still draws


class Starts(NamedTuple):
    """Requests to be started: M entries, padded with a slot past the last."""

    slot_M: jax.Array  # int32
    source_M: jax.Array  # int32: row of the prefilled prompts
    token_M: jax.Array  # int32: the prompt's last token
    position_M: jax.Array  # int32: its column
    budget_M: jax.Array  # int32: most response tokens
    key_parts_MK: jax.Array  # uint32: seed, stream, step, group, round, index


class Drawn(NamedTuple):
    """What one chunk drew. Row b drew `n_B[b]` tokens, in its first columns."""

    token_BC: jax.Array
    behaviour_logp_BC: jax.Array
    sampled_logp_BC: jax.Array
    n_B: jax.Array
    active_B: jax.Array
    n_steps: jax.Array  # decode steps that ran
