"""Dynamic sampling (DAPO, arXiv 2503.14476, eq. 11): more problems until the batch is full of groups that have both
right and wrong members.

The problems of a step are then no function of the step: a cursor into the endless order of `problems.take` is saved.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from lte_jax.host.diagnose import pass_level
from lte_jax.host.explore import Strategy
from lte_jax.records import Attempt, Group, PassLevel, Retry


class RefillError(RuntimeError):
    """A step's batch could not be filled with groups that have both right and wrong members."""


def has_variance(group: Group) -> bool:
    """Right and wrong members after mixing, by the verdicts."""
    return pass_level(group.members) is PassLevel.SOME


def n_refill(n_missing: int, n_kept: int, n_drawn: int, most: int) -> int:
    """Problems to draw next: as many as fill the batch at the share kept so far, at most `most`."""
    return min(most, math.ceil(n_missing * n_drawn / n_kept)) if n_kept else most


def attempt_seed(seed: int, attempt: int) -> int:
    """Of the random keys of one attempt: the run's own at first, then others, since each numbers its groups from 0."""
    return seed if attempt == 0 else int(np.random.SeedSequence([seed, attempt, *b"refill"]).generate_state(1)[0])


@dataclass(frozen=True)
class Numbered:
    """A strategy that sees groups numbered from `first`, where the attempts before ended: what it draws and records
    goes by a group's number in its step."""

    strategy: Strategy
    first: int

    def numbered(self, group: Group) -> Group:
        return replace(group, index=self.first + group.index)

    def retry(self, group: Group, memory: dict) -> Retry | None:
        return self.strategy.retry(self.numbered(group), memory)

    def merge(self, group: Group, attempt: Attempt) -> Group:
        return replace(self.strategy.merge(self.numbered(group), attempt), index=group.index)

    def observe(self, memory: dict, groups: Sequence[Group]) -> dict:
        return self.strategy.observe(memory, groups)
