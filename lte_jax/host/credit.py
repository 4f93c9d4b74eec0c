"""Credits: what a member's verdict is worth beyond the verifier's number, before and behind the baseline.

A credit is a frozen record, a subclass of `Credit`, here or in a module of the user's own
(`advantage.credits=[module:Name]`).
Pass levels never read it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import BaseModel

from lte_jax.config import Config, ConfigError
from lte_jax.plugins import arguments, resolve_class
from lte_jax.records import Advantage, Group


@dataclass(frozen=True)
class Credit:
    """By itself it changes nothing. Memory is plain JSON, as of before the step; checkpoints hold it."""

    config: Config
    args: Any = None  # its own settings, as its `Args` validated `advantage.args[name]`

    Args: ClassVar[type[BaseModel] | None] = None

    def rewards(self, group: Group, rewards: list[float], memory: dict) -> list[float]:
        """The rewards of the members that have a verdict, in their order, from those that came before."""
        return rewards

    def advantages(self, group: Group, values: list[Advantage | None], memory: dict) -> list[Advantage | None]:
        """One for each member, from what the baseline and the credits before made; None stays None."""
        return values

    def observe(self, memory: dict, groups: Sequence[Group]) -> dict:
        """The memory after a step."""
        return memory


CREDITS: dict[str, type[Credit]] = {}
Credits = Mapping[str, Credit]  # by name, in the order in which they act


def make_credits(config: Config) -> Credits:
    """Those that `advantage.credits` names, with their own settings. Raises ConfigError."""
    names = config.advantage.credits
    if unused := sorted(set(config.advantage.args) - set(names)):
        raise ConfigError(f"advantage.args: settings for {', '.join(unused)}, which advantage.credits does not name")
    return {name: _make(config, name) for name in names}


def observed(credits_: Credits, memory: dict, groups: Sequence[Group]) -> dict:
    """Every credit's memory after a step, by name."""
    return {name: credit.observe(memory.get(name, {}), groups) for name, credit in credits_.items()}


def _make(config: Config, name: str) -> Credit:
    chosen = resolve_class("advantage.credits", name, CREDITS, Credit)
    return chosen(config, arguments(f"advantage.args.{name}", config.advantage.args.get(name, {}), chosen.Args))
