"""The mixed-policy objective of LTE (arXiv 2510.26109): what each token of a micro-batch adds to the maximised sum.

Pure functions of arrays; all masks come from boundary.pack, all choices from objectives.py. Nothing here takes a mean:
a token's weight was fixed on the host, over the whole update (normalisers.py).
"""

from collections.abc import Mapping

import jax.numpy as jnp

from lte_jax.config import LossConfig
from lte_jax.device import objectives, regularisers
from lte_jax.device.arrays import Microbatch


def mixed_objective(logp_BT, entropy_BT, micro: Microbatch, config: LossConfig):
    """(w_t CLIP(r, A) / Z on on-policy tokens, f(r') A / Z' on off-policy ones, a log pi / Z_s on supervised ones and 0
    where a token is not trained; what the objectives show: {metric: (value_BT, whether the token counts)})."""
    on_BT, off_BT = log_ratios(logp_BT, micro, config)
    advantage_BT, shown = token_advantage(entropy_BT, micro, config), {}

    def objective(kind: str, log_ratio_BT, mask_BT):
        chosen, args = objectives.chosen(config, kind)
        own_BT = jnp.where(mask_BT, logp_BT, 0.0)
        tokens = objectives.TokenInputs(log_ratio_BT, advantage_BT, own_BT, entropy_BT, mask_BT, args)
        value_BT, metrics = chosen.value(tokens, config)
        shown.update({name: (metric_BT, mask_BT) for name, metric_BT in metrics.items()})
        return value_BT

    is_off, is_supervised = micro.off_policy_BT, micro.supervised_BT
    on_BT = objective("on_policy", on_BT, micro.on_policy_BT)
    off_BT = objective("hinted", off_BT, is_off)
    supervised_BT = objective("supervised", jnp.zeros_like(logp_BT), is_supervised)
    mixed_BT = jnp.where(is_off, config.hinted_weight * off_BT, mismatch_weight(micro, config) * on_BT)
    mixed_BT = jnp.where(is_supervised, config.supervised_weight * supervised_BT, mixed_BT)
    return jnp.where(micro.trained_BT, mixed_BT, 0.0) * micro.weight_BT, shown


def regularisation(logp_BT, entropy_BT, micro: Microbatch, scalars: Mapping, config: LossConfig):
    """(what the regularisers add to the minimised sum; what they show, as in `mixed_objective`)."""
    total_BT, shown = jnp.zeros_like(logp_BT), {}
    advantage_BT = token_advantage(entropy_BT, micro, config)
    masks = {"on_policy": micro.on_policy_BT, "off_policy": micro.off_policy_BT, "supervised": micro.supervised_BT}
    for name, regulariser, args in regularisers.chosen(config):
        mask_BT = masks[regulariser.rows]
        own_BT, own_entropy_BT = (jnp.where(mask_BT, value_BT, 0.0) for value_BT in (logp_BT, entropy_BT))
        tokens = objectives.TokenInputs(
            log_ratio_BT=jnp.where(mask_BT & ~micro.supervised_BT, logp_BT - micro.old_logp_BT, 0.0),
            advantage_BT=advantage_BT,
            logp_BT=own_BT,
            entropy_BT=own_entropy_BT,
            mask_BT=mask_BT,
            args=args,
            recorded_logp_BT=micro.behaviour_logp_BT,
            targets=micro.targets.get(name, {}),
        )
        value_BT, metrics = regulariser.term(tokens, scalars.get(name, {}))
        total_BT += jnp.where(mask_BT, value_BT, 0.0)
        shown.update({metric: (metric_BT, mask_BT) for metric, metric_BT in metrics.items()})
    return total_BT * micro.weight_BT, shown


def kl_penalty(logp_BT, micro: Microbatch, config: LossConfig):
    """beta KL(pi || reference) / Z of on-policy tokens, where the estimator belongs in the loss; to be subtracted."""
    log_ratio_BT = jnp.where(micro.on_policy_BT, logp_BT - micro.reference_logp_BT, 0.0)
    return config.kl_coef * objectives.KLS[config.kl].in_loss(log_ratio_BT) * micro.weight_BT


def log_ratios(logp_BT, micro: Microbatch, config: LossConfig):
    """(on-policy, hinted) log-ratios, each 0 outside its own trained tokens, so that no exp sees a masked entry."""
    is_on_BT, is_off_BT = micro.on_policy_BT, micro.off_policy_BT
    on_BT = objectives.RATIOS[config.ratio](jnp.where(is_on_BT, logp_BT - micro.old_logp_BT, 0.0), is_on_BT)
    denominators = {"recorded": micro.old_logp_BT, "sampled": micro.sampled_logp_BT, "one": 0.0}
    return on_BT, jnp.where(is_off_BT, logp_BT - denominators[config.hinted_denominator], 0.0)


def token_advantage(entropy_BT, micro: Microbatch, config: LossConfig):
    """The row's advantage, plus what differs by token: entropy in groups without variance, and a KL in the reward."""
    guided_BT = objectives.entropy_advantage(entropy_BT, micro.entropy_scale_B, micro.drawn_BT)
    old_BT = jnp.where(micro.on_policy_BT, micro.old_logp_BT - micro.reference_logp_BT, 0.0)
    charged_BT = config.kl_coef * objectives.KLS[config.kl].in_reward(old_BT)
    return micro.advantage_BT + guided_BT - charged_BT


def mismatch_weight(micro: Microbatch, config: LossConfig):
    """What trainer and sampler disagree by, as a constant weight of on-policy tokens; 1 elsewhere."""
    log_weight_BT = jnp.where(micro.on_policy_BT, micro.old_logp_BT - micro.sampled_logp_BT, 0.0)
    return objectives.CORRECTIONS[config.correction](log_weight_BT, config)
