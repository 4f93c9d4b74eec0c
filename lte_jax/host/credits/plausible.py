"""A floor on how likely a hinted response must be on the plain prompt, beside its verdict: one that was told the answer
is nearly always right, so that its verdict says little. EGSR (arXiv 2505.08364) goes by perplexity."""

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field

from lte_jax.host.credit import Credit
from lte_jax.method import Method, Source
from lte_jax.records import Advantage, Group, Origin


class PlausibleArgs(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    floor: float = Field(-1.0, le=0, description="least mean over its tokens of log r', nats: plain over hinted prompt")


@dataclass(frozen=True)
class Plausible(Credit):
    """Hinted members below the floor leave update and Z; their reward stays in the group's baseline."""

    Args = PlausibleArgs
    METHOD = Method(
        "hinted responses that are too unlikely on the plain prompt are not learned from",
        "2505.08364",
        Source.RECONSTRUCTED,
        "contexts",
        cost="one forward pass over all members",
        ours="a floor on the mean log r', where EGSR takes the one of least perplexity",
    )
    features = ("hint_ratio",)

    def advantages(self, group: Group, values: list[Advantage | None], memory: dict) -> list[Advantage | None]:
        rows = zip(values, group.features, group.members, strict=True)
        return [None if self._is_implausible(found, member) else value for value, found, member in rows]

    def _is_implausible(self, found, member) -> bool:
        return member.origin is Origin.HINTED and bool(found) and found["hint_ratio"] < self.args.floor
