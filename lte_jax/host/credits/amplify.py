"""R3L's positive amplification (github.com/shiweijiezero/R3L): what is right counts fully, what is better than the mean
threefold."""

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field

from lte_jax.host.credit import Credit, mapped
from lte_jax.method import Method, Source
from lte_jax.records import Advantage, Group


class AmplifyArgs(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    full: float = Field(1.0, gt=0, description="advantage where the reward is 1 or more")
    factor: float = Field(3.0, gt=0, description="factor on other advantages of 0 or more")


@dataclass(frozen=True)
class Amplify(Credit):
    """A = full where R >= 1, else factor A where A >= 0. Groups that are all right train, too."""

    Args = AmplifyArgs
    METHOD = Method("right responses count fully, others above the mean threefold", "", Source.EXACT, "credits")

    def advantages(self, group: Group, values: list[Advantage | None], memory: dict) -> list[Advantage | None]:
        return [
            value if value is None else self._amplified(value, member.verdict.reward)
            for value, member in zip(values, group.members, strict=True)
        ]

    def _amplified(self, value: Advantage, reward: float) -> Advantage:
        if reward >= 1:
            return mapped(value, lambda each: self.args.full)
        return mapped(value, lambda each: each * self.args.factor if each >= 0 else each)
