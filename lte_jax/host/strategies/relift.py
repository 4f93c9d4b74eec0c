"""ReLIFT (arXiv 2506.07527): none-pass problems wait in a buffer; when it is full, their traces are learned."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field

from lte_jax.host.diagnose import pass_level
from lte_jax.host.explore import Strategy, check_traces
from lte_jax.method import Method, Source
from lte_jax.records import Group, Lesson, PassLevel, Problem


class ReliftArgs(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    size: int = Field(128, ge=1, description="problems that fill the buffer: the worked solutions of a supervised step")


@dataclass(frozen=True)
class Relift(Strategy):
    """GRPO, then at most one supervised step: the mean of log pi over the tokens of `size` worked solutions.

    Memory: ids of problems, the newest first. `buffer`: those that wait; one that fails again is new again. `due`:
    those of this step's supervised step."""

    Args = ReliftArgs
    hints = off_policy = False
    METHOD = Method(
        "none-pass problems wait in a buffer; when it is full, a supervised step on their worked solutions",
        "2506.07527",
        Source.RECONSTRUCTED,
        "tries",
        cost="an update of `size` rows whenever so many problems have failed, no rollout",
        ours="one optimiser for both kinds of step, where the authors' supervised step has moments, learning rate and "
        "gradient norm of its own: a second state would be 8 bytes per parameter. So it counts as an update of the "
        "learning rate's schedule. It has no entropy bonus (theirs 0.001) and weighs all tokens alike (theirs "
        "averages over small groups of responses); a problem waits once, theirs as often as it failed",
        configs=("qwen3-4b-relift.yaml", "qwen3-8b-relift.yaml"),
    )

    def observe(self, memory: dict, groups: Sequence[Group]) -> dict:
        failed = [group.problem.id for group in groups if pass_level(group.initial) is PassLevel.NONE]
        known, size = self.tools.problems, self.tools.args.size
        waiting = dict.fromkeys([*failed, *memory.get("buffer", [])])
        buffer = [id_ for id_ in waiting if id_ in known and known[id_].trace]
        n = size if len(buffer) >= size else 0
        return {"buffer": buffer[n:], "due": buffer[:n]}

    def supervised(self, memory: dict, step: int) -> tuple[Group, ...]:
        due = [self.tools.problems[id_] for id_ in memory["due"]]
        return tuple(self._lesson(problem, step, index) for index, problem in enumerate(due))

    def check(self, problems: Sequence[Problem], say: Callable[[str], None]) -> None:
        check_traces(self.tools, problems, say)

    def shown_prompts(self, problems: Sequence[Problem]) -> dict[str, tuple[int, ...]]:
        trace = next(problem.trace for problem in problems if problem.trace)
        return {"first trace": self.tools.prompts.response(trace)}

    def _lesson(self, problem: Problem, step: int, index: int) -> Group:
        prompt = self.tools.prompts.plain(problem)
        lesson = Lesson(prompt, self.tools.prompts.response(problem.trace))
        return Group(problem, prompt, step, index, initial=(), members=(), lessons=(lesson,))
