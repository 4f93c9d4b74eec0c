"""EAR, the advantage by entropy of ETTRL (arXiv 2508.11356): a response of which the policy is surer than of the others
in its group counts more."""

import statistics
from dataclasses import dataclass

from lte_jax.host.credit import Credit, mapped
from lte_jax.method import Method, Source
from lte_jax.records import Advantage, Group


@dataclass(frozen=True)
class Confident(Credit):
    """Y A with Y = max(0, 2 - H_i / mean H), H_i the mean token entropy of the response."""

    METHOD = Method(
        "a response counts by how sure the policy is of it, beside its group",
        "2508.11356",
        Source.EXACT,
        "credits",
        cost="one forward pass over all members",
        ours="no factor below 0, which would turn the sign; hinted members stay as they are and out of the mean, since "
        "on the plain prompt their entropy is not that of drawing them",
    )
    features = ("mean_entropy",)

    def advantages(self, group: Group, values: list[Advantage | None], memory: dict) -> list[Advantage | None]:
        rows = list(zip(values, group.features, group.members, strict=True))
        own = [found["mean_entropy"] for _, found, member in rows if found and not member.off_policy]
        mean = statistics.fmean(own) if own else 0.0
        return [
            value
            if value is None or member.off_policy or not mean
            else self._scaled(value, found["mean_entropy"] / mean)
            for value, found, member in rows
        ]

    def _scaled(self, value: Advantage, share: float) -> Advantage:
        return mapped(value, lambda each: each * max(0.0, 2 - share))
