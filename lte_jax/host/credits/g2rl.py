"""G2RL (arXiv 2512.15687): a response whose direction of learning the group's good members do not explain has its
reward scaled up. Directions are measured on the device (features.sensitivity)."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from lte_jax.host.credit import Credit
from lte_jax.method import Method, Source
from lte_jax.records import Group


class G2rlArgs(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    strength: float = Field(0.5, ge=0, description="lambda, which the paper does not give")
    limit: float = Field(3.0, gt=0, description="largest scaled reward, by magnitude")
    sign: Literal["told", "written"] = Field(
        "told", description="a wrong novel response: told: is punished harder; written: less, as the formula has it"
    )


@dataclass(frozen=True)
class G2rl(Credit):
    """clip(r (1 + lambda s nu)), r = 2 R - 1, s = 1 (told) or r (written); nu, min-max over the group of
    max(1 - sum_j w_ij cos_ij^2, 0), w_ij the softmax of the others' r."""

    Args = G2rlArgs
    METHOD = Method(
        "responses that would move the policy in a new direction have their reward scaled up",
        "2512.15687",
        Source.EXACT,
        "credits",
        cost="one forward pass over all members and one more product with the head",
        ours="lambda; text and formula disagree on wrong responses, and the text is the default. Groups of one reward "
        "get an advantage from novelty alone, at full scale with mean_std",
    )
    features = ("sensitivity",)

    def rewards(self, group: Group, rewards: list[float], memory: dict) -> list[float]:
        if not rewards:
            return rewards
        phi_ND = np.stack([np.asarray(found["sensitivity"], np.float64) for found in group.features if found])
        r_N = 2 * np.asarray(rewards) - 1
        signed_N = r_N if self.args.sign == "written" else np.ones_like(r_N)
        scaled_N = r_N * (1 + self.args.strength * signed_N * novelty(phi_ND, r_N))
        return np.clip(scaled_N, -self.args.limit, self.args.limit).tolist()


def novelty(phi_ND: np.ndarray, r_N: np.ndarray) -> np.ndarray:
    """In [0, 1], of each response in its group; 0 for all where they do not differ."""
    unit_ND = phi_ND / np.maximum(np.linalg.norm(phi_ND, axis=1, keepdims=True), 1e-12)
    weight_NN = np.exp(r_N - r_N.max()) * (1 - np.eye(len(r_N)))  # of the others
    weight_NN /= np.maximum(weight_NN.sum(axis=1, keepdims=True), 1e-300)
    nu_N = np.maximum(1 - (weight_NN * (unit_ND @ unit_ND.T) ** 2).sum(axis=1), 0.0)
    spread = nu_N.max() - nu_N.min()
    return (nu_N - nu_N.min()) / spread if spread > 1e-9 else np.zeros_like(nu_N)
