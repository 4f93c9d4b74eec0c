"""ExPO (arXiv 2507.02834): the model's own explanation of the known answer is made likelier on the plain prompt."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from lte_jax.host.diagnose import pass_level
from lte_jax.host.explore import Strategy
from lte_jax.host.strategies.told import check_contexts, told
from lte_jax.method import Method, Source
from lte_jax.records import Attempt, Group, Lesson, Origin, PassLevel, Problem, Retry


class ExpoArgs(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    context: str = Field("answer", description="what the explanations are drawn from")
    n: int = Field(1, ge=1, description="explanations of a group")
    beta: float = Field(0.1, ge=0, description="weight of the explanations' log-likelihood")
    decay: Literal["linear", "none"] = Field("linear", description="beta over training: to 0 at the last step, or kept")
    trigger: Literal["every", "none_pass"] = Field("every", description="groups that get explanations")


@dataclass(frozen=True)
class Expo(Strategy):
    """ExP-GRPO: GRPO's objective + beta log pi(explanation | plain prompt). Members stay as they are drawn."""

    Args = ExpoArgs
    off_policy = False  # explanations are no members
    METHOD = Method(
        "an own explanation of the known answer is learned by its likelihood, beside GRPO",
        "2507.02834",
        Source.RECONSTRUCTED,
        "contexts",
        cost="n rollouts and verdicts a group, one row of the update each",
        ours="beta = 0.1, which was not found; only explanations that the verifier finds right are learned; the "
        "variant with DPO is left out",
    )

    def retry(self, group: Group, memory: dict) -> Retry | None:
        level, args = pass_level(group.initial), self.tools.args
        is_wanted = level is PassLevel.NONE or (level is not None and args.trigger == "every")
        if group.attempts or not is_wanted or not self._beta(group.step):
            return None
        prompt = told(self.tools, args.context, group)
        return prompt and Retry.of(prompt, args.n, Origin.HINTED, mode=None)

    def merge(self, group: Group, attempt: Attempt) -> Group:
        beta = self._beta(group.step)
        lessons = [
            Lesson(group.prompt, tuple(map(int, r.response.tokens)), beta) for r in attempt.rollouts if r.correct
        ]
        return replace(group, attempts=(*group.attempts, attempt), lessons=(*group.lessons, *lessons))

    def check(self, problems: Sequence[Problem], say: Callable[[str], None]) -> None:
        check_contexts([self.tools.args.context], self.tools.prompts, problems, say)

    def most_further(self) -> int:
        return self.tools.args.n

    def _beta(self, step: int) -> float:
        left = 1 - step / self.config.steps if self.tools.args.decay == "linear" else 1.0
        return self.tools.args.beta * max(0.0, left)
