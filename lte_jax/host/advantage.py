"""Rewards of a group -> advantages of its members. One small function per way to take the baseline."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import replace

from lte_jax.config import AdvantageConfig
from lte_jax.records import Group


def mean_std(rewards: Sequence[float], eps: float) -> list[float]:
    """(R - mean) / (std + eps), unbiased std (GRPO, arXiv 2402.03300)."""
    mean, std = statistics.fmean(rewards), statistics.stdev(rewards)
    return [(reward - mean) / (std + eps) for reward in rewards]


def mean(rewards: Sequence[float], eps: float) -> list[float]:
    """R - mean (Dr.GRPO, arXiv 2503.20783)."""
    centre = statistics.fmean(rewards)
    return [reward - centre for reward in rewards]


def leave_one_out(rewards: Sequence[float], eps: float) -> list[float]:
    """R - mean of the others (RLOO, arXiv 2402.14740)."""
    total, n_others = sum(rewards), len(rewards) - 1
    return [reward - (total - reward) / n_others for reward in rewards]


BASELINES: dict[str, Callable[[Sequence[float], float], list[float]]] = {
    "mean_std": mean_std,
    "mean": mean,
    "leave_one_out": leave_one_out,
}


def with_advantages(group: Group, config: AdvantageConfig) -> Group:
    """The group with one advantage per member: None without a verdict, 0 for all where all rewards are equal."""
    rewards = [rollout.verdict.reward for rollout in group.members if rollout.decided]
    if len(set(rewards)) < 2:
        values = [0.0] * len(rewards)
    else:
        values = BASELINES[config.baseline](rewards, config.eps)
    remaining = iter(values)
    return replace(group, advantages=tuple(next(remaining) if r.decided else None for r in group.members))
