"""A curriculum as a user would write it: unequal groups that follow from its memory."""

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from lte_jax.host.curriculum import Curriculum, remember
from lte_jax.host.problems import take
from lte_jax.records import Plan


class Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    most: int = 6


@dataclass(frozen=True)
class Uneven(Curriculum):
    """The first problem always, the others in turn; 1 to `most` rollouts, more the more outcomes were seen."""

    Args = Settings

    def choose(self, n, at, memory):
        taken = [self.problems[0], *take(self.problems, at.seed, at.cursor, n)[1:]]
        n_seen = sum(map(len, memory.get("seen", {}).values()))
        return tuple(Plan(*problem, 1 + (place + n_seen) % self.args.most) for place, problem in enumerate(taken))

    def observe(self, memory, groups):
        return {**remember(memory, groups, 5), "steps": memory.get("steps", 0) + 1}
