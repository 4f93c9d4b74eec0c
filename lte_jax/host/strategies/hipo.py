"""HiPO: a problem that is seldom solved is drawn again behind the beginning of an own right response."""

from dataclasses import dataclass, replace

from pydantic import BaseModel, ConfigDict, Field

from lte_jax.host.diagnose import pass_level
from lte_jax.host.explore import Strategy, choices
from lte_jax.host.strategies.places import untrained
from lte_jax.method import Method, Source
from lte_jax.records import Attempt, Group, Origin, Part, PassLevel, Retry


class HipoArgs(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    most_right: float = Field(0.5, gt=0, le=1, description="share of right ones below which a group is drawn again")
    shares: tuple[float, ...] = Field(
        tuple(n / 100 for n in range(5, 50, 5)),
        description="shares of the right response that may be given; one is drawn",
    )


@dataclass(frozen=True)
class Hipo(Strategy):
    """G more behind one beginning, which is not trained; with right and wrong ones they become the group."""

    Args = HipoArgs
    forks = True
    hints = off_policy = False
    METHOD = Method(
        "a seldom solved problem is drawn again behind the beginning of an own right response",
        "",
        Source.RECONSTRUCTED,
        "prefixes",
        cost="G rollouts and verdicts of a group that is seldom solved",
        ours="the new group takes the place of its own problem's, the authors' that of a group without gradient; the "
        "share is drawn from theirs, 5 to 45% in steps of 5",
    )

    def retry(self, group: Group, memory: dict) -> Retry | None:
        decided = [rollout for rollout in group.initial if rollout.decided]
        right = [rollout for rollout in decided if rollout.correct]
        if group.attempts or not 0 < len(right) < self.tools.args.most_right * len(decided):
            return None
        rng, shares = choices(self.config.seed, group, "hipo"), self.tools.args.shares
        whole = right[rng.integers(len(right))]
        n = int(shares[rng.integers(len(shares))] * len(whole.response))
        if not n:
            return None
        return Retry((Part(group.prompt, len(group.initial), untrained(whole.beginning(n))),), Origin.EXTRA, mode=None)

    def merge(self, group: Group, attempt: Attempt) -> Group:
        is_useful = pass_level(attempt.rollouts) is PassLevel.SOME
        members = attempt.rollouts if is_useful else group.members
        return replace(group, members=members, attempts=(*group.attempts, attempt))

    def most_further(self) -> int:
        return self.config.sample.group_size
