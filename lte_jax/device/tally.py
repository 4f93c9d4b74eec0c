"""What a micro-batch shows: sums, counts and maxima from which boundary.tally_metrics makes a step's metrics."""

import jax
import jax.numpy as jnp

from lte_jax.config import LossConfig
from lte_jax.device import loss, objectives
from lte_jax.device.arrays import Microbatch, Tally


def tally(logp_BT, entropy_BT, objective_BT, micro: Microbatch, config: LossConfig) -> Tally:
    """Of one micro-batch under the current weights, from its log-probs, entropies and objective."""
    is_on, is_off = loss.on_policy_mask(micro), loss.hinted_mask(micro)
    log_on_BT, log_off_BT = loss.log_ratios(logp_BT, micro, config)
    ratio_on_BT, ratio_off_BT = jnp.exp(log_on_BT), jnp.exp(log_off_BT)
    shaped_BT = objectives.shaped_ratio(log_off_BT, config.gamma)
    advantage_BT, weight_BT = loss.token_advantage(entropy_BT, micro, config), loss.mismatch_weight(micro, config)
    push_BT = jnp.abs(jax.grad(lambda x: loss.mixed_objective(x, entropy_BT, micro, config).sum())(logp_BT))
    could_push_BT = is_on & (advantage_BT * weight_BT * micro.token_weight_B[:, None] != 0)
    trainer_logp_BT = micro.old_logp_BT if config.old_logp == "trainer" else logp_BT
    mismatch_BT = jnp.abs(jnp.where(is_on, trainer_logp_BT - micro.behaviour_logp_BT, 0.0))
    kl_BT = jnp.where(is_on, logp_BT - micro.reference_logp_BT, 0.0)
    is_outside = ratio_on_BT != objectives.clipped_ratio(ratio_on_BT, config)

    def total(values_BT, mask_BT):
        return jnp.where(mask_BT, values_BT, 0.0).sum()

    def largest(values_BT, mask_BT):
        return jnp.where(mask_BT, values_BT, 0.0).max()

    def count(mask_BT):
        return mask_BT.sum(dtype=jnp.float32)

    return Tally(
        n_on=count(is_on),
        n_off=count(is_off),
        n_kl=count(is_on & (config.kl != "none")),
        n_corrected=count(is_on & (config.correction != "none")),
        objective=objective_BT.sum(),
        entropy=total(entropy_BT, micro.loss_mask_BT),
        ratio_on=total(ratio_on_BT, is_on),
        ratio_on_max=largest(ratio_on_BT, is_on),
        ratio_off=total(ratio_off_BT, is_off),
        ratio_off_max=largest(ratio_off_BT, is_off),
        shaped_off=total(shaped_BT, is_off),
        shaped_off_max=largest(shaped_BT, is_off),
        outside=count(is_on & is_outside),
        clipped=count(could_push_BT & (push_BT == 0)),
        dual_clipped=count(is_on & (advantage_BT < 0) & (ratio_on_BT > config.dual_clip_c)),
        push_on=total(push_BT, is_on),
        push_off=total(push_BT, is_off),
        kl=(objectives.KLS[config.kl].in_reward(kl_BT) + objectives.KLS[config.kl].in_loss(kl_BT)).sum(),
        correction=total(weight_BT, is_on),
        correction_max=largest(weight_BT, is_on),
        rejected=count(is_on & (weight_BT == 0)),
        mismatch=mismatch_BT.sum(),
        mismatch_max=mismatch_BT.max(),
        token_error=jnp.expm1(mismatch_BT).sum(),
    )
