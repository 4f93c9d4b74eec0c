"""Labels: verdicts that need the whole group, in place of the verifier's, before the strategy sees them.

A label is a frozen record, a subclass of `Label`, here or in a module of the user's own (`explore.labels=module:Name`).
What the verifier said stays beside it (`Rollout.verified`).
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from lte_jax.config import Config, ConfigError
from lte_jax.host.decisions import Decisions
from lte_jax.host.diagnose import SameAnswer
from lte_jax.host.strategies import STRATEGIES, strategy_class
from lte_jax.method import Method, Source
from lte_jax.metric import Metric
from lte_jax.plugins import arguments, resolve_class
from lte_jax.records import Group, Rollout, Status, Verdict

METRICS = (
    Metric("label/agrees_frac", "mean", "Labels, beside the verifier", "share"),  # of rollouts that both have decided
    Metric("label/verified_frac", "mean", "Labels, beside the verifier", "share"),  # of these, right by the verifier
)


@dataclass(frozen=True)
class Label:
    """Verdicts of one round of a group. What a clock can change goes through `decisions`, with the round in its name; a
    random choice is keyed by seed, step, group, round and index.

    `needs_answers`: problems without a reference answer are refused when they are loaded."""

    config: Config
    same_answer: SameAnswer
    decisions: Decisions
    args: Any = None  # its own settings, as its `Args` validated `explore.label_args`

    Args: ClassVar[type[BaseModel] | None] = None
    METHOD: ClassVar[Method | None] = None
    needs_answers: ClassVar[bool] = True

    def label(self, group: Group, rollouts: tuple[Rollout, ...]) -> tuple[Rollout, ...]:
        """The round's rollouts with their verdicts. `group`: as it stands; in the first round these are its `initial`,
        later the labelled ones are."""
        raise NotImplementedError(f"{type(self).__name__} lacks `label`")


@dataclass(frozen=True)
class Given(Label):
    """The verifier's verdicts."""

    METHOD = Method("the verifier's verdicts", "", Source.OURS, "labels")

    def label(self, group: Group, rollouts: tuple[Rollout, ...]) -> tuple[Rollout, ...]:
        return rollouts


@dataclass(frozen=True)
class Majority(Label):
    """Right is what most of the first round say; of equally many, what the first of them says."""

    METHOD = Method(
        "the answer that most rollouts of the group give counts as right: no reference answers",
        "2504.16084",
        Source.EXACT,
        "labels",
        cost="comparisons of the group's distinct answers",
        ours="equality by the verifier; ties go to the first; further rounds are graded by the first round's majority; "
        "no vote of more rollouts than are trained",
    )
    needs_answers = False

    def label(self, group: Group, rollouts: tuple[Rollout, ...]) -> tuple[Rollout, ...]:
        round_ = rollouts[0].round
        agreeing = self.decisions.decide(group, f"majority, round {round_}", lambda: self._agreeing(group, rollouts))
        gold = agreeing[0] if agreeing else ""
        return tuple(_voted(rollout, gold, agreeing) for rollout in rollouts)

    def _agreeing(self, group: Group, rollouts: tuple[Rollout, ...]) -> list[str]:
        """The spellings of the majority's answer among these rollouts' answers; first the one that it is named by."""
        answers = [rollout.verdict.extracted for rollout in rollouts if rollout.verdict.extracted]
        spelled = list(dict.fromkeys(answers))
        if group.initial[0].round != rollouts[0].round:
            gold = group.initial[0].verdict.gold
            same = self.same_answer([(gold, answer) for answer in spelled]) if gold else []
            return [gold, *(answer for answer, is_same in zip(spelled, same, strict=True) if is_same)] if gold else []
        votes = Counter(answers)
        return max(self._kinds(spelled), key=lambda kind: sum(votes[each] for each in kind), default=[])

    def _kinds(self, spelled: Sequence[str]) -> list[list[str]]:
        """Spellings of the same answer together, in the order in which answers came. What is not decided in time is
        another answer."""
        pairs = [(earlier, later) for place, later in enumerate(spelled) for earlier in spelled[:place]]
        same = dict(zip(pairs, self.same_answer(pairs), strict=True)) if pairs else {}
        kinds: list[list[str]] = []
        for answer in spelled:
            kind = next((kind for kind in kinds if same[kind[0], answer]), None)
            kind.append(answer) if kind else kinds.append([answer])
        return kinds


class RandomArgs(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    p: float = Field(0.5, gt=0, lt=1, description="chance that a rollout counts as right")


@dataclass(frozen=True)
class Random(Label):
    """A coin for each rollout, whatever it says: what training does without any signal."""

    Args = RandomArgs
    METHOD = Method(
        "every rollout is right by a coin of its own: a control for what training does without a signal",
        "2506.10947, 2512.16912",
        Source.EXACT,
        "labels",
        ours="the coin is keyed by seed, step, group, round and index, so that a resumed run tosses the same",
    )
    needs_answers = False

    def label(self, group: Group, rollouts: tuple[Rollout, ...]) -> tuple[Rollout, ...]:
        return tuple(_labelled(rollout, self._coin(group, rollout), group.problem.answer) for rollout in rollouts)

    def _coin(self, group: Group, rollout: Rollout) -> bool:
        key = [self.config.seed, group.step, group.index, rollout.round, rollout.index, *b"label"]
        return bool(np.random.default_rng(key).random() < self.args.p)


LABELS: dict[str, type[Label]] = {"given": Given, "majority": Majority, "random": Random}


def label_class(config: Config) -> type[Label]:
    """What `explore.labels` names. Raises ConfigError, also where its verdicts would make wrong hints."""
    found = resolve_class("explore.labels", config.explore.labels, LABELS, Label)
    if found is Random and not strategy_class(config).takes_any_labels:
        known = ", ".join(name for name, each in STRATEGIES.items() if each.takes_any_labels)
        raise ConfigError(
            f"explore.labels = random says nothing of the answers, explore.strategy = {config.explore.strategy} goes "
            f"by what was wrong: wanted one of {known}, or of your own one whose `takes_any_labels` is True"
        )
    return found


def make_label(config: Config, same_answer: SameAnswer, decisions: Decisions) -> Label:
    """The label that `explore.labels` names, with its own settings. Raises ConfigError."""
    found = label_class(config)
    return found(config, same_answer, decisions, arguments("explore.label_args", config.explore.label_args, found.Args))


def label_metrics(groups: Sequence[Group]) -> dict[str, float]:
    """How labels and verifier agree, where there is a reference answer; nothing where there are no labels."""
    both = [
        rollout
        for group in groups
        for rollout in (*group.initial, *(r for attempt in group.retries for r in attempt.rollouts))
        if rollout.decided and rollout.verified and rollout.verified.decided and rollout.verified.gold
    ]
    if not both:
        return {}
    return {
        "label/agrees_frac": _share(both, lambda rollout: rollout.verified.correct == rollout.correct),
        "label/verified_frac": _share(both, lambda rollout: rollout.verified.correct),
    }


def _share(rollouts: Sequence[Rollout], holds: Callable[[Rollout], bool]) -> float:
    return sum(map(holds, rollouts)) / len(rollouts)


def _voted(rollout: Rollout, gold: str, agreeing: Sequence[str]) -> Rollout:
    """By the majority's answer. What the verifier could not even read an answer from, for want of time, stays so."""
    if not rollout.decided and not rollout.verdict.extracted:
        return rollout
    return _labelled(rollout, rollout.verdict.extracted in agreeing, gold)


def _labelled(rollout: Rollout, is_right: bool, gold: str) -> Rollout:
    said = rollout.verdict
    status = Status.EQUAL if is_right else Status.DIFFERENT if said.extracted else Status.NO_ANSWER
    return replace(rollout, verdict=Verdict(is_right, status, gold, said.extracted, said.rule), verified=said)
