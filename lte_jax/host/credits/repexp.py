"""RepExp (arXiv 2510.11686): a small bonus on the reward for how far a response's mean hidden state lies from its
group's others."""

from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from lte_jax.host.credit import Credit
from lte_jax.method import Method, Source
from lte_jax.records import Group


class RepexpArgs(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    beta: float = Field(0.01, ge=0, description="weight of the bonus")
    ridge: float = Field(0.01, gt=0, description="lambda of V = lambda I + sum x x^T")
    dimensions: int = Field(32, ge=1, description="of the random projection (128 for DAPO and AIME)")


@dataclass(frozen=True)
class Repexp(Credit):
    """R + beta x^T V^-1 x, x the mean hidden state, projected and centred in its group; no bonus where no member is
    right."""

    Args = RepexpArgs
    METHOD = Method(
        "a bonus for responses whose mean hidden state is an outlier of their group",
        "2510.11686",
        Source.EXACT,
        "credits",
        cost="one forward pass over all members",
        ours="hidden states of the policy, where the authors take the starting model's. With mean_std a group that is "
        "all right becomes training for diversity at full scale, theirs too",
    )
    features = ("mean_hidden",)

    def rewards(self, group: Group, rewards: list[float], memory: dict) -> list[float]:
        if not any(member.correct for member in group.members):
            return rewards
        hidden_ND = np.stack([np.asarray(found["mean_hidden"], np.float64) for found in group.features if found])
        bonus_N = leverage(self._projected(hidden_ND, group.step), self.args.ridge)
        return [reward + self.args.beta * float(bonus) for reward, bonus in zip(rewards, bonus_N, strict=True)]

    def _projected(self, hidden_ND: np.ndarray, step: int) -> np.ndarray:
        """On few dimensions by a sparse random matrix of density 1 / sqrt(D), drawn anew in each step and the same for
        all groups; as they are where they have no more."""
        n_dimensions = hidden_ND.shape[1]
        if n_dimensions <= self.args.dimensions:
            return hidden_ND
        rng = np.random.default_rng([self.config.seed, step, *b"projection"])
        density, shape = n_dimensions**-0.5, (n_dimensions, self.args.dimensions)
        signs = rng.choice([-1.0, 1.0], shape) * (rng.random(shape) < density)
        return hidden_ND @ signs / np.sqrt(density * self.args.dimensions)


def leverage(x_ND: np.ndarray, ridge: float) -> np.ndarray:
    """x^T (ridge I + sum x x^T)^-1 x of rows that are centred here; 1 at most."""
    x_ND = x_ND - x_ND.mean(axis=0)
    return np.einsum("nd,nd->n", x_ND, np.linalg.solve(ridge * np.eye(x_ND.shape[1]) + x_ND.T @ x_ND, x_ND.T).T)
