"""Rewards by length, and what repetition costs (arXiv 2502.03373; github.com/eddycmu/demystify-long-cot)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field

from lte_jax.host.credit import Credit
from lte_jax.method import Method, Source
from lte_jax.records import Advantage, Group, Rollout


class CosineArgs(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    right_short: float = Field(2.0, description="reward of a right response of no length")
    right_long: float = Field(1.0, description="of one of the whole budget")
    wrong_short: float = Field(-10.0, description="of a wrong response of no length")
    wrong_long: float = Field(0.0, description="of one of the whole budget")
    exceeded: float = Field(-10.0, description="right or wrong, within `margin` tokens of the budget")
    margin: int = Field(16, ge=0, description="tokens")


@dataclass(frozen=True)
class Cosine(Credit):
    """long + (short - long) (1 + cos(pi length / L)) / 2 in place of the verdict's number: what is right earns more
    where it is short, what is wrong loses less where it is long."""

    Args = CosineArgs
    METHOD = Method(
        "right responses earn more when short, wrong ones lose less when long",
        "2502.03373",
        Source.EXACT,
        "credits",
        ours="with GRPO's baseline in place of a critic; a none-pass group of unequal lengths has variance then",
    )

    def rewards(self, group: Group, rewards: list[float], memory: dict) -> list[float]:
        decided = [member for member in group.members if member.decided]
        return [
            reward - member.verdict.reward + self._reward(member)
            for reward, member in zip(rewards, decided, strict=True)
        ]

    def _reward(self, member: Rollout) -> float:
        args, n, budget = self.args, len(member.response), self.config.sample.response_budget
        if n + args.margin >= budget:
            return args.exceeded
        short, long = (args.right_short, args.right_long) if member.correct else (args.wrong_short, args.wrong_long)
        return long + (short - long) * (1 + math.cos(math.pi * n / budget)) / 2


class RepetitionArgs(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    n: int = Field(40, ge=1, description="tokens that repeat, at least")
    penalty: float = Field(-0.05, le=0, description="reward of each token of a repetition")
    discount: float = Field(0.99, gt=0, le=1, description="of what a later token costs")


@dataclass(frozen=True)
class Repetition(Credit):
    """A_t + sum_k discount^k penalty_(t + k): each token inside an n-gram that was there before costs, behind the
    baseline."""

    Args = RepetitionArgs
    METHOD = Method(
        "each token of a repeated n-gram costs a little, and so do those that led there",
        "2502.03373",
        Source.EXACT,
        "credits",
        ours="added to GRPO's advantage, where the authors have a critic",
    )

    def advantages(self, group: Group, values: list[Advantage | None], memory: dict) -> list[Advantage | None]:
        return [
            value if value is None else added(value, self._returns(member.response.tokens))
            for value, member in zip(values, group.members, strict=True)
        ]

    def _returns(self, tokens: Sequence[int]) -> list[float]:
        """Discounted cost from each token on; empty where nothing repeats."""
        repeated = repeated_tokens(tokens, self.args.n)
        if not any(repeated):
            return []
        returns, total = [], 0.0
        for is_repeated in reversed(repeated):
            total = self.args.penalty * is_repeated + self.args.discount * total
            returns.append(total)
        return returns[::-1]


def repeated_tokens(tokens: Sequence[int], n: int) -> list[bool]:
    """Whether each token lies in an n-gram that stands earlier in the response, too."""
    ids = tuple(map(int, tokens))
    seen, repeated = set(), [False] * len(ids)
    for start in range(len(ids) - n + 1):
        gram = ids[start : start + n]
        if gram in seen:
            repeated[start : start + n] = [True] * n
        seen.add(gram)
    return repeated


def added(value: Advantage, costs: Sequence[float]) -> Advantage:
    """The advantage with a number more for each token; a segment for each change."""
    if not costs:
        return value
    segments = value if isinstance(value, tuple) else ((0, value),)
    ends = [start for start, _ in segments[1:]] + [len(costs)]
    summed = [
        (place, base + costs[place])
        for (start, base), end in zip(segments, ends, strict=True)
        for place in range(start, end)
    ]
    return tuple(each for n, each in enumerate(summed) if not n or each[1] != summed[n - 1][1])
