"""The device records: frozen tuples of arrays. All masks are decided in boundary.py; column t describes token t."""

from typing import NamedTuple

import jax

# As what a token is trained (records.Kind); int8
UNTRAINED, ON_POLICY, OFF_POLICY, SUPERVISED = range(4)


class Microbatch(NamedTuple):
    """Rows of one forward and backward, right-padded. A padding row trains no token.

    Log-probs, advantages and weights are float32 and 0 where not trained.
    """

    tokens_BT: jax.Array  # int32
    kind_BT: jax.Array  # int8: as what a token is trained, the stop token included
    behaviour_logp_BT: jax.Array  # the sampler's, without truncation, under the prompt that it sampled from
    sampled_logp_BT: jax.Array  # of what was drawn from: at the place's own temperature, after top-p and top-k
    old_logp_BT: jax.Array  # denominator of every ratio: behaviour_logp, or on on-policy tokens the trainer's own
    reference_logp_BT: jax.Array  # of the starting model; 0 where the loss has no KL
    advantage_BT: jax.Array  # of a supervised token its coefficient
    weight_BT: jax.Array  # what a token weighs in the objective (its normaliser)
    entropy_scale_B: jax.Array  # float32: +-alpha where token entropy makes the advantage (RL-ZVP), else 0
    targets: dict = {}  # regulariser -> {name: float32 [B, T]}: what it fixed before the step's first update

    @property
    def trained_BT(self) -> jax.Array:
        return self.kind_BT != UNTRAINED

    @property
    def on_policy_BT(self) -> jax.Array:
        return self.kind_BT == ON_POLICY

    @property
    def off_policy_BT(self) -> jax.Array:
        return self.kind_BT == OFF_POLICY

    @property
    def supervised_BT(self) -> jax.Array:
        return self.kind_BT == SUPERVISED

    @property
    def drawn_BT(self) -> jax.Array:
        """On-policy and off-policy tokens: those with a ratio."""
        return self.on_policy_BT | self.off_policy_BT


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
    n_response_B: jax.Array  # int32: response tokens so far, given and drawn
    budget_B: jax.Array  # int32: most response tokens
    key_B2: jax.Array  # uint32: the request's random key, before the token's place is folded in
    active_B: jax.Array  # bool: True while the row still draws


class Starts(NamedTuple):
    """Requests to be started: M entries, padded with a slot past the last."""

    slot_M: jax.Array  # int32
    source_M: jax.Array  # int32: row of what was prefilled
    token_M: jax.Array  # int32: the last token that is there
    position_M: jax.Array  # int32: its column
    n_response_M: jax.Array  # int32: response tokens that are there already
    budget_M: jax.Array  # int32: most response tokens
    key_parts_M6: jax.Array  # uint32: seed, stream, step, group, round, index


class Drawn(NamedTuple):
    """What one chunk drew. Row b drew `n_B[b]` tokens, in its first columns."""

    token_BC: jax.Array
    behaviour_logp_BC: jax.Array
    sampled_logp_BC: jax.Array
    n_B: jax.Array
    active_B: jax.Array
    n_steps: jax.Array  # decode steps that ran
