"""R3L: reflect, then retry. Each failed attempt is criticised by the model itself and tried again under the critique;
the retry is trained without it. (github.com/shiweijiezero/R3L; arXiv id not found.)"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from pydantic import BaseModel, ConfigDict, Field

from lte_jax.host.contexts import Told, feedback
from lte_jax.host.explore import Strategy
from lte_jax.host.strategies.told import check_contexts
from lte_jax.method import Method, Source
from lte_jax.records import (
    Attempt,
    Group,
    Kind,
    Lesson,
    Origin,
    Part,
    Plan,
    Problem,
    Prompt,
    Purpose,
    Retry,
    Rollout,
    Span,
)


class ReflectArgs(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    ask: str = Field("critique", description="context that asks for a critique of an attempt")
    use: str = Field("notes", description="context that the critique is used in, as {notes}")
    pivotal: bool = Field(True, description="tokens that a retry and its attempt begin with alike are not trained")
    lessons: float = Field(
        1.0, ge=0, description="weight of critiques, and of retries under them, that put an attempt right"
    )


@dataclass(frozen=True)
class Reflect(Strategy):
    """Half of G attempts; for each wrong one a critique and a retry, which are members too, right or wrong."""

    Args = ReflectArgs
    METHOD = Method(
        "each failed attempt is criticised by the model itself and tried again; both are members",
        "",
        Source.RECONSTRUCTED,
        "notes",
        cost="a critique and a rollout for each wrong attempt of G / 2: as many tokens as G attempts",
        ours="a critique is free text and only of wrong attempts, the authors' is JSON of all; the pivot is where the "
        "tokens of attempt and retry part, the authors' a turn that the critique names. Theirs with "
        "advantage.credits=[amplify], advantage.baseline=mean, loss.hinted_objective=uncorrected",
        configs=("r3l.yaml",),
    )

    def first(self, plan: Plan, memory: dict) -> tuple[Part, ...]:
        return (Part(plan.prompt, max(1, plan.n // 2)),)

    def retry(self, group: Group, memory: dict) -> Retry | None:
        if not group.attempts:
            asked = tuple(Part(prompt, 1) for _, prompt in self._asked(group))
            return Retry(asked, Origin.HINTED, None, purpose=Purpose.NOTE) if asked else None
        if group.retries:
            return None
        used = tuple(Part(prompt, 1) for *_, prompt in self._used(group))
        return Retry(used, Origin.HINTED, mode=None) if used else None

    def merge(self, group: Group, attempt: Attempt) -> Group:
        members, lessons, weight = list(group.members), [], self.tools.args.lessons
        for (place, note, _), again in zip(self._used(group), attempt.rollouts, strict=True):
            if again.correct and weight:
                lessons += [Lesson(row.prompt, tuple(map(int, row.response.tokens)), weight) for row in (note, again)]
            n = _alike(members[place], again) if self.tools.args.pivotal else 0
            members[place], again = (without_beginning(each, n) for each in (members[place], again))
            members.append(again)
        rollouts = tuple(members[len(group.members) :])
        return replace(
            group,
            initial=tuple(members[: len(group.initial)]),
            members=tuple(members),
            attempts=(*group.attempts, replace(attempt, rollouts=rollouts)),
            lessons=(*group.lessons, *lessons),
        )

    def check(self, problems: Sequence[Problem], say: Callable[[str], None]) -> None:
        check_contexts([self.tools.args.ask, self.tools.args.use], self.tools.prompts, problems, say)

    def most_further(self) -> int:
        return self.config.sample.group_size // 2 * 2

    def _asked(self, group: Group) -> list[tuple[int, Prompt]]:
        """(place of a wrong attempt, prompt that asks for its critique)."""
        told = [
            (place, Told(attempt=r.text, feedback=feedback(r))) for place, r in enumerate(group.initial) if feedback(r)
        ]
        made = [(place, self.tools.prompts.context(self.tools.args.ask, group.problem, each)) for place, each in told]
        return [(place, prompt) for place, prompt in made if prompt]

    def _used(self, group: Group) -> list[tuple[int, Rollout, Prompt]]:
        """(place of the attempt, its critique, prompt that the critique is used in)."""
        found = []
        for (place, _), note in zip(self._asked(group), group.notes, strict=True):
            told = Told(
                attempt=group.initial[place].text, feedback=feedback(group.initial[place]), notes=(note.text.strip(),)
            )
            if note.text.strip() and (prompt := self.tools.prompts.context(self.tools.args.use, group.problem, told)):
                found.append((place, note, prompt))
        return found


def _alike(one: Rollout, other: Rollout) -> int:
    """Tokens that both begin with."""
    pairs = list(zip(one.response.tokens, other.response.tokens, strict=False))
    return next((place for place, (a, b) in enumerate(pairs) if a != b), len(pairs))


def without_beginning(rollout: Rollout, n: int) -> Rollout:
    """The rollout, its first n tokens not trained, or more where they were not before."""
    spans, left = [Span(n, Kind.UNTRAINED)] if n else [], n
    for span in rollout.spans:
        skipped = min(span.n, left)
        left -= skipped
        spans += [Span(span.n - skipped, span.kind)] if span.n > skipped else []
    return replace(rollout, kinds=tuple(spans)) if n else rollout
