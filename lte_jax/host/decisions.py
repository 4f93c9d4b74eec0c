"""Decisions that a clock can change, made once: written with the group, and read again when a step is made again.

A comparison may time out; what was decided then must hold when the same step is made again after a stop, or the
continued run would be another one.
"""

from collections.abc import Callable, Mapping
from typing import Any

from lte_jax.records import Group

Recorded = Mapping[tuple[int, int], Mapping[str, Any]]  # (step, group) -> what was decided, by name


class Decisions:
    """Asked for with the group, the rounds that it has had, and a name. What is decided is plain JSON."""

    def __init__(self, recorded: Recorded | None = None):
        self._recorded = recorded or {}
        self._made: dict[tuple[int, int], dict[str, Any]] = {}

    def decide(self, group: Group, name: str, make: Callable[[], Any]) -> Any:
        """What was recorded for it, else what `make` gives now."""
        key, made = f"{len(group.attempts)}/{name}", self._made.setdefault((group.step, group.index), {})
        if key not in made:
            recorded = self._recorded.get((group.step, group.index), {})
            made[key] = recorded[key] if key in recorded else make()
        return made[key]

    def taken(self, group: Group) -> dict[str, Any]:
        """All that was decided for a finished group, which is forgotten here."""
        return self._made.pop((group.step, group.index), {})
