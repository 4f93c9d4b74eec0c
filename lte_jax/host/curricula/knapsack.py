"""Knapsack RL (arXiv 2509.25849): the step's rollouts go to the problems from which they are likely to be learned."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from heapq import heapify, heapreplace

from pydantic import BaseModel, ConfigDict, Field

from lte_jax.config import ConfigError
from lte_jax.host.curriculum import Curriculum, Position, Shuffled, outcomes, remember
from lte_jax.method import Method, Source
from lte_jax.records import Group, Plan


class KnapsackArgs(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    least: int = Field(2, ge=1, description="rollouts of a problem that is sometimes solved, at least")
    most: int = Field(128, ge=1, description="rollouts of one problem, at most")
    none_solved: int = Field(2, ge=1, description="rollouts of a problem that was never solved, at first")
    all_solved: int = Field(2, ge=1, description="rollouts of a problem that was always solved")
    trusted: int = Field(8, ge=1, description="outcomes from which on a pass rate is believed; before: G rollouts")
    window: int = Field(16, ge=1, description="newest outcomes that count where the last visit had fewer")
    certainty: float = Field(0.9, gt=0, lt=1, description="alpha of the cost, ln(1 - alpha) / ln(max(p, 1 - p))")


@dataclass(frozen=True)
class Knapsack(Curriculum):
    """As shuffled, with problems x G rollouts a step, dealt by the value of a further one."""

    Args = KnapsackArgs
    METHOD = Method(
        "each problem gets as many rollouts as its chance of a useful gradient is worth, under the same total",
        "2509.25849",
        Source.EXACT,
        "curricula",
        ours="greedy, which is exactly optimal, in place of their dynamic programming, which overpays first units; a "
        "surplus goes to problems that are known to be never solved, not to unseen ones",
        configs=("knapsack.yaml",),
    )

    def __post_init__(self):
        group_size, args = self.config.sample.group_size, self.args
        if max(args.least, args.none_solved, args.all_solved) > group_size or args.most < group_size:
            raise ConfigError(
                f"curriculum.args: least, none_solved, all_solved are at most sample.group_size = {group_size}, most "
                f"at least; got {args.least}, {args.none_solved}, {args.all_solved} and {args.most}"
            )

    def choose(self, n: int, at: Position, memory: dict) -> tuple[Plan, ...]:
        plans = Shuffled(self.config, self.problems, self.prompts).choose(n, at, memory)
        rates = [self._rate(memory, plan.problem.id) for plan in plans]
        sizes = dealt(rates, n * self.config.sample.group_size, self.config.sample.group_size, self.args)
        return tuple(replace(plan, n=size) for plan, size in zip(plans, sizes, strict=True))

    def observe(self, memory: dict, groups: Sequence[Group]) -> dict:
        last = dict(memory.get("last", {}))
        for group in groups:
            decided = [rollout.correct for rollout in group.initial if rollout.decided]
            last[group.problem.id] = [sum(decided), len(decided)]
        kept = max(self.args.window, self.config.curriculum.history)
        return {**remember(memory, groups, kept), "last": last}

    def _rate(self, memory: dict, problem_id: str) -> float | None:
        """Of the last visit, or of the newest outcomes where that had few; None: too few in all."""
        right, tried = memory.get("last", {}).get(problem_id, (0, 0))
        if tried >= self.args.window:
            return right / tried
        newest = outcomes(memory, problem_id)[-self.args.window :]
        return newest.count("1") / len(newest) if len(newest) >= self.args.trusted else None


def value(n: int, p: float) -> float:
    """Of n rollouts at pass rate p: the chance of right and wrong ones together, times the gain p (1 - p)^2."""
    return (1 - p**n - (1 - p) ** n) * p * (1 - p) ** 2


def dealt(rates: Sequence[float | None], budget: int, group_size: int, args: KnapsackArgs) -> list[int]:
    """Rollouts of each problem, `budget` in all; None: nothing is known of it."""
    sizes = [
        group_size if p is None else args.none_solved if p == 0 else args.all_solved if p == 1 else args.least
        for p in rates
    ]
    mixed = {place: p for place, p in enumerate(rates) if p is not None and 0 < p < 1}
    rest = budget - sum(sizes)
    wanted = sum(min(_cost(p, args.certainty), args.most) for p in mixed.values())
    left = _by_value(sizes, mixed, min(rest, math.ceil(wanted)), args.most)
    unsolved = [place for place, p in enumerate(rates) if p == 0]
    surplus = rest - min(rest, math.ceil(wanted)) + left
    _evenly(sizes, unsolved or range(len(sizes)), surplus)
    return sizes


def _cost(p: float, certainty: float) -> float:
    """Rollouts after which right and wrong ones are there with this certainty, nearly."""
    return math.log(1 - certainty) / math.log(max(p, 1 - p))


def _by_value(sizes: list[int], rates: dict[int, float], n: int, most: int) -> int:
    """Adds n rollouts where each is worth most, which is the optimum, since the value is concave in n; returns what is
    left when all have `most`."""
    heap = [(_gain(sizes[place], p, most), place) for place, p in rates.items()]
    heapify(heap)
    for given in range(n):
        if not heap or heap[0][0] == math.inf:
            return n - given
        place = heap[0][1]
        sizes[place] += 1
        heapreplace(heap, (_gain(sizes[place], rates[place], most), place))
    return 0


def _gain(n: int, p: float, most: int) -> float:
    """The value of one more, negative, since a heap gives the least; infinite where no more are allowed."""
    return math.inf if n >= most else value(n, p) - value(n + 1, p)


def _evenly(sizes: list[int], places: Sequence[int], n: int) -> None:
    """Adds n rollouts to these problems, the first ones get what does not divide."""
    each, over = divmod(n, len(places))
    for rank, place in enumerate(places):
        sizes[place] += each + (rank < over)
