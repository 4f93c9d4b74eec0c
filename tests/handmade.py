"""Records written out by hand, for tests that need a rollout or a group but no model."""

from collections.abc import Sequence
from dataclasses import replace

from lte_jax.records import Advantage, Group, Origin, Problem, Prompt, Response, Rollout, Status, Verdict

PROMPT = Prompt("plain", (5, 6, 7))
HINTED = Prompt("hinted", (8, 9, 8, 9, 8))


def verdict(status: Status, extracted: str | None = None) -> Verdict:
    return Verdict(correct=status is Status.EQUAL, status=status, gold="42", extracted=extracted)


def right(**fields) -> Rollout:
    return rollout(Status.EQUAL, "42", **fields)


def wrong(answer: str | None = "0", **fields) -> Rollout:
    return rollout(Status.DIFFERENT, answer, **fields)


def rollout(
    status: Status | None,
    extracted: str | None = None,
    tokens: Sequence[int] = (1, 2),
    logp: Sequence[float] | None = None,
    truncated: bool = False,
    origin: Origin = Origin.PLAIN,
    text: str = "",
    index: int = 0,
    round: int = 0,
) -> Rollout:
    """`status` None: not yet graded. The prompt follows from the origin."""
    logp = [-1.0 - 0.1 * place for place in range(len(tokens))] if logp is None else logp
    return Rollout(
        prompt=HINTED if origin is Origin.HINTED else PROMPT,
        origin=origin,
        round=round,
        index=index,
        response=Response(tuple(tokens), tuple(logp), tuple(logp), truncated),
        text=text,
        verdict=None if status is None else verdict(status, extracted),
    )


def group(*rollouts: Rollout, step: int = 0, index: int = 0, advantages: Sequence[Advantage | None] = ()) -> Group:
    """A group whose members are its first round, numbered in order."""
    numbered = tuple(replace(r, index=place) for place, r in enumerate(rollouts))
    problem = Problem(f"p{index}", "six times seven", "42")
    return Group(problem, PROMPT, step, index, initial=numbered, members=numbered, advantages=tuple(advantages))
