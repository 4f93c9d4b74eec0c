"""Strategies: what a verified group gets further, and what it becomes. GRPO, GRPO+extra, LTE and LUFFY.

A strategy is a frozen record, a subclass of `Strategy`. A new method that works on groups is one such class, in
`strategies/` or in a module of the user's own (`explore.strategy=module:Name`).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from lte_jax.config import Config
from lte_jax.host.decisions import Decisions
from lte_jax.host.diagnose import (
    SameAnswer,
    all_rollouts,
    failure_mode,
    last_round,
    most_frequent,
    names_hint,
    pass_level,
    wrong_answers,
)
from lte_jax.host.problems import ProblemError
from lte_jax.host.prompts import PromptBuilder
from lte_jax.method import Method, Source
from lte_jax.records import (
    Attempt,
    FailureMode,
    Given,
    Group,
    Kind,
    Origin,
    Part,
    PassLevel,
    Plan,
    Problem,
    Retry,
)

MEMORY_LISTS = 64  # answer lists of earlier groups that random hints may be drawn from


@dataclass(frozen=True)
class Tools:
    """What a strategy works with."""

    config: Config
    prompts: PromptBuilder
    same_answer: SameAnswer
    decisions: Decisions = field(default_factory=Decisions)
    args: Any = None  # the strategy's own settings, as its `Args` validated `explore.args`
    problems: Mapping[str, Problem] = field(default_factory=dict)  # what is trained on, by id


@dataclass(frozen=True)
class Strategy:
    """What a group gets: its first round, and what after it. By itself: as many from the plain prompt as the plan has,
    and nothing further.

    All methods are functions of their arguments alone, so that a step that is made again is the same; what depends on a
    clock goes through `tools.decisions`, and random choices are drawn from `choices`.
    """

    tools: Tools

    Args: ClassVar[type[BaseModel] | None] = None  # the model of `explore.args`
    METHOD: ClassVar[Method | None] = None
    # Nothing goes by a strategy's name; a class that says nothing of these gets every check.
    forks: ClassVar[bool] = False  # whether it has responses continued: longer prefills are planned and compiled ahead
    hints: ClassVar[bool] = True  # whether it draws from other prompts than a group's: prompt.hinted_budget counts
    off_policy: ClassVar[bool] = True  # whether members may have off-policy tokens
    takes_any_labels: ClassVar[bool] = False  # whether verdicts that say nothing of the answers do no harm

    @property
    def config(self) -> Config:
        return self.tools.config

    def first(self, plan: Plan, memory: dict) -> tuple[Part, ...]:
        """What a group begins with; at least one response of it is drawn. From another prompt than `plan.prompt`, on
        which its members are trained, it is off-policy."""
        return (Part(plan.prompt, plan.n),)

    def retry(self, group: Group, memory: dict) -> Retry | None:
        """What a group whose verdicts are in gets next, or None where it is finished. Asked again after each round, and
        after notes."""
        return None

    def merge(self, group: Group, attempt: Attempt) -> Group:
        """The group with a graded attempt recorded and rollouts of it mixed in. Notes are recorded by the engine."""
        raise ValueError(f"{type(self).__name__} never asks for a retry, so there is nothing to merge")

    def observe(self, memory: dict, groups: Sequence[Group]) -> dict:
        """The memory after a step; plain JSON, which the checkpoint holds."""
        return memory

    def supervised(self, memory: dict, step: int) -> tuple[Group, ...]:
        """Groups of lessons without members, which are an update of their own after the step's others. `memory`: as
        `observe` left it in this step."""
        return ()

    def check(self, problems: Sequence[Problem], say: Callable[[str], None]) -> None:
        """Refuses, before anything is sampled, problems that it cannot work on. Raises ProblemError or ValueError."""

    def shown_prompts(self, problems: Sequence[Problem]) -> dict[str, tuple[int, ...]]:
        """Further token sequences that the dry run shows, by what they are."""
        return {}

    def most_further(self) -> int:
        """Most rollouts that a group may be given beyond the first round."""
        return 0


@dataclass(frozen=True)
class Grpo(Strategy):
    """Never retries (arXiv 2402.03300)."""

    METHOD = Method(
        "nothing further", "2402.03300", Source.EXACT, "tries", configs=("qwen3-4b-grpo.yaml", "qwen3-8b-grpo.yaml")
    )
    hints = off_policy = False
    takes_any_labels = True


@dataclass(frozen=True)
class Extra(Strategy):
    """GRPO + extra rollouts: G more from the plain prompt for a none-pass group (arXiv 2510.26109, baseline)."""

    METHOD = Method(
        "G more rollouts of the plain prompt for a none-pass group",
        "2510.26109",
        Source.EXACT,
        "tries",
        cost="G rollouts and verdicts a none-pass group",
        configs=("qwen3-4b-extra.yaml", "qwen3-8b-extra.yaml"),
    )
    hints = off_policy = False
    takes_any_labels = True

    def retry(self, group: Group, memory: dict) -> Retry | None:
        if not wants_more(group, self.config):
            return None
        return Retry.of(group.prompt, len(group.initial), Origin.EXTRA, failure_mode(last_round(group)))

    def merge(self, group: Group, attempt: Attempt) -> Group:
        return mix(group, attempt, self.config)

    def most_further(self) -> int:
        return self.config.sample.group_size * self.config.explore.rounds


class LteArgs(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    order: Literal["first", "frequent"] = Field(
        "first", description="wrong answers as they first came, or the most frequent ones first"
    )
    remember: int = Field(
        0, ge=0, description="wrong answers of earlier steps that are kept of a problem and listed, too"
    )
    fade: bool = Field(
        False, description="lists get shorter by the share of right ones in what curriculum.history remembers"
    )


@dataclass(frozen=True)
class Lte(Strategy):
    """G more from a prompt that lists the group's own wrong answers (arXiv 2510.26109)."""

    METHOD = Method(
        "G more rollouts of a prompt that lists the group's own wrong answers, trained on the plain one",
        "2510.26109",
        Source.EXACT,
        "tries",
        cost="G rollouts and verdicts a none-pass group",
        ours="what the paper leaves open: docs/method.md",
        configs=("qwen3-4b-lte.yaml", "qwen3-8b-lte.yaml"),
    )
    Args = LteArgs

    def retry(self, group: Group, memory: dict) -> Retry | None:
        if not wants_more(group, self.config):
            return None
        mode = failure_mode(last_round(group))
        answers = self.tools.decisions.decide(group, "answers", lambda: self._answers(group, mode, memory))
        if answers is None:
            return None
        hinted = self.tools.prompts.hinted(group.problem, mode, tuple(answers))
        n = len(group.initial)
        if hinted is None:
            return Retry.of(group.prompt, n, Origin.EXTRA, FailureMode.NO_ANSWER)
        prompt, listed = hinted
        return Retry.of(prompt, n, Origin.HINTED, mode, listed)

    def merge(self, group: Group, attempt: Attempt) -> Group:
        return mix(group, attempt, self.config)

    def observe(self, memory: dict, groups: Sequence[Group]) -> dict:
        """Wrong answers of problems that were not solved since, where they are remembered; and random hints draw from
        those of earlier groups where no domain is configured."""
        if self._lists.remember:
            memory = {**memory, "wrong": self._remembered(memory.get("wrong", {}), groups)}
        if self.config.explore.hints != "random" or self.config.explore.answer_domain:
            return memory
        failed = [group for group in groups if pass_level(group.initial) is PassLevel.NONE]
        most = (1 + self.config.explore.rounds) * self.config.sample.group_size
        new = [[group.problem.id, list(self._wrong_answers(group, most))] for group in failed]
        return {**memory, "lists": [*memory.get("lists", []), *(entry for entry in new if entry[1])][-MEMORY_LISTS:]}

    def check(self, problems: Sequence[Problem], say: Callable[[str], None]) -> None:
        for problem in problems:
            self.tools.prompts.concise(problem)

    def shown_prompts(self, problems: Sequence[Problem]) -> dict[str, tuple[int, ...]]:
        return {"first problem's hint without answers": self.tools.prompts.concise(problems[0]).ids}

    def most_further(self) -> int:
        return self.config.sample.group_size * self.config.explore.rounds

    @property
    def _lists(self) -> LteArgs:
        """How hints list; a class of the user's own may have other settings."""
        return self.tools.args if isinstance(self.tools.args, LteArgs) else LteArgs()

    def _wrong_answers(self, group: Group, most: int) -> tuple[str, ...]:
        max_chars, rollouts = self.config.prompt.hints.max_answer_chars, all_rollouts(group)
        if self._lists.order == "frequent":
            found = wrong_answers(rollouts, self.tools.same_answer, max_chars, len(rollouts))
            return most_frequent(found, rollouts, self.tools.same_answer)[:most]
        return wrong_answers(rollouts, self.tools.same_answer, max_chars, most)

    def _remembered(self, wrong: dict, groups: Sequence[Group]) -> dict:
        wrong, most = dict(wrong), self._lists.remember
        for group in groups:
            level = pass_level(group.initial)
            if level is PassLevel.NONE:
                new = self._wrong_answers(group, most)
                wrong[group.problem.id] = list(dict.fromkeys([*new, *wrong.get(group.problem.id, [])]))[:most]
            elif level is not None:
                wrong.pop(group.problem.id, None)
        return wrong

    def _listed(self, group: Group, memory: dict) -> tuple[str, ...]:
        """The group's wrong answers, then those of earlier steps; fewer where the problem was solved before."""
        most = self.config.prompt.hints.max_answers
        earlier = memory.get("wrong", {}).get(group.problem.id, [])
        answers = tuple(dict.fromkeys([*self._wrong_answers(group, most), *earlier]))
        if earlier or self._lists.order == "frequent":
            answers = answers[:most]
        if not self._lists.fade or not group.seen:
            return answers
        return answers[: math.ceil(len(answers) * group.seen.count("0") / len(group.seen))]

    def _answers(self, group: Group, mode: FailureMode, memory: dict) -> tuple[str, ...] | None:
        """What the hint lists, or None where the control has nothing to draw from.

        Random hints: as many distinct values as the real hint would list, from the whole domain, whatever the group's
        failures were; without a domain, from the lists of other problems in earlier steps.
        """
        answers = self._listed(group, memory)
        if self.config.explore.hints == "real":
            return answers
        hinted = self.tools.prompts.hinted(group.problem, mode, answers)
        if hinted is None or not hinted[1]:
            return ()
        others = (answers for id_, answers in memory.get("lists", []) if id_ != group.problem.id)
        domain = self.config.explore.answer_domain or tuple(dict.fromkeys(a for answers in others for a in answers))
        order = choices(self.config.seed, group, "random hint").permutation(len(domain))
        return tuple(domain[place] for place in order[: len(hinted[1])]) or None


@dataclass(frozen=True)
class Luffy(Strategy):
    """A worked solution of another model in every group that has one, right or wrong (arXiv 2504.14945).

    It replaces a member that is chosen before anything is known of it, so that the other G - 1 are as G - 1 drawn.
    """

    METHOD = Method(
        "a worked solution of another model among every group's members",
        "2504.14945",
        Source.EXACT,
        "tries",
        cost="one verdict a group",
        configs=("qwen3-4b-luffy.yaml", "qwen3-8b-luffy.yaml"),
    )
    hints = False

    def retry(self, group: Group, memory: dict) -> Retry | None:
        if group.attempts or not group.problem.trace:
            return None
        trace = Given.written(self.tools.prompts.response(group.problem.trace), Kind.OFF_POLICY, whole=True)
        return Retry((Part(group.prompt, 1, trace),), Origin.TRACE, mode=None)

    def merge(self, group: Group, attempt: Attempt) -> Group:
        members = list(group.members)
        members[choices(self.config.seed, group, "trace").integers(len(members))] = attempt.rollouts[0]
        return replace(group, members=tuple(members), attempts=(*group.attempts, attempt))

    def check(self, problems: Sequence[Problem], say: Callable[[str], None]) -> None:
        check_traces(self.tools, problems, say)

    def shown_prompts(self, problems: Sequence[Problem]) -> dict[str, tuple[int, ...]]:
        trace = next(problem.trace for problem in problems if problem.trace)
        return {"first trace": self.tools.prompts.response(trace)}


def check_traces(tools: Tools, problems: Sequence[Problem], say: Callable[[str], None]) -> None:
    """Refuses traces that are longer than a response may be, and files without any."""
    lengths = {problem.id: _trace_length(tools.prompts, problem) for problem in problems if problem.trace}
    budget = tools.config.sample.response_budget
    if not lengths:
        raise ProblemError(
            f"explore.strategy = {tools.config.explore.strategy}: wanted problems with a `trace`, a worked solution; "
            "none has one"
        )
    if too_long := [f"{name}: {n}" for name, n in lengths.items() if n > budget]:
        raise ProblemError(
            f"{len(too_long)} traces have more tokens than sample.response_budget = {budget} (leave them out of "
            f"their rows, or raise it): {'; '.join(too_long[:5])}"
        )
    say(f"traces: of {len(lengths)} of {len(problems)} problems, at most {max(lengths.values())} tokens")


def _trace_length(prompts: PromptBuilder, problem: Problem) -> int:
    try:
        return len(prompts.response(problem.trace))
    except ValueError as error:
        raise ProblemError(f"the trace of problem {problem.id}: {error}") from None


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
    rng = choices(config.seed, group, "mix")
    members = list(group.members)
    chosen = np.sort(rng.permutation(len(good))[:n])
    for place, index in zip(rng.permutation(failed)[:n], chosen, strict=True):
        members[place] = good[index]
    return replace(group, members=tuple(members), attempts=(*group.attempts, attempt))


def wants_more(group: Group, config: Config, rounds: int = 0) -> bool:
    """A none-pass group with rounds left (`rounds`; 0: explore.rounds): a further round runs only while no rollout at
    all is correct, where something could be mixed in, and where the problem has failed often enough."""
    explore = config.explore
    may_have_more = len(group.retries) < (rounds or explore.rounds) and len(group.members) > explore.keep_failed
    if not may_have_more or pass_level(all_rollouts(group)) is not PassLevel.NONE:
        return False
    n_before = len(group.seen) - len(group.seen.rstrip("0"))
    return n_before + sum(rollout.decided for rollout in group.initial) >= explore.least_failures


def choices(seed: int, group: Group, purpose: str) -> np.random.Generator:
    """Keyed by what is being decided, so a resumed run decides alike."""
    return np.random.default_rng([seed, group.step, group.index, len(group.attempts), *purpose.encode()])
