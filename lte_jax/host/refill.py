"""Dynamic sampling (DAPO, arXiv 2503.14476, eq. 11): more problems until the batch is full of groups that have both
right and wrong members.

The problems of a step are then no function of the step: a cursor into the endless order of `problems.take` is saved.
"""

import math
from collections.abc import Callable

from lte_jax.host.diagnose import nothing_graded, pass_level
from lte_jax.records import Group, NoVerdictError, PassLevel

Draw = Callable[[int, int], list[Group]]  # (problems, number of the first group in the step) -> groups


class RefillError(RuntimeError):
    """A step's batch could not be filled with groups that have both right and wrong members."""


def has_variance(group: Group) -> bool:
    """Right and wrong members after mixing, by the verdicts."""
    return pass_level(group.members) is PassLevel.SOME


def fill(draw: Draw, wanted: int, max_attempts: int) -> tuple[list[Group], list[Group]]:
    """(all groups drawn, the first `wanted` of them that have variance). Raises RefillError after `max_attempts`,
    NoVerdictError where nothing at all was graded."""
    drawn: list[Group] = []
    n = wanted
    for _ in range(max_attempts):
        drawn += draw(n, len(drawn))
        kept = [group for group in drawn if has_variance(group)]
        if len(kept) >= wanted:
            return drawn, kept[:wanted]
        n = n_refill(wanted - len(kept), len(kept), len(drawn), wanted)
    if reason := nothing_graded(drawn):
        raise NoVerdictError(f"no verdict for any rollout in {max_attempts} rounds of problems: {reason}")
    raise RefillError(
        f"only {len(kept)} of {len(drawn)} groups have right and wrong members after sample.max_attempts = "
        f"{max_attempts} rounds of problems, wanted problems_per_step = {wanted}; allow more rounds, choose problems "
        "nearer to the model, or another advantage.zero_variance"
    )


def n_refill(n_missing: int, n_kept: int, n_drawn: int, most: int) -> int:
    """Problems to draw next: as many as fill the batch at the share kept so far, at most `most`."""
    return min(most, math.ceil(n_missing * n_drawn / n_kept)) if n_kept else most
