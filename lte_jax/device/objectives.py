"""The small functions that an objective is put together from, each chosen by name from the dict behind it.

All are per token, without masks. An objective is maximised, a KL estimate is a penalty. `log_ratio` is
log pi - log pi_old, 0 where a token is not trained; every function is finite there.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from pydantic import BaseModel

from lte_jax.config import LossConfig
from lte_jax.method import Method, Source
from lte_jax.metric import Metric
from lte_jax.plugins import arguments, resolve


class TokenInputs(NamedTuple):
    """What an objective or a regulariser may read of each token. 0 where `mask_BT` is False: there it is not used."""

    log_ratio_BT: jax.Array  # log pi - log pi_old; of supervised tokens 0
    advantage_BT: jax.Array  # of supervised tokens their coefficient
    logp_BT: jax.Array  # log pi
    entropy_BT: jax.Array  # nats; with a gradient
    mask_BT: jax.Array  # bool: the tokens that this objective is for
    args: Any = None  # its own settings, as its `args` validated them
    recorded_logp_BT: Any = None  # the sampler's; for regularisers
    targets: Any = None  # [B, T] by name: what a regulariser fixed before the step's first update


class Objective(NamedTuple):
    """`value(tokens, config)` gives (what each token adds to the maximised sum, {metric: value of each token}).

    `metrics` declares what it shows; `args` is the pydantic model (frozen) of its own settings."""

    value: Callable[[TokenInputs, LossConfig], tuple[jax.Array, dict[str, jax.Array]]]
    metrics: tuple[Metric, ...] = ()
    args: type[BaseModel] | None = None
    method: Method | None = None


def of_ratio(function: Callable, method: Method | None = None) -> Objective:
    """An objective of log-ratio and advantage alone, which shows nothing."""

    def objective(tokens, config):
        return function(tokens.log_ratio_BT, tokens.advantage_BT, config), {}

    return Objective(objective, method=method)


def said(idea: str, paper: str) -> Method:
    """An objective as its paper, or a plain formula, has it."""
    return Method(idea, paper, Source.EXACT, "objectives")


# Ratios of on-policy rows


def token_ratio(log_ratio_BT, mask_BT):
    """log r_t, each token its own (PPO, GRPO)."""
    return log_ratio_BT


def sequence_ratio(log_ratio_BT, mask_BT):
    """(1/L) sum_t log r_t at every trained token: one ratio per row (GSPO, arXiv 2507.18071, eq. 7)."""
    n_B1 = jnp.maximum(mask_BT.sum(axis=1, keepdims=True), 1)
    return jnp.where(mask_BT, log_ratio_BT.sum(axis=1, keepdims=True) / n_B1, 0.0)


RATIOS = {"token": token_ratio, "sequence": sequence_ratio}

# Objectives of on-policy tokens


def clipped_surrogate(log_ratio, advantage, config: LossConfig):
    """min(r A, clip(r, 1 - eps_low, 1 + eps_high) A) (PPO, arXiv 1707.06347, eq. 7; two ends: DAPO)."""
    ratio = jnp.exp(log_ratio)
    return jnp.minimum(ratio * advantage, clipped_ratio(ratio, config) * advantage)


def dual_clipped_surrogate(log_ratio, advantage, config: LossConfig):
    """max(clipped surrogate, c A) where A < 0 (dual-clip PPO, arXiv 1912.09729, eq. 5): no gradient above r = c."""
    surrogate = clipped_surrogate(log_ratio, advantage, config)
    return jnp.where(advantage < 0, jnp.maximum(surrogate, config.dual_clip_c * advantage), surrogate)


def clipped_weight(log_ratio, advantage, config: LossConfig):
    """stop_gradient(clip(r)) A log r (CISPO, arXiv 2506.13585, eq. 4): every token keeps a gradient.

    The paper has log pi; log r differs from it by a constant, so that value is 0 and gradient A at the first update.
    """
    return jax.lax.stop_gradient(clipped_ratio(jnp.exp(log_ratio), config)) * advantage * log_ratio


def unclipped(log_ratio, advantage, config: LossConfig):
    """r A: plain importance sampling."""
    return jnp.exp(log_ratio) * advantage


def reinforce(log_ratio, advantage, config: LossConfig):
    """A log r: the gradient of A log pi (REINFORCE), whatever has become of the policy since it drew; of a hinted token
    as if it had been drawn under the plain prompt (a control)."""
    return log_ratio * advantage


def clipped_ratio(ratio, config: LossConfig):
    return jnp.clip(ratio, 1 - config.clip_eps_low, 1 + config.clip_eps_high)


ON_POLICY_OBJECTIVES = {
    "clip": of_ratio(clipped_surrogate, said("PPO's clip; with two ends DAPO's", "1707.06347, 2503.14476")),
    "dual_clip": of_ratio(dual_clipped_surrogate, said("PPO's clip with a floor where A < 0", "1912.09729")),
    "cispo": of_ratio(clipped_weight, said("the clipped ratio weighs every token's log-prob", "2506.13585")),
    "unclipped": of_ratio(unclipped, said("importance sampling without a clip: r A", "2512.16912")),
    "reinforce": of_ratio(reinforce, said("no ratio: the gradient of A log pi", "")),
}

# Objectives of hinted tokens


def shaped_ratio(log_ratio, gamma):
    """f(r) = r / (r + gamma) as sigmoid(log r - log gamma), which cannot overflow (LUFFY, arXiv 2504.14945)."""
    return jax.nn.sigmoid(log_ratio - jnp.log(gamma))


def shaped_objective(log_ratio, advantage, config: LossConfig):
    """f(r') A: the paper's. Its gradient weight gamma r/(r + gamma)^2 is largest, 1/4, at r = gamma."""
    return shaped_ratio(log_ratio, config.gamma) * advantage


HINTED_OBJECTIVES = {
    "shaped": of_ratio(shaped_objective, said("f(r') A with f(r) = r / (r + gamma)", "2510.26109, 2504.14945")),
    "ratio": of_ratio(unclipped, said("importance sampling without a clip: r' A", "")),
    "clipped": of_ratio(clipped_surrogate, said("clipped like on-policy tokens", "1707.06347")),
    "uncorrected": of_ratio(reinforce, said("no ratio, a control: the gradient of A log pi", "")),
}

# Objectives of supervised tokens; their advantage is a coefficient


def likelihood(tokens: TokenInputs, config: LossConfig):
    """a log pi."""
    return tokens.advantage_BT * tokens.logp_BT, {}


def shaped_likelihood(tokens: TokenInputs, config: LossConfig):
    """a pi / (pi + gamma): as f(r) with a denominator of 1 (LUFFY, arXiv 2504.14945)."""
    return tokens.advantage_BT * shaped_ratio(tokens.logp_BT, config.gamma), {}


SUPERVISED_OBJECTIVES = {
    "nll": Objective(likelihood, method=said("likelihood: a log pi", "")),
    "shaped": Objective(shaped_likelihood, method=said("f(pi) a: likelier tokens push less", "2504.14945")),
}

# kind of token -> (the package's objectives, which one is chosen and its own settings)
CHOICES: dict[str, tuple[dict[str, Objective], Callable[[LossConfig], tuple[str, dict]]]] = {
    "on_policy": (ON_POLICY_OBJECTIVES, lambda c: (c.on_policy_objective, c.on_policy_args)),
    "hinted": (HINTED_OBJECTIVES, lambda c: (c.hinted_objective, c.hinted_args)),
    "supervised": (SUPERVISED_OBJECTIVES, lambda c: (c.supervised_objective, c.supervised_args)),
}


@lru_cache
def chosen(config: LossConfig, kind: str) -> tuple[Objective, BaseModel | None]:
    """(the objective of a kind of tokens, its own settings). Raises ConfigError."""
    known, choice = CHOICES[kind]
    name, args = choice(config)
    objective = resolve(f"loss.{kind}_objective", name, known, Objective)
    return objective, arguments(f"loss.{kind}_args", args, objective.args)


def declared(config: LossConfig) -> list[Metric]:
    """The metrics of the chosen objectives. Raises ConfigError for a name that leads to none."""
    found = [metric for kind in CHOICES for metric in chosen(config, kind)[0].metrics]
    return list(dict.fromkeys(found))


# Weights for the mismatch between trainer and sampler; log_weight = trainer's old logp - sampler's sampled_logp


def no_correction(log_weight, config: LossConfig):
    """1: the two are taken for the same policy."""
    return jnp.ones_like(log_weight)


def truncated_weight(log_weight, config: LossConfig):
    """min(w, C): truncated importance sampling (TIS; Ionides 2008; C = 2 in verl, 3 in TRL)."""
    return jnp.minimum(jnp.exp(log_weight), config.correction_max)


def rejecting_weight(log_weight, config: LossConfig):
    """w in [low, high], else 0: the token leaves the gradient (IcePop, arXiv 2510.18855)."""
    low, high = config.correction_range
    weight = jnp.exp(log_weight)
    return jnp.where((weight >= low) & (weight <= high), weight, 0.0)


CORRECTIONS = {"none": no_correction, "truncate": truncated_weight, "reject": rejecting_weight}

# Estimators of KL(pi || reference) from one sampled token (Schulman, "Approximating KL divergence", 2020).
# log_ratio = logp - reference logp.


def k1(log_ratio):
    """logp - ref: without bias, and negative at times."""
    return log_ratio


def k2(log_ratio):
    """(logp - ref)^2 / 2: its gradient on-policy is that of the KL."""
    return 0.5 * log_ratio**2


def k3(log_ratio):
    """exp(ref - logp) - (ref - logp) - 1: without bias, never negative (GRPO, arXiv 2402.03300, eq. 4)."""
    return jnp.expm1(-log_ratio) + log_ratio


def no_kl(log_ratio):
    return jnp.zeros_like(log_ratio)


class Kl(NamedTuple):
    """Where an estimate is charged. In the reward it is a constant, as of before the step's first update; k1 belongs
    there, since as a loss its expected gradient on-policy is 0."""

    in_reward: Callable
    in_loss: Callable


KLS = {"none": Kl(no_kl, no_kl), "k1": Kl(k1, no_kl), "k2": Kl(no_kl, k2), "k3": Kl(no_kl, k3)}

# Advantage by token entropy


def entropy_advantage(entropy_BT, scale_B, mask_BT):
    """alpha H_t where the whole group is right (scale alpha), -alpha (max_k H_k - H_t) where it is wrong (-alpha), max
    over the row's trained tokens; entropies are constants (RL-ZVP, arXiv 2509.21880)."""
    entropy_BT = jax.lax.stop_gradient(jnp.where(mask_BT, entropy_BT, 0.0))
    scale_B1 = scale_B[:, None]
    wrong_BT = scale_B1 * (entropy_BT.max(axis=1, keepdims=True) - entropy_BT)
    return jnp.where(mask_BT, jnp.where(scale_B1 > 0, scale_B1 * entropy_BT, wrong_BT), 0.0)
