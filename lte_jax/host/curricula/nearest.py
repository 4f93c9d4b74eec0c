"""PCL's rule (arXiv 2510.01135): of more candidates, those whose pass rate is nearest to one half."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from lte_jax.host.curriculum import Curriculum, Position, estimate, outcomes, remember
from lte_jax.host.problems import take
from lte_jax.method import Method, Source
from lte_jax.records import Group, Plan


class NearestArgs(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    candidates: int = Field(4, ge=1, description="candidates for each problem that is taken")
    target: float = Field(0.5, ge=0, le=1, description="pass rate that is aimed at")
    strength: float = Field(4.0, gt=0, description="outcomes that the pass rate of unseen problems counts as")
    window: int = Field(16, ge=1, description="newest outcomes of a problem that are counted")


@dataclass(frozen=True)
class Nearest(Curriculum):
    """G rollouts for those of the next candidates of the endless order whose estimated pass rate is nearest."""

    Args = NearestArgs
    METHOD = Method(
        "of more candidates, the problems whose pass rate is nearest to one half",
        "2510.01135",
        Source.RECONSTRUCTED,
        "curricula",
        ours="the pass rate is estimated from the run's own outcomes, where the paper trains a value network",
    )

    def choose(self, n: int, at: Position, memory: dict) -> tuple[Plan, ...]:
        """A problem comes twice only where there are fewer than n."""
        k = self.args.candidates
        seen: dict[str, int] = {}
        ranked = []
        for place, (problem, prompt) in enumerate(take(self.problems, at.seed, k * at.cursor, k * n)):
            seen[problem.id] = seen.get(problem.id, 0) + 1
            distance = abs(self._rate(memory, problem.id) - self.args.target)
            tie = np.random.default_rng([at.seed, at.step, *problem.id.encode()]).random()
            ranked.append((seen[problem.id], distance, tie, place, problem, prompt))
        ranked.sort(key=lambda entry: entry[:4])
        size = self.config.sample.group_size
        return tuple(Plan(problem, prompt, size, outcomes(memory, problem.id)) for *_, problem, prompt in ranked[:n])

    def observe(self, memory: dict, groups: Sequence[Group]) -> dict:
        """First visits give the rate that unseen problems are taken to have."""
        right, tried = memory.get("first", (0, 0))
        for group in groups:
            if not outcomes(memory, group.problem.id):
                decided = [rollout.correct for rollout in group.initial if rollout.decided]
                right, tried = right + sum(decided), tried + len(decided)
        kept = max(self.args.window, self.config.curriculum.history)
        return {**remember(memory, groups, kept), "first": [right, tried]}

    def _rate(self, memory: dict, problem_id: str) -> float:
        right, tried = memory.get("first", (0, 0))
        prior = right / tried if tried else self.args.target
        return estimate(outcomes(memory, problem_id)[-self.args.window :], prior, self.args.strength)
