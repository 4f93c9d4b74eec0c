"""Rewards of a group -> advantages of its members. One small function per way to take the baseline."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from lte_jax.config import Config
from lte_jax.host.credits import Credits
from lte_jax.host.diagnose import pass_level
from lte_jax.host.shaping import shaped_reward
from lte_jax.records import Group, PassLevel


def mean_std(rewards: Sequence[float], eps: float) -> list[float]:
    """(R - mean) / (std + eps), unbiased std (GRPO, arXiv 2402.03300). One reward alone has no variance: 0."""
    if len(rewards) < 2:
        return [0.0] * len(rewards)
    mean, std = statistics.fmean(rewards), statistics.stdev(rewards)
    return [(reward - mean) / (std + eps) for reward in rewards]


def mean(rewards: Sequence[float], eps: float) -> list[float]:
    """R - mean (Dr.GRPO, arXiv 2503.20783)."""
    centre = statistics.fmean(rewards)
    return [reward - centre for reward in rewards]


def leave_one_out(rewards: Sequence[float], eps: float) -> list[float]:
    """R - mean of the others (RLOO, arXiv 2402.14740); 0 where there is no other."""
    if len(rewards) < 2:
        return [0.0] * len(rewards)
    total, n_others = sum(rewards), len(rewards) - 1
    return [reward - (total - reward) / n_others for reward in rewards]


BASELINES: dict[str, Callable[[Sequence[float], float], list[float]]] = {
    "mean_std": mean_std,
    "mean": mean,
    "leave_one_out": leave_one_out,
}


def with_advantages(
    group: Group, config: Config, credits_: Credits = MappingProxyType({}), memory: Mapping = MappingProxyType({})
) -> Group:
    """The group with one advantage per member, 0 for all where all rewards are equal; then token entropy may make the
    advantage instead, and credits change it. None without a verdict, and for truncated members where `overlong.filter`
    leaves them out. `memory`: of the credits, by name.
    """
    rewards = [shaped_reward(rollout, config) for rollout in group.members if rollout.decided]
    for name, credit in credits_.items():
        rewards = credit.rewards(group, rewards, memory.get(name, {}))
    has_variance = len(set(rewards)) > 1
    baseline = BASELINES[config.advantage.baseline]
    values = iter(baseline(rewards, config.advantage.eps) if has_variance else [0.0] * len(rewards))
    advantages = [next(values) if rollout.decided else None for rollout in group.members]
    if config.overlong.filter:
        advantages = [None if r.response.truncated else a for r, a in zip(group.members, advantages, strict=True)]
    for name, credit in credits_.items():
        advantages = credit.advantages(group, advantages, memory.get(name, {}))
    scale = 0.0 if has_variance else ENTROPY_SIGN.get(pass_level(group.members), 0.0) * _entropy_scale(config)
    return replace(group, advantages=tuple(advantages), entropy_scale=scale)


ENTROPY_SIGN = {PassLevel.ALL: 1.0, PassLevel.NONE: -1.0}


def _entropy_scale(config: Config) -> float:
    return config.advantage.entropy_scale if config.advantage.zero_variance == "entropy" else 0.0
