"""The mixed-policy objective of LTE (arXiv 2510.26109): what each token of a micro-batch adds to the maximised sum.

Pure functions of arrays; all masks come from boundary.pack, all choices from objectives.py. Nothing here takes a mean:
a token's weight was fixed on the host, over the whole update (normalisers.py).
"""

import jax.numpy as jnp

from lte_jax.config import LossConfig
from lte_jax.device import objectives
from lte_jax.device.arrays import Microbatch


def mixed_objective(logp_BT, entropy_BT, micro: Microbatch, config: LossConfig):
    """w_t CLIP(r, A) / Z on on-policy tokens, f(r') A / Z' on hinted ones; 0 where a token is not trained."""
    on_BT, off_BT = log_ratios(logp_BT, micro, config)
    advantage_BT = token_advantage(entropy_BT, micro, config)
    on_BT = objectives.ON_POLICY_OBJECTIVES[config.on_policy_objective](on_BT, advantage_BT, config)
    off_BT = objectives.HINTED_OBJECTIVES[config.hinted_objective](off_BT, advantage_BT, config)
    mixed_BT = jnp.where(
        micro.off_policy_B[:, None], config.hinted_weight * off_BT, mismatch_weight(micro, config) * on_BT
    )
    return jnp.where(micro.loss_mask_BT, mixed_BT, 0.0) * micro.token_weight_B[:, None]


def kl_penalty(logp_BT, micro: Microbatch, config: LossConfig):
    """beta KL(pi || reference) / Z of on-policy tokens, where the estimator belongs in the loss; to be subtracted."""
    log_ratio_BT = jnp.where(on_policy_mask(micro), logp_BT - micro.reference_logp_BT, 0.0)
    return config.kl_coef * objectives.KLS[config.kl].in_loss(log_ratio_BT) * micro.token_weight_B[:, None]


def log_ratios(logp_BT, micro: Microbatch, config: LossConfig):
    """(on-policy, hinted) log-ratios, each 0 outside its own trained tokens, so that no exp sees a masked entry."""
    is_on_BT, is_off_BT = on_policy_mask(micro), hinted_mask(micro)
    on_BT = objectives.RATIOS[config.ratio](jnp.where(is_on_BT, logp_BT - micro.old_logp_BT, 0.0), is_on_BT)
    denominators = {"recorded": micro.old_logp_BT, "sampled": micro.sampled_logp_BT, "one": 0.0}
    return on_BT, jnp.where(is_off_BT, logp_BT - denominators[config.hinted_denominator], 0.0)


def token_advantage(entropy_BT, micro: Microbatch, config: LossConfig):
    """The row's advantage, plus what differs by token: entropy in groups without variance, and a KL in the reward."""
    guided_BT = objectives.entropy_advantage(entropy_BT, micro.entropy_scale_B, micro.loss_mask_BT)
    old_BT = jnp.where(on_policy_mask(micro), micro.old_logp_BT - micro.reference_logp_BT, 0.0)
    charged_BT = config.kl_coef * objectives.KLS[config.kl].in_reward(old_BT)
    return micro.advantage_B[:, None] + guided_BT - charged_BT


def mismatch_weight(micro: Microbatch, config: LossConfig):
    """What trainer and sampler disagree by, as a constant weight of on-policy tokens; 1 elsewhere."""
    log_weight_BT = jnp.where(on_policy_mask(micro), micro.old_logp_BT - micro.sampled_logp_BT, 0.0)
    return objectives.CORRECTIONS[config.correction](log_weight_BT, config)


def on_policy_mask(micro: Microbatch):
    return micro.loss_mask_BT & ~micro.off_policy_B[:, None]


def hinted_mask(micro: Microbatch):
    return micro.loss_mask_BT & micro.off_policy_B[:, None]
