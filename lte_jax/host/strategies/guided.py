"""Guided rounds: a group that fails is told the answer, a worked solution or a part of it, and tries again.

EGSR (arXiv 2505.08364), Guide-GRPO (2506.13923) and Scaf-GRPO (2510.19807) are settings of it. What was drawn is
trained on the plain prompt, as LTE's hinted rollouts are.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from lte_jax.host.diagnose import pass_level
from lte_jax.host.explore import Strategy, mix, wants_more
from lte_jax.host.strategies.told import check_contexts, told
from lte_jax.method import Method, Source
from lte_jax.records import Attempt, Group, Origin, PassLevel, Problem, Prompt, Retry


class GuidedArgs(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    contexts: tuple[str, ...] = Field(
        ("trace", "answer"), description="one for each further round; what a problem lacks is passed over"
    )
    shares: tuple[float, ...] = Field((), description="share of the trace that each of them tells; empty: all of it")
    trigger: Literal["none_pass", "near_miss", "every"] = Field(
        "none_pass", description="groups that are guided: none right; some right, but less than half; all"
    )
    n: int = Field(0, ge=0, description="rollouts of a round; 0: as many as the first")
    replace: Literal["correct", "all", "first"] = Field(
        "correct",
        description="what the guided replace: right ones failed members at random, as in LTE; right and wrong ones all "
        "members (Guide-GRPO); one right one the first failed member (Scaf-GRPO)",
    )


@dataclass(frozen=True)
class Guided(Strategy):
    """Further rounds from the contexts, in order, while no guided rollout is right."""

    Args = GuidedArgs
    METHOD = Method(
        "a failed group is told the answer or a worked solution, whole or in growing parts, and tries again",
        "2505.08364, 2506.13923, 2510.19807",
        Source.RECONSTRUCTED,
        "contexts",
        cost="n rollouts and verdicts a round of a guided group",
        ours="EGSR: how many are drawn and what they replace. Guide-GRPO: gamma is loss.gamma, not a quantile of the "
        "batch. Scaf-GRPO: tiers are shares of the trace, one round each; trained on the plain prompt, since the "
        "hinted one says the answer",
    )

    def retry(self, group: Group, memory: dict) -> Retry | None:
        prompts, done = self._prompts(group), len(group.attempts)
        if done >= len(prompts) or not self._is_wanted(group, len(prompts)):
            return None
        n = self.tools.args.n or len(group.initial)
        return Retry.of(prompts[done], n, Origin.HINTED, mode=None)

    def merge(self, group: Group, attempt: Attempt) -> Group:
        how, good = self.tools.args.replace, [rollout for rollout in attempt.rollouts if rollout.correct]
        if how == "correct":
            return mix(group, attempt, self.config)
        members = list(group.members)
        failed = [place for place, member in enumerate(members) if member.decided and not member.correct]
        if how == "all" and good:
            members = list(attempt.rollouts)
        elif good and failed:
            members[failed[0]] = good[0]
        return replace(group, members=tuple(members), attempts=(*group.attempts, attempt))

    def check(self, problems: Sequence[Problem], say: Callable[[str], None]) -> None:
        args = self.tools.args
        if args.shares and len(args.shares) != len(args.contexts):
            raise ValueError(
                f"explore.args: wanted a share for each of the {len(args.contexts)} contexts, got {len(args.shares)}"
            )
        check_contexts(args.contexts, self.tools.prompts, problems, say)

    def most_further(self) -> int:
        return len(self.tools.args.contexts) * (self.tools.args.n or self.config.sample.group_size)

    def _is_wanted(self, group: Group, rounds: int) -> bool:
        if self.tools.args.trigger == "none_pass":
            return wants_more(group, self.config, rounds)
        if any(rollout.correct for attempt in group.attempts for rollout in attempt.rollouts):
            return False
        level, correct = pass_level(group.initial), [rollout.correct for rollout in group.initial if rollout.decided]
        near_miss = level is PassLevel.SOME and 2 * sum(correct) < len(correct)
        return level is not None and (near_miss or self.tools.args.trigger == "every")

    def _prompts(self, group: Group) -> list[Prompt]:
        """Those of the contexts for which the problem has all, and which fit."""
        args = self.tools.args
        shares = args.shares or (1.0,) * len(args.contexts)
        made = [told(self.tools, name, group, share) for name, share in zip(args.contexts, shares, strict=True)]
        return [prompt for prompt in made if prompt]
