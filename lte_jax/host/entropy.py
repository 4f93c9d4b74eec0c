"""The coefficient of the entropy bonus from step to step. One small function per schedule."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from lte_jax.config import LossConfig
from lte_jax.records import Group


class Coefficient(NamedTuple):
    """`applied` in this step; `kept` is what the next step starts from and what a checkpoint holds."""

    applied: float
    kept: float


def fixed(kept: float, entropy: float, config: LossConfig) -> Coefficient:
    """c (LTE+)."""
    return Coefficient(config.entropy_coef, config.entropy_coef)


def adaptive(kept: float, entropy: float, config: LossConfig) -> Coefficient:
    """c_k where entropy e_k <= target, else 0; c_(k+1) = c_k + step below the target, c_k - step above, in [0, 1]
    (Skywork-OR1, arXiv 2505.22312, section 4.4)."""
    is_below = entropy <= config.entropy_target
    moved = kept + (config.entropy_step if is_below else -config.entropy_step)
    return Coefficient(kept if is_below else 0.0, min(max(moved, 0.0), 1.0))


SCHEDULES: dict[str, Callable[[float, float, LossConfig], Coefficient]] = {"fixed": fixed, "adaptive": adaptive}


def sampled_entropy(groups: Sequence[Group], annealed: bool = False) -> float:
    """Of the policy that a step sampled with, nats per token, without bias: -logp of what the first rounds drew.

    `annealed`: tokens were drawn at temperatures of their own, so each is weighed by the policy's probability over the
    one that it was drawn with (a weighted mean). What was too unlikely to be drawn at all stays missing.
    """
    rollouts = [rollout for group in groups for rollout in group.initial]
    behaviour = np.concatenate([np.float64(r.response.behaviour_logp[r.n_given :]) for r in rollouts])
    if not annealed:
        return -float(behaviour.mean())
    sampled = np.concatenate([np.float64(r.response.sampled_logp[r.n_given :]) for r in rollouts])
    return -float(np.average(behaviour, weights=np.exp(behaviour - sampled)))
