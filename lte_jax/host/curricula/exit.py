"""ExIt (arXiv 2509.04575): single steps of improvement, started at attempts of groups that disagreed most."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from lte_jax.host.curricula.instances import Entry, Instances
from lte_jax.host.curriculum import Position
from lte_jax.method import Method, Source
from lte_jax.records import Group


class ExitArgs(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    share: float = Field(
        0.5, gt=0, le=1, description="of plans that start from an attempt, once there are `least` of them"
    )
    least: int = Field(128, ge=1, description="attempts from which on any is asked to be improved")
    entries: int = Field(512, ge=1, description="attempts that are kept, those of the highest score")
    kappa: float = Field(
        1.0, ge=0, description="an attempt is drawn with a probability in proportion to exp(kappa score)"
    )
    diverge: float = Field(0.2, ge=0, le=1, description="share of starts that ask for another approach")
    attempt_chars: int = Field(2000, ge=64, description="characters of an attempt that are kept, its middle left out")


@dataclass(frozen=True)
class Exit(Instances):
    """With rewards 0 and 1 a start is a failed attempt, its score p (1 - p) of the group that it is from."""

    Args = ExitArgs
    METHOD = Method(
        "attempts of groups that disagreed most are starts of a step of improvement, whose failures are starts again",
        "2509.04575",
        Source.RECONSTRUCTED,
        "instances",
        ours="numbers and rules are those of another implementation, not the authors'; no bonus for divergence",
    )

    def picked(self, memory: dict, at: Position, position: int) -> tuple[str, Entry] | None:
        buffer, rng = memory.get("buffer", []), self.rng(at, position)
        if len(buffer) < self.args.least or rng.random() >= self.args.share:
            return None
        context = "diverge" if rng.random() < self.args.diverge else "improve"
        return context, buffer[rng.choice(len(buffer), p=chances([entry[3] for entry in buffer], self.args.kappa))]

    def observe(self, memory: dict, groups: Sequence[Group]) -> dict:
        """A start gets the score of the group that was drawn from it; that group's failures inherit what it had."""
        buffer = [list(entry) for entry in memory.get("buffer", [])]
        new = []
        for group in groups:
            start = None if self.is_plain(group) else self._start(buffer, group)
            new = [*self.failures(group, variance(group) if start is None else start[3]), *new]
            if start is not None:
                start[3] = variance(group)
        best = sorted([*new, *buffer], key=lambda entry: -entry[3])[: self.args.entries]
        return {**self.remembered(memory, groups), "buffer": best}

    def _start(self, buffer: list[Entry], group: Group) -> Entry | None:
        own = (entry for entry in buffer if entry[0] == group.problem.id)
        return next((e for e in own if group.prompt in (self.prompt("improve", e), self.prompt("diverge", e))), None)


def variance(group: Group) -> float:
    """p (1 - p) of the group's verdicts."""
    decided = [rollout.correct for rollout in group.initial if rollout.decided]
    p = sum(decided) / len(decided) if decided else 0.0
    return p * (1 - p)


def chances(scores: Sequence[float], kappa: float) -> np.ndarray:
    weights = np.exp(kappa * np.array(scores))
    return weights / weights.sum()
