"""The mixed-policy objective of LTE (arXiv 2510.26109). Pure functions of arrays; all masks come from boundary.pack.

Each per-token function stands alone, without masks or metrics, and returns what is maximised.
"""

import jax
import jax.numpy as jnp
import numpy as np

from lte_jax.config import LossConfig


def clipped_surrogate(log_ratio, advantage, eps_low, eps_high):
    """min(r A, clip(r, 1 - eps_low, 1 + eps_high) A), PPO's (arXiv 1707.06347, eq. 7)."""
    ratio = jnp.exp(log_ratio)
    return jnp.minimum(ratio * advantage, jnp.clip(ratio, 1 - eps_low, 1 + eps_high) * advantage)


def shaped_ratio(log_ratio, gamma):
    """f(r) = r / (r + gamma) as sigmoid(log r - log gamma), which cannot overflow (LUFFY, arXiv 2504.14945)."""
    return jax.nn.sigmoid(log_ratio - jnp.log(gamma))


def shaped_objective(log_ratio, advantage, config: LossConfig):
    """f(r') A: the paper's. Its gradient weight gamma r/(r + gamma)^2 is largest, 1/4, at r = gamma."""
    return shaped_ratio(log_ratio, config.gamma) * advantage


def ratio_objective(log_ratio, advantage, config: LossConfig):
    """r' A: plain importance sampling."""
    return jnp.exp(log_ratio) * advantage


def clipped_objective(log_ratio, advantage, config: LossConfig):
    """Hinted tokens treated like on-policy ones."""
    return clipped_surrogate(log_ratio, advantage, config.clip_eps_low, config.clip_eps_high)


HINTED_OBJECTIVES = {"shaped": shaped_objective, "ratio": ratio_objective, "clipped": clipped_objective}


def log_ratios(logp_BT, behaviour_logp_BT, loss_mask_BT, off_policy_BT, config: LossConfig):
    """(on-policy, hinted) log-ratios, each 0 outside its own trained tokens, so that no exp sees a masked entry."""
    denominator_off_BT = behaviour_logp_BT if config.hinted_denominator == "recorded" else 0.0
    on_BT = jnp.where(loss_mask_BT & ~off_policy_BT, logp_BT - behaviour_logp_BT, 0.0)
    off_BT = jnp.where(loss_mask_BT & off_policy_BT, logp_BT - denominator_off_BT, 0.0)
    return on_BT, off_BT


def token_objective(logp_BT, behaviour_logp_BT, loss_mask_BT, off_policy_BT, advantage_BT, config: LossConfig):
    """What each token adds to the maximised sum, before its normaliser; 0 where it is not trained."""
    on_BT, off_BT = log_ratios(logp_BT, behaviour_logp_BT, loss_mask_BT, off_policy_BT, config)
    on_BT = clipped_surrogate(on_BT, advantage_BT, config.clip_eps_low, config.clip_eps_high)
    off_BT = config.hinted_weight * HINTED_OBJECTIVES[config.hinted_objective](off_BT, advantage_BT, config)
    return jnp.where(loss_mask_BT, jnp.where(off_policy_BT, off_BT, on_BT), 0.0)


# Normalisers: what one token of each row weighs, from the rows' counts of response tokens and whether each is
# off-policy. numpy, over all rows of one update, on the host: no split into micro-batches can change them.


def token_mean(n_tokens_B, off_policy_B, response_budget):
    """1/Z, Z = all response tokens of the update (DAPO, arXiv 2503.14476; LTE with one count)."""
    return np.full(n_tokens_B.shape, _inverse(n_tokens_B.sum()), np.float32)


def token_mean_by_part(n_tokens_B, off_policy_B, response_budget):
    """1/Z' for hinted rows and 1/Z for on-policy rows, each part's own response tokens; an empty part adds 0."""
    n_off = np.where(off_policy_B, n_tokens_B, 0).sum()
    return np.where(off_policy_B, _inverse(n_off), _inverse(n_tokens_B.sum() - n_off))


def sequence_mean(n_tokens_B, off_policy_B, response_budget):
    """1/(rows x own length) (GRPO, arXiv 2402.03300)."""
    return _inverse(n_tokens_B) * _inverse((n_tokens_B > 0).sum())


def constant(n_tokens_B, off_policy_B, response_budget):
    """1/(rows x response budget) (Dr.GRPO, arXiv 2503.20783)."""
    return np.full(n_tokens_B.shape, _inverse((n_tokens_B > 0).sum() * response_budget), np.float32)


NORMALISERS = {
    "token_mean": token_mean,
    "token_mean_by_part": token_mean_by_part,
    "sequence_mean": sequence_mean,
    "constant": constant,
}


def _inverse(count):
    return np.where(count > 0, 1.0 / np.maximum(count, 1), 0.0).astype(np.float32)
