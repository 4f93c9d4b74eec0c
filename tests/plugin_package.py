"""A package of a user's own, written outside of the repository: a strategy, a label, a credit with a feature, a
curriculum, a regulariser, and an objective with a metric."""

from pathlib import Path

SOURCE = '''
from dataclasses import dataclass, replace

import jax.numpy as jnp
from pydantic import BaseModel, ConfigDict

from lte_jax.device.features import Feature
from lte_jax.device.objectives import Objective
from lte_jax.device.regularisers import Regulariser
from lte_jax.host.credit import Credit
from lte_jax.host.curriculum import Curriculum, remember
from lte_jax.host.explore import Strategy, mix
from lte_jax.host.labels import Label
from lte_jax.metric import Metric
from lte_jax.host.problems import take
from lte_jax.records import FailureMode, Given, Group, Kind, Lesson, Origin, Part, PassLevel, Plan, Purpose, Retry, Status
from lte_jax.host.diagnose import pass_level


class Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    n: int = 2


@dataclass(frozen=True)
class Again(Strategy):
    """For every none-pass group a note, then in one round its first failure continued from the middle, and `n` - 1 more
    from the plain prompt; its problem's answer becomes a lesson; counts steps; a lesson alone ends each."""

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

    def supervised(self, memory, step):
        """The first problem's answer again, in every step."""
        if memory["steps"] != step + 1:
            raise ValueError(f"wanted the memory after step {step}, got {memory}")
        problem = next(iter(self.tools.problems.values()))
        prompt = self.tools.prompts.plain(problem)
        lesson = Lesson(prompt, self.tools.prompts.response(problem.answer), weight=0.1)
        return (Group(problem, prompt, step, 0, initial=(), members=(), lessons=(lesson,)),)


@dataclass(frozen=True)
class Lone(Label):
    """Of several right rollouts of a round only the shortest counts."""

    def label(self, group, rollouts):
        right = [(len(rollout.response), place) for place, rollout in enumerate(rollouts) if rollout.correct]
        if len(right) < 2:
            return rollouts
        kept = self.decisions.decide(group, f"kept, round {rollouts[0].round}", lambda: min(right)[1])
        return tuple(
            replace(each, verdict=replace(each.verdict, correct=False, status=Status.DIFFERENT), verified=each.verdict)
            if each.correct and place != kept
            else each
            for place, each in enumerate(rollouts)
        )


LIKELY = Feature(lambda seen, args: args.n * seen.logp_BT, per_token=True, args=Settings)


class Share(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    first: float = 0.5


@dataclass(frozen=True)
class Late(Credit):
    """A share of the advantage for the first two tokens, where the first was no surprise; remembers how many groups and
    tokens it has seen."""

    Args = Share
    features = ("someones_methods:LIKELY",)

    def advantages(self, group, values, memory):
        return [self._of(value, *found.values()) for value, found in zip(values, group.features, strict=True)]

    def _of(self, value, likely_T=()):
        return value and ((0, value * (self.args.first if likely_T[0] > -1 else 1.0)), (2, value))

    def observe(self, memory, groups):
        found = [likely_T for group in groups for features in group.features for likely_T in features.values()]
        n_tokens = memory.get("tokens", 0) + sum(map(len, found))
        return {"groups": memory.get("groups", 0) + len(groups), "tokens": n_tokens}


@dataclass(frozen=True)
class Uneven(Curriculum):
    """2 to 4 rollouts, by what was seen of the problems before."""

    def choose(self, n, at, memory):
        n_seen = sum(map(len, memory.get("seen", {}).values()))
        taken = take(self.problems, at.seed, at.cursor, n)
        return [Plan(*problem, 2 + (place + n_seen) % 3) for place, problem in enumerate(taken)]

    def observe(self, memory, groups):
        return {**remember(memory, groups, 8), "steps": memory.get("steps", 0) + 1}


def _kept_near(tokens, scalars):
    gap_BT = tokens.logp_BT - tokens.targets["old"]
    return scalars["weight"] * tokens.args.n * gap_BT**2, {"near/gap": jnp.abs(gap_BT)}


NEAR = Regulariser(
    _kept_near,
    metrics=(Metric("near/gap", "mean", "Gap", "nats per token"),),
    args=Settings,
    targets=lambda seen, args: {"old": seen.logp_BT},
    scalars=lambda before, args: {"weight": before.memory.get("weight", 0.1)},
    observe=lambda memory, row, args: {"weight": memory.get("weight", 0.1) + row.get("near/gap", 0.0)},
)


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
    "explore.labels=someones_methods:Lone",
    "advantage.feature_args={'someones_methods:LIKELY': {n: 3}}",
    "loss.regularisers=['someones_methods:NEAR']",
    "loss.regulariser_args={'someones_methods:NEAR': {n: 5}}",
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
