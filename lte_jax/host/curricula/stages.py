"""ADCL (arXiv 2505.08364): from easy to hard in stages, what is hard being measured again before each stage."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from lte_jax.host.curriculum import Curriculum, Position, estimate, outcomes, remember, taken_before
from lte_jax.host.problems import take
from lte_jax.method import Method, Source
from lte_jax.records import Group, Plan

UNSEEN_RATE = 0.5


class StagesArgs(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    stages: int = Field(4, ge=1, description="parts of equal size that the problems are cut into")
    strength: float = Field(4.0, gt=0, description="outcomes that a pass rate of one half counts as")
    window: int = Field(16, ge=1, description="newest outcomes of a problem that are counted")


@dataclass(frozen=True)
class Stages(Curriculum):
    """The first epoch is shuffled and measures. Then the problems are cut into stages, once; every later epoch goes
    through them, each sorted anew as it is entered. Its order is kept until it is over.

    Memory: `taken`, the plans so far; `cut`, places of problems from easy to hard; `order`, [epoch, stage, places].
    """

    Args = StagesArgs
    METHOD = Method(
        "from easy to hard in stages; each is sorted anew, by what was seen since, as it is entered",
        "2505.08364",
        Source.RECONSTRUCTED,
        "curricula",
        ours="4 stages; the first epoch is shuffled and gives the estimates, so that none costs rollouts",
    )

    def choose(self, n: int, at: Position, memory: dict) -> tuple[Plan, ...]:
        plans, orders, size = [], {}, self.config.sample.group_size
        for position, (problem, prompt) in enumerate(take(self.problems, at.seed, at.cursor, n), start=at.cursor):
            epoch, place = divmod(position, len(self.problems))
            if epoch:
                stage, inside = self._stage(place)
                if (epoch, stage) not in orders:
                    orders[epoch, stage] = self._order(memory, at.seed, epoch, stage)
                problem, prompt = self.problems[orders[epoch, stage][inside]]
            plans.append(Plan(problem, prompt, size, outcomes(memory, problem.id)))
        return tuple(plans)

    def observe(self, memory: dict, groups: Sequence[Group]) -> dict:
        """A stage that the next step begins inside of keeps the order that it was entered with."""
        taken = taken_before(memory, groups, self.config) + len(groups)
        kept = max(self.args.window, self.config.curriculum.history)
        new = {**remember(memory, groups, kept), "taken": taken}
        epoch, place = divmod(taken, len(self.problems))
        if epoch == 0:
            return new
        stage, inside = self._stage(place)
        new["cut"] = self._cut(new if (epoch, place) == (1, 0) else memory, self.config.seed)
        return {**new, "order": [epoch, stage, self._order(memory if inside else new, self.config.seed, epoch, stage)]}

    def _bounds(self) -> list[int]:
        n, stages = len(self.problems), min(self.args.stages, len(self.problems))
        return [n * stage // stages for stage in range(stages + 1)]

    def _stage(self, place: int) -> tuple[int, int]:
        """(stage, place in it) of a place in an epoch."""
        bounds = self._bounds()
        stage = next(stage for stage, end in enumerate(bounds[1:]) if place < end)
        return stage, place - bounds[stage]

    def _order(self, memory: dict, seed: int, epoch: int, stage: int) -> list[int]:
        """Places of a stage's problems in the order in which they are taken."""
        saved = memory.get("order", [0, 0, []])
        if saved[:2] == [epoch, stage]:
            return saved[2]
        bounds = self._bounds()
        return self._sorted(memory, self._cut(memory, seed)[bounds[stage] : bounds[stage + 1]], [seed, epoch, stage])

    def _cut(self, memory: dict, seed: int) -> list[int]:
        return memory.get("cut") or self._sorted(memory, range(len(self.problems)), [seed])

    def _sorted(self, memory: dict, places: Sequence[int], key: list[int]) -> list[int]:
        """From easy to hard; among equals, in an order drawn from the key."""
        drawn = np.random.default_rng([*key, *b"stages"]).permutation(len(places))
        seen = [outcomes(memory, self.problems[place][0].id)[-self.args.window :] for place in places]
        rates = [estimate(bits, UNSEEN_RATE, self.args.strength) for bits in seen]
        ranked = sorted(range(len(places)), key=lambda i: (-rates[i], drawn[i]))
        return [places[i] for i in ranked]
