"""What a micro-batch shows, by metric: (sum of values or their largest, number of tokens), joined over an update."""

import jax
import jax.numpy as jnp

from lte_jax.config import LossConfig
from lte_jax.device import loss, objectives, regularisers
from lte_jax.device.arrays import Microbatch
from lte_jax.metric import Metric, by_name

METRICS = by_name(
    Metric("ratio/on_policy_mean"),
    Metric("ratio/hinted_mean"),
    Metric("ratio/hinted_shaped_mean"),  # f(r')
    Metric("ratio/outside_frac"),  # on-policy tokens whose ratio lies outside the clip range
    Metric("ratio/clipped_frac"),  # on-policy tokens whose gradient the clip removed
    Metric("ratio/dual_clipped_frac"),  # on-policy tokens with A < 0 and a ratio above c, whether the clip acts or not
    Metric("policy/entropy"),  # nats, over on-policy and off-policy tokens
    Metric("update/hinted_push_frac"),  # of the sum of |d objective / d logp| over these
    Metric("policy/kl"),  # nats, by the configured estimator
    Metric("correction/weight_mean"),
    Metric("correction/rejected_frac"),  # tokens of mismatch weight 0
    Metric("mismatch/mean_abs"),  # |trainer logp - sampler logp| over on-policy tokens
    Metric("mismatch/token_error"),  # exp(|trainer logp - sampler logp|) - 1
    Metric("ratio/on_policy_max", "max"),
    Metric("ratio/hinted_max", "max"),
    Metric("ratio/hinted_shaped_max", "max"),
    Metric("correction/weight_max", "max"),
    Metric("mismatch/max_abs", "max"),
    Metric("update/objective", "sum"),  # the maximised sum, KL in the loss and entropy bonus apart
    Metric("update/trained_tokens", "count"),  # on-policy and off-policy
    Metric("supervised/tokens", "count", "Supervised tokens", "tokens per step"),
    Metric("supervised/neg_logp", "mean", "Supervised tokens, negative log-prob", "nats per token"),
)


def metrics_of(config: LossConfig) -> dict[str, Metric]:
    """Every metric that an update with these settings shows, those of its objectives and regularisers among them."""
    return by_name(*METRICS.values(), *objectives.declared(config), *regularisers.declared(config))


def empty(config: LossConfig) -> dict:
    """The tally of no micro-batch."""
    return {name: (jnp.zeros((), jnp.float32),) * 2 for name in metrics_of(config)}


def joined(before: dict, after: dict, config: LossConfig) -> dict:
    """The tally of both."""
    metrics = metrics_of(config)
    return {
        name: ((jnp.maximum if metrics[name].how == "max" else jnp.add)(value, after[name][0]), n + after[name][1])
        for name, (value, n) in before.items()
    }


def tally(logp_BT, entropy_BT, objective_BT, shown: dict, micro: Microbatch, config: LossConfig) -> dict:
    """Of one micro-batch under the current weights, from its log-probs, entropies and objective. `shown`: what
    objectives and regularisers themselves show, (value, whether it counts) of each token by metric."""
    is_on, is_off, is_supervised = micro.on_policy_BT, micro.off_policy_BT, micro.supervised_BT
    log_on_BT, log_off_BT = loss.log_ratios(logp_BT, micro, config)
    ratio_on_BT, ratio_off_BT = jnp.exp(log_on_BT), jnp.exp(log_off_BT)
    shaped_BT = objectives.shaped_ratio(log_off_BT, config.gamma)
    advantage_BT, weight_BT = loss.token_advantage(entropy_BT, micro, config), loss.mismatch_weight(micro, config)
    push_BT = jnp.abs(jax.grad(lambda x: loss.mixed_objective(x, entropy_BT, micro, config)[0].sum())(logp_BT))
    could_push_BT = is_on & (advantage_BT * weight_BT * micro.weight_BT != 0)
    trainer_logp_BT = micro.old_logp_BT if config.old_logp == "trainer" else logp_BT
    mismatch_BT = jnp.abs(jnp.where(is_on, trainer_logp_BT - micro.behaviour_logp_BT, 0.0))
    kl_BT = jnp.where(is_on, logp_BT - micro.reference_logp_BT, 0.0)
    kl_BT = objectives.KLS[config.kl].in_reward(kl_BT) + objectives.KLS[config.kl].in_loss(kl_BT)
    is_outside = ratio_on_BT != objectives.clipped_ratio(ratio_on_BT, config)

    def total(values_BT, mask_BT):
        return jnp.where(mask_BT, values_BT, 0.0).sum()

    def largest(values_BT, mask_BT):
        return jnp.where(mask_BT, values_BT, 0.0).max()

    def count(mask_BT):
        return mask_BT.sum(dtype=jnp.float32)

    n_on, n_off, n_supervised = count(is_on), count(is_off), count(is_supervised)
    n_kl, n_corrected = count(is_on & (config.kl != "none")), count(is_on & (config.correction != "none"))
    push_on, push_off = total(push_BT, is_on), total(push_BT, is_off)
    how = metrics_of(config)
    own = {
        name: ((largest if how[name].how == "max" else total)(value_BT, mask_BT), count(mask_BT))
        for name, (value_BT, mask_BT) in shown.items()
    }
    return {
        "ratio/on_policy_mean": (total(ratio_on_BT, is_on), n_on),
        "ratio/hinted_mean": (total(ratio_off_BT, is_off), n_off),
        "ratio/hinted_shaped_mean": (total(shaped_BT, is_off), n_off),
        "ratio/outside_frac": (count(is_on & is_outside), n_on),
        "ratio/clipped_frac": (count(could_push_BT & (push_BT == 0)), n_on),
        "ratio/dual_clipped_frac": (count(is_on & (advantage_BT < 0) & (ratio_on_BT > config.dual_clip_c)), n_on),
        "policy/entropy": (total(entropy_BT, is_on | is_off), n_on + n_off),
        "update/hinted_push_frac": (push_off, push_on + push_off),
        "policy/kl": (kl_BT.sum(), n_kl),
        "correction/weight_mean": (total(weight_BT, is_on), n_corrected),
        "correction/rejected_frac": (count(is_on & (weight_BT == 0)), n_corrected),
        "mismatch/mean_abs": (mismatch_BT.sum(), n_on),
        "mismatch/token_error": (jnp.expm1(mismatch_BT).sum(), n_on),
        "ratio/on_policy_max": (largest(ratio_on_BT, is_on), n_on),
        "ratio/hinted_max": (largest(ratio_off_BT, is_off), n_off),
        "ratio/hinted_shaped_max": (largest(shaped_BT, is_off), n_off),
        "correction/weight_max": (largest(weight_BT, is_on), n_corrected),
        "mismatch/max_abs": (mismatch_BT.max(), n_on),
        "update/objective": (objective_BT.sum(), n_on + n_off + n_supervised),
        "update/trained_tokens": (n_on + n_off, n_on + n_off + n_supervised),
        "supervised/tokens": (n_supervised, n_supervised),
        "supervised/neg_logp": (total(-logp_BT, is_supervised), n_supervised),
        **own,
    }
