"""ROSE's credit for trees (arXiv 2601.05053): the tokens between two forks get the difference of the forks' values."""

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field

from lte_jax.host.credit import Credit
from lte_jax.method import Method, Source
from lte_jax.records import Advantage, Group, Rollout

Path = list[tuple[int, float]]  # (tokens to the fork, its value), the root first


class TreeArgs(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    alpha: float = Field(
        0.0, ge=0, description="calibration of right responses by their length; 0: none, as the released script"
    )


@dataclass(frozen=True)
class Tree(Credit):
    """The value of a fork is the mean reward of all responses through it. In place of the baseline's advantages."""

    Args = TreeArgs
    METHOD = Method(
        "tokens between two forks of a tree of responses get the difference of the forks' values",
        "2601.05053",
        Source.EXACT,
        "prefixes",
        ours="a fork is known by the tokens that lead to it, the authors' by its place alone, so that forks of "
        "different parents share a value; hinted responses count as any",
    )

    def advantages(self, group: Group, values: list[Advantage | None], memory: dict) -> list[Advantage | None]:
        decided = [member for member in group.members if member.decided]
        forks = {tuple(map(int, member.response.tokens[: member.n_given])) for member in decided}
        paths = {id(member): path_of(member, forks, decided) for member in decided}
        return [
            value if value is None else self._credit(member, paths, decided)
            for value, member in zip(values, group.members, strict=True)
        ]

    def _credit(self, member: Rollout, paths: dict[int, Path], decided: Sequence[Rollout]) -> Advantage:
        path, reward = paths[id(member)], member.verdict.reward
        ends = [*(value for _, value in path[1:]), reward]
        credit = tuple((start, after - value) for (start, value), after in zip(path, ends, strict=True))
        return self._calibrated(member, credit, path, decided)

    def _calibrated(self, member: Rollout, credit: tuple, path: Path, decided: Sequence[Rollout]) -> Advantage:
        """A right response that is longer than the shortest right one loses |A| (1 - (l_short / l)^alpha) behind the
        last fork that both pass."""
        right = [each for each in decided if each.correct]
        if not self.args.alpha or not member.correct or not right:
            return credit
        short = min(right, key=lambda each: len(each.response))
        n, n_short = len(member.response), len(short.response)
        common = [start for start, _ in path if _begins_with(short, tuple(map(int, member.response.tokens[:start])))]
        last = max(common)
        if n <= n_short:
            return credit
        loss = 1 - (max(n_short - last, 0) / (n - last)) ** self.args.alpha
        return tuple((start, value - abs(value) * loss if start >= last else value) for start, value in credit)


def path_of(member: Rollout, forks: set[tuple[int, ...]], decided: Sequence[Rollout]) -> Path:
    """The forks that a response passes, with their values: the root, then each that is shorter than it."""
    passed = sorted(fork for fork in {(), *forks} if len(fork) < len(member.response) and _begins_with(member, fork))
    passed.sort(key=len)
    return [(len(fork), _value([each for each in decided if _begins_with(each, fork)])) for fork in passed]


def _begins_with(member: Rollout, tokens: tuple[int, ...]) -> bool:
    return tuple(map(int, member.response.tokens[: len(tokens)])) == tokens


def _value(rollouts: Sequence[Rollout]) -> float:
    return sum(rollout.verdict.reward for rollout in rollouts) / len(rollouts)
