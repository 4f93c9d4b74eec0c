"""Cog-DRIFT (arXiv 2604.04767): a problem that was never solved is asked in easier forms, each left for the next harder
one as soon as it is solved more often than not. The wrong options are the run's own wrong answers."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from lte_jax.host.curriculum import Curriculum, Position, Shuffled, outcomes, remember
from lte_jax.method import Method, Source
from lte_jax.records import Group, Plan, Problem, Status

OPEN = "open"  # the problem as it stands in its file
CLOZE = "cloze"


class LadderArgs(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    after: int = Field(16, ge=1, description="failures in a row of the open form before easier ones are asked")
    threshold: float = Field(0.5, ge=0, lt=1, description="mean reward above which the next harder form is asked")
    window: int = Field(1, ge=1, description="newest groups of a form that the mean is taken over")
    choices: tuple[Annotated[int, Field(ge=2, le=10)], ...] = Field(
        (4, 10), min_length=1, description="options of each multiple choice form, rising"
    )
    letters: bool = Field(True, description="options have letters, and the letter is the answer; else the option is")
    choice_text: str = Field(
        "{problem}\n\nOne of these is the answer: {choices}.", description="the multiple choice form of a problem"
    )
    cloze_text: str = Field(
        "{problem}\n\nThe answer is {cloze}, where each _ hides a digit.", description="the cloze form"
    )
    masked_least: float = Field(0.5, gt=0, le=1, description="share of the answer's digits that the cloze form hides")
    masked_most: float = Field(0.8, gt=0, le=1, description="the same, at most; one digit at least stays")


@dataclass(frozen=True)
class Ladder(Curriculum):
    """As shuffled; a problem in trouble is asked, and trained, in the easiest form that it has not left behind.

    Memory: `seen`, of the open form alone; `wrong`, distinct answers of problems never solved; `form`, [name, newest
    means]."""

    Args = LadderArgs
    METHOD = Method(
        "problems that are never solved come as multiple choice, then cloze, then open again",
        "2604.04767",
        Source.EXACT,
        "curricula",
        ours="options are the run's own wrong answers, distinct by their spelling, where a language model writes the "
        "paper's; no format reward. The form is trained, and a multiple choice form holds the right answer",
        configs=("cog-drift.yaml",),
    )

    def choose(self, n: int, at: Position, memory: dict) -> tuple[Plan, ...]:
        plans = Shuffled(self.config, self.problems, self.prompts).choose(n, at, memory)
        return tuple(self._in_form(plan, at, memory) for plan in plans)

    def observe(self, memory: dict, groups: Sequence[Group]) -> dict:
        wrong, form = dict(memory.get("wrong", {})), dict(memory.get("form", {}))
        as_open = []
        for group in groups:
            id_ = group.problem.id
            if group.problem.text == self._originals[id_].text:
                as_open.append(group)
                wrong[id_] = self._more(wrong.get(id_, []), group)
            else:
                name = self._form(memory, self._originals[id_])
                form[id_] = self._moved(name, form.get(id_, [name, []])[1], group)
        new = remember(memory, as_open, max(self.args.after, self.config.curriculum.history))
        never_solved = {id_: answers for id_, answers in wrong.items() if "1" not in outcomes(new, id_) and answers}
        return {**new, "wrong": never_solved, "form": form}

    def _moved(self, name: str, means: list[float], group: Group) -> list:
        """A form and its newest means after one more group; where they are above the threshold, the next form."""
        decided = [rollout.correct for rollout in group.initial if rollout.decided]
        means = [*means, *([sum(decided) / len(decided)] if decided else [])][-self.args.window :]
        if len(means) == self.args.window and sum(means) / len(means) > self.args.threshold:
            names = self._names()
            return [names[names.index(name) + 1], []]
        return [name, means]

    def _names(self) -> list[str]:
        return [*(f"choices-{n}" for n in self.args.choices), CLOZE, OPEN]

    def _form(self, memory: dict, problem: Problem) -> str:
        """The form in which a problem is asked now."""
        newest = outcomes(memory, problem.id)[-self.args.after :]
        if problem.id not in memory.get("form", {}) and newest != "0" * self.args.after:
            return OPEN
        names = self._names()
        reached = names.index(memory.get("form", {}).get(problem.id, names)[0])
        return next(name for name in names[reached:] if self._can_be(name, memory, problem))

    def _can_be(self, name: str, memory: dict, problem: Problem) -> bool:
        if name == OPEN:
            return True
        if name == CLOZE:
            return len(re.findall(r"\d", problem.answer)) > 1
        return len(memory.get("wrong", {}).get(problem.id, [])) >= int(name.partition("-")[2]) - 1

    def _in_form(self, plan: Plan, at: Position, memory: dict) -> Plan:
        name = self._form(memory, plan.problem)
        if name == OPEN:
            return plan
        rng = np.random.default_rng([at.seed, at.step, *plan.problem.id.encode(), *name.encode()])
        if name == CLOZE:
            text, answer = self.args.cloze_text.replace("{cloze}", self._masked(plan.problem.answer, rng)), None
        else:
            n = int(name.partition("-")[2])
            text, answer = self._choices([plan.problem.answer, *memory["wrong"][plan.problem.id][: n - 1]], rng)
        text = text.replace("{problem}", plan.problem.text)
        problem = replace(plan.problem, text=text, answer=answer or plan.problem.answer)
        try:
            return replace(plan, problem=problem, prompt=self.prompts.plain(problem))
        except ValueError:  # longer than prompt.budget: it stays open, and counts as such
            return plan

    def _choices(self, options: list[str], rng: np.random.Generator) -> tuple[str, str | None]:
        """The text, and the letter of the first option, which is the right one, at a place that is drawn."""
        order = rng.permutation(len(options))
        letters = [f"{chr(ord('A') + place)}) " if self.args.letters else "" for place in range(len(options))]
        listed = ", ".join(letter + options[place] for letter, place in zip(letters, order, strict=True))
        right = letters[list(order).index(0)][:1]
        return self.args.choice_text.replace("{choices}", listed), right or None

    def _masked(self, answer: str, rng: np.random.Generator) -> str:
        """Between the two shares of the digits hidden, rounded down, one at least, and one shown."""
        digits = [match.start() for match in re.finditer(r"\d", answer)]
        share = rng.uniform(self.args.masked_least, self.args.masked_most)
        hidden = rng.permutation(digits)[: min(max(1, int(share * len(digits))), len(digits) - 1)]
        return "".join("_" if place in hidden else character for place, character in enumerate(answer))

    def _more(self, known: Sequence[str], group: Group) -> list[str]:
        """The wrong answers with those of one more open group, distinct by their spelling, as many as a form lists."""
        extracted = [
            " ".join((rollout.verdict.extracted or "").split())
            for rollout in group.initial
            if rollout.decided and not rollout.response.truncated and rollout.verdict.status is Status.DIFFERENT
        ]
        fitting = [answer for answer in extracted if 0 < len(answer) <= self.config.prompt.hints.max_answer_chars]
        return list(dict.fromkeys([*known, *fitting]))[: max(self.args.choices) - 1]

    @cached_property
    def _originals(self) -> dict[str, Problem]:
        return {problem.id: problem for problem, _ in self.problems}
