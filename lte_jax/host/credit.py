"""Credits: what a member's verdict is worth beyond the verifier's number, before and behind the baseline.

A credit is a frozen record, a subclass of `Credit`, in `credits/` or in a module of the user's own
(`advantage.credits=[module:Name]`). Pass levels never read it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import BaseModel

from lte_jax.config import Config
from lte_jax.records import Advantage, Group


@dataclass(frozen=True)
class Credit:
    """By itself it changes nothing. Memory is plain JSON, as of before the step; checkpoints hold it.

    `features` names what it reads of `group.features`: of device/features.py, or `module:Name` of the user's own."""

    config: Config
    args: Any = None  # its own settings, as its `Args` validated `advantage.args[name]`

    Args: ClassVar[type[BaseModel] | None] = None
    features: ClassVar[tuple[str, ...]] = ()

    def rewards(self, group: Group, rewards: list[float], memory: dict) -> list[float]:
        """The rewards of the members that have a verdict, in their order, from those that came before."""
        return rewards

    def advantages(self, group: Group, values: list[Advantage | None], memory: dict) -> list[Advantage | None]:
        """One for each member, from what the baseline and the credits before made; None stays None."""
        return values

    def observe(self, memory: dict, groups: Sequence[Group]) -> dict:
        """The memory after a step."""
        return memory


def mapped(value: Advantage, change: Callable[[float], float]) -> Advantage:
    """The advantage with its number, or each segment's, changed."""
    return tuple((start, change(each)) for start, each in value) if isinstance(value, tuple) else change(value)
