"""DeepSearch's buffer (arXiv 2509.25454): right responses of problems that are seldom solved come back with the
problem."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pydantic import BaseModel, ConfigDict, Field

from lte_jax.host.explore import Strategy
from lte_jax.method import Method, Source
from lte_jax.records import Attempt, Given, Group, Kind, Origin, Part, Retry, Span


class SolvedArgs(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    most_right: float = Field(
        0.25, gt=0, lt=1, description="share of right ones in a first round up to which they are kept"
    )
    most: int = Field(4, ge=1, description="kept responses of a problem, the newest; at most G - 1 of them are used")
    tokens: int = Field(200_000, ge=1, description="tokens that are kept in all; the oldest problems go first")


@dataclass(frozen=True)
class Solved(Strategy):
    """k kept right responses take the place of a group's first k members, whatever those are.

    Memory: `solved`, id -> [[tokens, behaviour log-probs, sampled log-probs], ...], the oldest problem first."""

    Args = SolvedArgs
    hints = False
    METHOD = Method(
        "right responses of seldom solved problems are kept and come back with the problem",
        "2509.25454",
        Source.RECONSTRUCTED,
        "prefixes",
        cost="up to G - 1 verdicts a group, no rollout",
        ours="the buffer without the tree search; kept responses are off-policy with the log-probs of their drawing, "
        "where the authors take them for on-policy, and one own response stays in the group",
    )

    def retry(self, group: Group, memory: dict) -> Retry | None:
        kept = memory.get("solved", {}).get(group.problem.id, [])[: len(group.initial) - 1]
        if group.attempts or not kept:
            return None
        given = (
            Given(tuple(tokens), tuple(logp), tuple(sampled), (Span(len(tokens), Kind.OFF_POLICY),), whole=True)
            for tokens, logp, sampled in kept
        )
        return Retry(tuple(Part(group.prompt, 1, each) for each in given), Origin.TRACE, mode=None)

    def merge(self, group: Group, attempt: Attempt) -> Group:
        n = len(attempt.rollouts)
        return replace(group, members=(*attempt.rollouts, *group.members[n:]), attempts=(*group.attempts, attempt))

    def observe(self, memory: dict, groups: Sequence[Group]) -> dict:
        solved = dict(memory.get("solved", {}))
        for group in groups:
            decided = [rollout for rollout in group.initial if rollout.decided]
            right = [_kept(rollout.response) for rollout in decided if rollout.correct]
            if right and len(right) <= self.args.most_right * len(decided):
                older = solved.pop(group.problem.id, [])
                solved[group.problem.id] = [*right, *older][: self.args.most]
            elif right:
                solved.pop(group.problem.id, None)  # it is solved often enough
        while sum(len(entry[0]) for entries in solved.values() for entry in entries) > self.args.tokens:
            solved.pop(next(iter(solved)))
        return {"solved": solved}

    @property
    def args(self) -> SolvedArgs:
        return self.tools.args


def _kept(response) -> list[list]:
    behaviour, sampled = (
        [round(float(logp), 5) for logp in row] for row in (response.behaviour_logp, response.sampled_logp)
    )
    return [[int(token) for token in response.tokens], behaviour, sampled]
