"""Fission-GRPO (arXiv 2601.15625): each failed attempt, with what the verifier says of it, is asked to be put right."""

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field

from lte_jax.host.curricula.instances import Entry, Instances
from lte_jax.host.curriculum import Position, taken_before
from lte_jax.method import Method, Source
from lte_jax.records import Group


class FissionArgs(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    share: float = Field(0.25, gt=0, le=1, description="of a step's plans, while the buffer has entries")
    entries: int = Field(256, ge=1, description="failed attempts that are kept, the newest")
    attempt_chars: int = Field(2000, ge=64, description="characters of an attempt that are kept, its middle left out")
    context: str = Field("feedback", description="the prompt that shows the attempt")


@dataclass(frozen=True)
class Fission(Instances):
    """The newest failures first, each once: G recoveries from a prompt that shows it, trained on that prompt."""

    Args = FissionArgs
    METHOD = Method(
        "a failed attempt and the verifier's diagnosis are a problem of their own, from which recoveries are drawn",
        "2601.15625",
        Source.RECONSTRUCTED,
        "instances",
        ours="a quarter of a step, 256 entries and G recoveries, which were not found; the diagnosis is the "
        "verifier's, not a language model's; reward is correctness alone",
    )

    def __post_init__(self):
        self.prompts.template(self.args.context)  # refused now, not when the first attempt has failed

    def picked(self, memory: dict, at: Position, position: int) -> tuple[str, Entry] | None:
        """The k-th such plan of a step, its further draws included, takes the k-th entry."""
        taken = (p for p in range(memory.get("taken", 0), position) if self._is_instance(at, p))
        buffer, k = memory.get("buffer", []), sum(1 for _ in taken)
        if not self._is_instance(at, position) or k >= len(buffer):
            return None
        return self.args.context, buffer[k]

    def observe(self, memory: dict, groups: Sequence[Group]) -> dict:
        """Without what was used, or did not fit; with the failures of plain plans, the last first."""
        start = taken_before(memory, groups, self.config)
        at = Position(self.config.seed, groups[0].step if groups else 0, start)
        n_used = sum(self._is_instance(at, position) for position in range(start, start + len(groups)))
        new = [entry for group in reversed(groups) if self.is_plain(group) for entry in self.failures(group, 0.0)]
        buffer = [*new, *memory.get("buffer", [])[n_used:]][: self.args.entries]
        return {**self.remembered(memory, groups), "buffer": buffer}

    def _is_instance(self, at: Position, position: int) -> bool:
        return self.rng(at, position).random() < self.args.share
