"""ACE: a wrong response that training has made likelier than the starting model had it is punished harder
(arXiv 2602.21420).
"""

import math
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from lte_jax.host.credit import Credit, mapped
from lte_jax.method import Method, Source
from lte_jax.records import Advantage, Group, Kind, Rollout


class AceArgs(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    alpha: float = Field(1.0, gt=0, description="what the softplus is multiplied with")
    confidence: Literal["sum", "mean"] = Field("sum", description="of the shift over the response's tokens")
    limit: float = Field(10.0, gt=0, description="most of the shift that counts: a sum over 8,000 tokens reaches 100")


@dataclass(frozen=True)
class Ace(Credit):
    """A (1 + alpha softplus(c)) where A < 0, with c = log pi(y | x) - log pi_ref(y | x) before the step's first update;
    other advantages stay. At c = 0 the factor is 1 + 0.693 alpha."""

    Args = AceArgs
    METHOD = Method(
        "a wrong response that training has made likelier is punished harder",
        "2602.21420",
        Source.RECONSTRUCTED,
        "credits",
        cost="one forward pass of policy and starting model over all members",
        ours="the abstract says that negative advantages are scaled by a softplus of the shift; the form 1 + alpha "
        "softplus(c), alpha, the mean and the limit",
    )
    features = ("shift",)

    def advantages(self, group: Group, values: list[Advantage | None], memory: dict) -> list[Advantage | None]:
        return [
            value if value is None else self._punished(value, shift["shift"], rollout)
            for value, shift, rollout in zip(values, group.features, group.members, strict=True)
        ]

    def _punished(self, value: Advantage, shift: float, rollout: Rollout) -> Advantage:
        if self.args.confidence == "mean":
            shift /= max(1, sum(span.n for span in rollout.spans if span.kind is not Kind.UNTRAINED))
        shift = min(max(shift, -self.args.limit), self.args.limit)
        factor = 1 + self.args.alpha * math.log1p(math.exp(shift))
        return mapped(value, lambda each: each * factor if each < 0 else each)
