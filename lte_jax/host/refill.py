"""Dynamic sampling (DAPO, arXiv 2503.14476, eq. 11): more problems until the batch is full of groups that have both
right and wrong members.

The problems of a step are then no function of the step: a cursor into the endless order of `problems.take` is saved.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lte_jax.host.diagnose import pass_level
from lte_jax.host.explore import Strategy
from lte_jax.records import Attempt, Group, PassLevel, Retry

Draw = Callable[[int, int, int], list[Group]]  # (problems, attempt, number of the first group) -> groups


class RefillError(RuntimeError):
    """A step's batch could not be filled with groups that have both right and wrong members."""


def has_variance(group: Group) -> bool:
    """Right and wrong members after mixing, by the verdicts."""
    return pass_level(group.members) is PassLevel.SOME


def fill(draw: Draw, wanted: int, max_attempts: int) -> tuple[list[Group], list[Group]]:
    """(all groups drawn, the first `wanted` of them that have variance). Raises RefillError after `max_attempts`."""
    drawn: list[Group] = []
    n = wanted
    for attempt in range(max_attempts):
        drawn += draw(n, attempt, len(drawn))
        kept = [group for group in drawn if has_variance(group)]
        if len(kept) >= wanted:
            return drawn, kept[:wanted]
        n = n_refill(wanted - len(kept), len(kept), len(drawn), wanted)
    raise RefillError(
        f"only {len(kept)} of {len(drawn)} groups have right and wrong members after sample.max_attempts = "
        f"{max_attempts} rounds of problems, wanted problems_per_step = {wanted}; allow more rounds, choose problems "
        "nearer to the model, or another advantage.zero_variance"
    )


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
