"""A package of a user's own, written outside of the repository: a strategy, a credit, a curriculum and an objective with a
metric."""

from pathlib import Path

SOURCE = '''
from dataclasses import dataclass, replace

import jax.numpy as jnp
from pydantic import BaseModel, ConfigDict

from lte_jax.device.objectives import Objective
from lte_jax.host.credit import Credit
from lte_jax.host.curriculum import Curriculum, remember
from lte_jax.host.explore import Strategy, mix
from lte_jax.metric import Metric
from lte_jax.host.problems import take
from lte_jax.records import FailureMode, Given, Kind, Lesson, Origin, Part, PassLevel, Plan, Purpose, Retry
from lte_jax.host.diagnose import pass_level


class Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    n: int = 2


@dataclass(frozen=True)
class Again(Strategy):
    """For every none-pass group a note, then in one round its first failure continued from the middle, and `n` - 1 more
    from the plain prompt; its problem's answer becomes a lesson; counts steps."""

    Args = Settings
    forks = True

    def first(self, plan, memory):
        """As many as planned, the last of them behind a given beginning, in every second step."""
        if memory.get("steps", 0) % 2 == 0:
            return super().first(plan, memory)
        given = Given.written(self.tools.prompts.response("3")[:1], Kind.UNTRAINED)
        return Part(plan.prompt, plan.n - 1), Part(plan.prompt, 1, given)

    def retry(self, group, memory):
        if group.retries or pass_level(group.initial) is not PassLevel.NONE:
            return None
        if not group.notes:
            return Retry((Part(group.prompt, 1),), Origin.EXTRA, None, purpose=Purpose.NOTE)
        n = self.tools.decisions.decide(group, "n", lambda: self.tools.args.n)
        failure = group.initial[0]
        fork = Part(group.prompt, 1, failure.beginning(len(failure.response) // 2))
        return Retry((fork, Part(group.prompt, n - 1)), Origin.EXTRA, FailureMode.NO_ANSWER)

    def merge(self, group, attempt):
        lesson = Lesson(group.prompt, self.tools.prompts.response(group.problem.answer), weight=0.1)
        return replace(mix(group, attempt, self.config), lessons=(lesson,))

    def observe(self, memory, groups):
        return {"steps": memory.get("steps", 0) + 1}


class Share(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    first: float = 0.5


@dataclass(frozen=True)
class Late(Credit):
    """A share of the advantage for the first two tokens; remembers the groups that it has seen."""

    Args = Share

    def advantages(self, group, values, memory):
        return [value and ((0, value * self.args.first), (2, value)) for value in values]

    def observe(self, memory, groups):
        return {"groups": memory.get("groups", 0) + len(groups)}


@dataclass(frozen=True)
class Uneven(Curriculum):
    """2 to 4 rollouts, by what was seen of the problems before."""

    def choose(self, n, at, memory):
        n_seen = sum(map(len, memory.get("seen", {}).values()))
        taken = take(self.problems, at.seed, at.cursor, n)
        return [Plan(*problem, 2 + (place + n_seen) % 3) for place, problem in enumerate(taken)]

    def observe(self, memory, groups):
        return {**remember(memory, groups, 8), "steps": memory.get("steps", 0) + 1}


def _squared(tokens, config):
    ratio = jnp.exp(tokens.log_ratio_BT)
    penalty = jnp.abs(tokens.advantage_BT) * (ratio - 1) ** 2
    return ratio * tokens.advantage_BT - tokens.args.n * penalty, {"squared/penalty": penalty, "squared/penalty_max": penalty}


SQUARED = Objective(
    _squared,
    (Metric("squared/penalty", "mean", "Penalty", "per token"), Metric("squared/penalty_max", "max", "Penalty", "per token")),
    Settings,
)
'''
OVERRIDES = [
    "explore.strategy=someones_methods:Again",
    "explore.args={n: 3}",
    "curriculum.name=someones_methods:Uneven",
    "advantage.credits=['someones_methods:Late']",
    "advantage.args={'someones_methods:Late': {first: 0.25}}",
    "loss.on_policy_objective=someones_methods:SQUARED",
    "loss.on_policy_args={n: 4}",
]


def write(folder: Path) -> str:
    """Writes the package; returns what PYTHONPATH is to be."""
    (folder / "someones_methods").mkdir(parents=True)
    (folder / "someones_methods" / "__init__.py").write_text(SOURCE)
    return str(folder)
