"""VERL (arXiv 2509.23808): responses whose hidden states explore, or exploit, more than usual get a bonus on their
advantage. Rank, its velocity and its acceleration are measured on the device (features.rank)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from lte_jax.host.credit import Credit, mapped
from lte_jax.method import Method, Source
from lte_jax.records import Advantage, Group


class VerlArgs(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    gain: float = Field(2.0, gt=0, description="how sharply acceleration decides between rank and velocity")
    kappa: float = Field(2.0, gt=0, description="the bonus is at most |A| / kappa")
    ema: float = Field(0.3, gt=0, le=1, description="weight of the newest step in the moving averages")
    weight: float = Field(1.0, gt=0, description="of the bonus")


@dataclass(frozen=True)
class Verl(Credit):
    """A + min(relu(Phi), |A| / kappa); Phi = b tanh(dev rank) + (1 - b) tanh(dev velocity), b = sigmoid(gain dev
    acceleration), dev(x) = (x - average) / |average|, in [-5, 5]. Only a positive Phi acts, on wrong responses too."""

    Args = VerlArgs
    METHOD = Method(
        "a bonus where the rank of a response's hidden states, or its growth, is above its moving average",
        "2509.23808",
        Source.EXACT,
        "credits",
        cost="one forward pass over all members, and a dozen small eigenproblems for each",
        ours="for the whole response, where the released code shapes its last token; rank over the last 512 tokens; "
        "the averages begin with the first step's, which is not shaped itself, in place of 0",
    )
    features = ("rank",)

    def advantages(self, group: Group, values: list[Advantage | None], memory: dict) -> list[Advantage | None]:
        if "means" not in memory:
            return values
        return [
            value if value is None else self._shaped(value, _phi(found["rank"], memory["means"], self.args.gain))
            for value, found in zip(values, group.features, strict=True)
        ]

    def observe(self, memory: dict, groups: Sequence[Group]) -> dict:
        found = [features["rank"] for group in groups for features in group.features if features]
        if not found:
            return memory
        new, share = np.mean(np.asarray(found, np.float64), axis=0), self.args.ema
        means = new if "means" not in memory else (1 - share) * np.asarray(memory["means"]) + share * new
        return {"means": means.tolist()}

    def _shaped(self, value: Advantage, phi: float) -> Advantage:
        bonus = self.args.weight * max(phi, 0.0)
        return mapped(value, lambda each: each + min(bonus, abs(each) / self.args.kappa))


def _phi(values: Sequence[float], means: Sequence[float], gain: float) -> float:
    rank, velocity, acceleration = (
        min(max((float(value) - mean) / (abs(mean) + 1e-8), -5.0), 5.0)
        for value, mean in zip(values, means, strict=True)
    )
    explores = 1 / (1 + math.exp(-gain * acceleration))
    return explores * math.tanh(rank) + (1 - explores) * math.tanh(velocity)
