"""What a member's verdict is worth: the verifier's number and what length takes off. Pass levels never read this."""

from collections.abc import Callable

from lte_jax.config import Config, OverlongConfig
from lte_jax.records import Rollout


def unshaped(n_tokens: int, response_budget: int, config: OverlongConfig) -> float:
    return 0.0


def soft_punishment(n_tokens: int, response_budget: int, config: OverlongConfig) -> float:
    """min(-(len - (L - buffer)) / buffer * factor, 0) (soft overlong punishment, DAPO, arXiv 2503.14476, eq. 13)."""
    return min(-(n_tokens - (response_budget - config.buffer)) / config.buffer * config.factor, 0.0)


SHAPINGS: dict[str, Callable[[int, int, OverlongConfig], float]] = {"none": unshaped, "soft": soft_punishment}


def shaping(rollout: Rollout, config: Config) -> float:
    """What the response's length adds to its reward."""
    shape = SHAPINGS[config.overlong.shaping]
    return shape(len(rollout.response), config.sample.response_budget, config.overlong)


def shaped_reward(rollout: Rollout, config: Config) -> float:
    """Of a rollout that has a verdict."""
    return rollout.verdict.reward + shaping(rollout, config)
