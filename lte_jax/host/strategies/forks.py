"""ETMR (in ETTRL, arXiv 2508.11356): trees that fork where the next token was uncertain, in place of independent
rollouts."""

from dataclasses import dataclass, replace

from pydantic import BaseModel, ConfigDict, Field

from lte_jax.host.explore import Strategy
from lte_jax.host.strategies.places import surprising
from lte_jax.method import Method, Source
from lte_jax.records import Attempt, Group, Origin, Part, Plan, Retry


class ForksArgs(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    points: int = Field(2, ge=1, description="N: places of each first response that are forked")
    branches: int = Field(2, ge=1, description="B: continuations from each place")


@dataclass(frozen=True)
class Forks(Strategy):
    """M responses, then B from each of the N most uncertain places of each: M (1 + B N) members, as many as the plan
    has or a few less. All are on-policy."""

    Args = ForksArgs
    forks = True
    hints = off_policy = False
    METHOD = Method(
        "responses fork where the next token was uncertain, and share what is before",
        "2508.11356",
        Source.RECONSTRUCTED,
        "prefixes",
        cost="fewer tokens: (1 + B N / 2) / (1 + B N) of independent ones where forks are uniform; prefills of "
        "prefixes",
        ours="a place's uncertainty is -log p of the token that was drawn there, not its entropy; shared tokens are "
        "trained once in each response; with explore.labels=majority the first responses vote, not all leaves",
        configs=("etmr.yaml",),
    )

    def first(self, plan: Plan, memory: dict) -> tuple[Part, ...]:
        args = self.tools.args
        return (Part(plan.prompt, max(1, plan.n // (1 + args.points * args.branches))),)

    def retry(self, group: Group, memory: dict) -> Retry | None:
        if group.attempts:
            return None
        args = self.tools.args
        parts = tuple(
            Part(group.prompt, args.branches, tree.beginning(place))
            for tree in group.initial
            for place in sorted(surprising(tree, args.points))
        )
        return Retry(parts, Origin.EXTRA, mode=None) if parts else None

    def merge(self, group: Group, attempt: Attempt) -> Group:
        return replace(group, members=(*group.members, *attempt.rollouts), attempts=(*group.attempts, attempt))

    def most_further(self) -> int:
        n = self.tools.args.points * self.tools.args.branches
        return max(1, self.config.sample.group_size // (1 + n)) * n
