"""Notes that the model writes for itself: a failed group gets ideas or a critique of its failure, then solves with
them.

RLAD (arXiv 2510.02263) with one model in place of two; with `ask: critique` they are notes on a mistake.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from lte_jax.host.diagnose import contains_answer, pass_level
from lte_jax.host.explore import Strategy, mix, wants_more
from lte_jax.host.strategies.told import check_contexts, told
from lte_jax.method import Method, Source
from lte_jax.records import Attempt, Group, Lesson, Origin, Part, Problem, Prompt, Purpose, Retry, Rollout


class NotesArgs(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    ask: str = Field("idea", description="context that asks for a note")
    use: str = Field("notes", description="context that a note is used in, as {notes}")
    n: int = Field(2, ge=1, description="notes of a group")
    solutions: int = Field(4, ge=1, description="rollouts with each note")
    trigger: Literal["none_pass", "every"] = Field("none_pass", description="groups that get notes")
    learn: float = Field(
        0.0, ge=0, description="factor on a note's own advantage, its success less the mean of the notes"
    )


@dataclass(frozen=True)
class Notes(Strategy):
    """One round of notes, which are not graded; one of solutions, of which right ones are mixed in as in LTE."""

    Args = NotesArgs
    METHOD = Method(
        "the model writes notes on the problem or on its mistake, and solves with each of them",
        "2510.02263",
        Source.RECONSTRUCTED,
        "notes",
        cost="n notes, n x solutions rollouts and verdicts a group",
        ours="one model for notes and solutions, no warm start; a note is learned as a supervised row whose weight is "
        "its advantage; notes that say the answer are left out",
    )

    def retry(self, group: Group, memory: dict) -> Retry | None:
        args = self.tools.args
        if not group.attempts:
            asked = told(self.tools, args.ask, group) if self._is_wanted(group) else None
            return asked and Retry((Part(asked, args.n),), Origin.HINTED, None, purpose=Purpose.NOTE)
        parts = tuple(Part(prompt, args.solutions) for _, prompt in self._used(group)) if not group.retries else ()
        return Retry(parts, Origin.HINTED, mode=None) if parts else None

    def merge(self, group: Group, attempt: Attempt) -> Group:
        notes, k = [note for note, _ in self._used(group)], self.tools.args.solutions
        success = [
            sum(rollout.correct for rollout in attempt.rollouts[k * place : k * place + k]) / k
            for place in range(len(notes))
        ]
        mean, factor = sum(success) / len(success), self.tools.args.learn
        learned = [(note, factor * (each - mean)) for note, each in zip(notes, success, strict=True)]
        lessons = [Lesson(n.prompt, tuple(map(int, n.response.tokens)), weight) for n, weight in learned if weight]
        return replace(mix(group, attempt, self.config), lessons=(*group.lessons, *lessons))

    def check(self, problems: Sequence[Problem], say: Callable[[str], None]) -> None:
        check_contexts([self.tools.args.ask, self.tools.args.use], self.tools.prompts, problems, say)

    def most_further(self) -> int:
        return self.tools.args.n * (1 + self.tools.args.solutions)

    def _is_wanted(self, group: Group) -> bool:
        if self.tools.args.trigger == "every":
            return pass_level(group.initial) is not None
        return wants_more(group, self.config, rounds=1)

    def _used(self, group: Group) -> list[tuple[Rollout, Prompt]]:
        """(note, prompt that it is used in) of those that say something, but not the answer, and fit."""
        own = [note for note in group.notes if not contains_answer(note.text, [group.problem.answer])]
        texts = [(note, text) for note in own if (text := note.text.strip())]
        used = [(note, told(self.tools, self.tools.args.use, group, notes=(text,))) for note, text in texts]
        return [(note, prompt) for note, prompt in used if prompt]
