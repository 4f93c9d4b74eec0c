"""Strategies: what a verified group gets further, and what it becomes. GRPO, GRPO+extra, LTE and LUFFY.

A strategy is a frozen record with `retry(group, memory)`, `merge(group, attempt)` and `observe(memory, groups)`; its
memory is plain JSON and is saved in the checkpoint. A new method that works on groups is one such record.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from lte_jax.config import Config
from lte_jax.host.diagnose import (
    SameAnswer,
    all_rollouts,
    failure_mode,
    last_round,
    names_hint,
    pass_level,
    wrong_answers,
)
from lte_jax.host.prompts import PromptBuilder
from lte_jax.records import Attempt, FailureMode, Group, Origin, PassLevel, Retry

RecordedLists = Mapping[tuple[int, int, int], tuple[str, ...]]  # (step, group, earlier attempts) -> what a hint listed
MEMORY_LISTS = 64  # answer lists of earlier groups that random hints may be drawn from


class Strategy(Protocol):
    def retry(self, group: Group, memory: dict) -> Retry | None:
        """What a group whose verdicts are in gets next, or None where it is finished."""

    def merge(self, group: Group, attempt: Attempt) -> Group:
        """The group with an attempt recorded and rollouts of it mixed in."""

    def observe(self, memory: dict, groups: Sequence[Group]) -> dict:
        """The memory after a step."""


@dataclass(frozen=True)
class Grpo:
    """Never retries (arXiv 2402.03300)."""

    def retry(self, group: Group, memory: dict) -> Retry | None:
        return None

    def merge(self, group: Group, attempt: Attempt) -> Group:
        raise ValueError("grpo never asks for a retry, so there is nothing to merge")

    def observe(self, memory: dict, groups: Sequence[Group]) -> dict:
        return memory


@dataclass(frozen=True)
class Extra:
    """GRPO + extra rollouts: G more from the plain prompt for a none-pass group (arXiv 2510.26109, baseline)."""

    config: Config

    def retry(self, group: Group, memory: dict) -> Retry | None:
        if not _wants_more(group, self.config):
            return None
        return Retry(group.prompt, self.config.sample.group_size, Origin.EXTRA, failure_mode(last_round(group)))

    def merge(self, group: Group, attempt: Attempt) -> Group:
        return mix(group, attempt, self.config)

    def observe(self, memory: dict, groups: Sequence[Group]) -> dict:
        return memory


@dataclass(frozen=True)
class Lte:
    """G more from a prompt that lists the group's own wrong answers (arXiv 2510.26109)."""

    config: Config
    prompts: PromptBuilder
    same_answer: SameAnswer
    recorded: RecordedLists  # of steps that are made again: which answers a hint listed must not depend on the clock

    def retry(self, group: Group, memory: dict) -> Retry | None:
        if not _wants_more(group, self.config):
            return None
        mode = failure_mode(last_round(group))
        answers = self.recorded.get((group.step, group.index, len(group.attempts)))
        if answers is None:
            answers = self._answers(group, mode, memory)
        if answers is None:
            return None
        hinted = self.prompts.hinted(group.problem, mode, answers)
        n = self.config.sample.group_size
        if hinted is None:
            return Retry(group.prompt, n, Origin.EXTRA, FailureMode.NO_ANSWER)
        prompt, listed = hinted
        return Retry(prompt, n, Origin.HINTED, mode, listed)

    def merge(self, group: Group, attempt: Attempt) -> Group:
        return mix(group, attempt, self.config)

    def observe(self, memory: dict, groups: Sequence[Group]) -> dict:
        """Random hints draw from the wrong answers of earlier groups where no domain is configured."""
        if self.config.explore.hints != "random" or self.config.explore.answer_domain:
            return memory
        failed = [group for group in groups if pass_level(group.initial) is PassLevel.NONE]
        new = [[group.problem.id, list(self._wrong_answers(group))] for group in failed]
        return {"lists": [*memory.get("lists", []), *(entry for entry in new if entry[1])][-MEMORY_LISTS:]}

    def _wrong_answers(self, group: Group) -> tuple[str, ...]:
        return wrong_answers(all_rollouts(group), self.same_answer, self.config.prompt.hints.max_answer_chars)

    def _answers(self, group: Group, mode: FailureMode, memory: dict) -> tuple[str, ...] | None:
        """What the hint lists, or None where the control has nothing to draw from.

        Random hints: as many distinct values as the real hint would list, from the whole domain, whatever the group's
        failures were; without a domain, from the lists of other problems in earlier steps.
        """
        answers = self._wrong_answers(group)
        if self.config.explore.hints == "real":
            return answers
        hinted = self.prompts.hinted(group.problem, mode, answers)
        if hinted is None or not hinted[1]:
            return ()
        others = (answers for id_, answers in memory.get("lists", []) if id_ != group.problem.id)
        domain = self.config.explore.answer_domain or tuple(dict.fromkeys(a for answers in others for a in answers))
        order = _rng(self.config.seed, group, "random hint").permutation(len(domain))
        return tuple(domain[place] for place in order[: len(hinted[1])]) or None


@dataclass(frozen=True)
class Luffy:
    """A worked solution of another model in every group that has one, right or wrong (arXiv 2504.14945).

    It replaces a member that is chosen before anything is known of it, so that the other G - 1 are as G - 1 drawn.
    """

    config: Config
    prompts: PromptBuilder

    def retry(self, group: Group, memory: dict) -> Retry | None:
        if group.attempts or not group.problem.trace:
            return None
        return Retry(group.prompt, 1, Origin.TRACE, mode=None, given=(self.prompts.response(group.problem.trace),))

    def merge(self, group: Group, attempt: Attempt) -> Group:
        members = list(group.members)
        members[_rng(self.config.seed, group, "trace").integers(len(members))] = attempt.rollouts[0]
        return replace(group, members=tuple(members), attempts=(*group.attempts, attempt))

    def observe(self, memory: dict, groups: Sequence[Group]) -> dict:
        return memory


def mix(group: Group, attempt: Attempt, config: Config) -> Group:
    """The correct rollouts of an attempt replace randomly chosen failed members; `keep_failed` of these stay.

    If more succeed than may be swapped in, a random subset is. A member without a verdict is neither failed nor
    replaced.
    """
    good = [rollout for rollout in attempt.rollouts if rollout.correct]
    if config.explore.drop_leaking:
        good = [r for r in good if not (r.off_policy and names_hint(r.text, config.prompt.hints.leak_patterns))]
    failed = [place for place, rollout in enumerate(group.members) if rollout.decided and not rollout.correct]
    n = min(len(good), max(0, len(failed) - config.explore.keep_failed))
    rng = _rng(config.seed, group, "mix")
    members = list(group.members)
    chosen = np.sort(rng.permutation(len(good))[:n])
    for place, index in zip(rng.permutation(failed)[:n], chosen, strict=True):
        members[place] = good[index]
    return replace(group, members=tuple(members), attempts=(*group.attempts, attempt))


def make_strategy(config: Config, prompts: PromptBuilder, same_answer: SameAnswer, recorded: RecordedLists) -> Strategy:
    makers: dict[str, Callable[[], Strategy]] = {
        "grpo": Grpo,
        "extra": lambda: Extra(config),
        "lte": lambda: Lte(config, prompts, same_answer, recorded),
        "luffy": lambda: Luffy(config, prompts),
    }
    return makers[config.explore.strategy]()


def _wants_more(group: Group, config: Config) -> bool:
    """A none-pass group with rounds left: a further round runs only while no rollout at all is correct."""
    return len(group.attempts) < config.explore.rounds and pass_level(all_rollouts(group)) is PassLevel.NONE


def _rng(seed: int, group: Group, purpose: str) -> np.random.Generator:
    """Keyed by what is being decided, so a resumed run decides alike."""
    return np.random.default_rng([seed, group.step, group.index, len(group.attempts), *purpose.encode()])
