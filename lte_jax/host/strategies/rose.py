"""ROSE (arXiv 2601.05053): responses one after another, each new, or forked at the most uncertain place so far."""

from dataclasses import dataclass, replace

from pydantic import BaseModel, ConfigDict, Field

from lte_jax.host.explore import Strategy, choices
from lte_jax.host.strategies.places import surprising
from lte_jax.method import Method, Source
from lte_jax.records import Attempt, Group, Origin, Part, Plan, Retry, Rollout


class RoseArgs(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    fresh: float = Field(0.5, ge=0, le=1, description="epsilon: chance that a response is drawn from the prompt")


@dataclass(frozen=True)
class Rose(Strategy):
    """sample.group_size responses, each a round of its own. All are on-policy; with `advantage.credits=[tree]` tokens
    get the differences of their forks' values."""

    Args = RoseArgs
    forks = True
    hints = off_policy = False
    METHOD = Method(
        "responses are drawn one after another, half of them forked at the most uncertain place so far",
        "2601.05053",
        Source.RECONSTRUCTED,
        "prefixes",
        cost="G rounds one after another; prefills of prefixes",
        ours="the released score, entropy times a similarity of likely tokens, prefers certain tokens; here it is "
        "-log p of the drawn token, and no place is forked twice",
    )

    def first(self, plan: Plan, memory: dict) -> tuple[Part, ...]:
        return (Part(plan.prompt, 1),)

    def retry(self, group: Group, memory: dict) -> Retry | None:
        if len(group.members) >= self.config.sample.group_size:
            return None
        is_fresh = choices(self.config.seed, group, "rose").random() < self.tools.args.fresh
        fork = None if is_fresh else self._fork(group.members)
        return Retry((Part(group.prompt, 1, fork and fork[0].beginning(fork[1])),), Origin.EXTRA, mode=None)

    def merge(self, group: Group, attempt: Attempt) -> Group:
        return replace(group, members=(*group.members, *attempt.rollouts), attempts=(*group.attempts, attempt))

    def most_further(self) -> int:
        return self.config.sample.group_size - 1

    def _fork(self, members: tuple[Rollout, ...]) -> tuple[Rollout, int] | None:
        """(response, place) of the most surprising token that is not forked yet; of a fork, only its own tokens
        count."""
        forked = [tuple(map(int, member.response.tokens[: member.n_given])) for member in members if member.n_given]
        found = []
        for member in members:
            taken = frozenset(len(f) for f in forked if tuple(map(int, member.response.tokens[: len(f)])) == f)
            found += [
                (float(member.response.behaviour_logp[p]), n, member, p)
                for n, p in enumerate(surprising(member, 1, taken))
            ]
        best = min(found, key=lambda entry: entry[0], default=None)
        return best and (best[2], best[3])
