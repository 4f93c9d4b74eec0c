"""Which problems a step takes, in what form, and how many rollouts each gets.

A curriculum is a frozen record, a subclass of `Curriculum`: the package's are in `host/curricula/`, your own in a
module of yours (`curriculum.name=module:Name`). Its memory is plain JSON, saved in the checkpoint under a name of its
own, and the same on every process.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import BaseModel

from lte_jax.config import Config, ConfigError
from lte_jax.host.problems import take
from lte_jax.host.prompts import PromptBuilder
from lte_jax.method import Method, Source
from lte_jax.records import Group, Origin, Plan, Problem, Prompt

Prompted = Sequence[tuple[Problem, Prompt]]  # every training problem with its plain prompt


@dataclass(frozen=True)
class Position:
    """Where a run stands when it chooses. `cursor`: plans chosen before, in all steps."""

    seed: int
    step: int
    cursor: int


@dataclass(frozen=True)
class Curriculum:
    """What a curriculum has and does. By itself it remembers nothing."""

    config: Config
    problems: Prompted
    prompts: PromptBuilder  # for forms of its own
    args: Any = None  # its own settings, as its `Args` validated `curriculum.args`

    Args: ClassVar[type[BaseModel] | None] = None
    METHOD: ClassVar[Method | None] = None

    def choose(self, n: int, at: Position, memory: dict) -> tuple[Plan, ...]:
        """The next n plans. A pure function: dynamic sampling calls it again within a step, with another cursor and the
        memory as it was when the step began."""
        raise NotImplementedError(f"{type(self).__name__} lacks `choose`")

    def observe(self, memory: dict, groups: Sequence[Group]) -> dict:
        """The memory after a step, from all groups that it drew. What a rescue made right says nothing of a problem:
        look at the first round (`Group.initial`)."""
        return memory


@dataclass(frozen=True)
class Shuffled(Curriculum):
    """Every problem once per epoch, in an order drawn from (seed, epoch), with G rollouts of its plain prompt each."""

    METHOD = Method("every problem once per epoch, with G rollouts", "", Source.OURS, "curricula")

    def choose(self, n: int, at: Position, memory: dict) -> tuple[Plan, ...]:
        taken = take(self.problems, at.seed, at.cursor, n)
        group_size = self.config.sample.group_size
        return tuple(Plan(problem, prompt, group_size, outcomes(memory, problem.id)) for problem, prompt in taken)

    def observe(self, memory: dict, groups: Sequence[Group]) -> dict:
        return remember(memory, groups, self.config.curriculum.history)


def chosen(curriculum: Curriculum, n: int, at: Position, memory: dict) -> tuple[Plan, ...]:
    """What the curriculum chooses. Raises ConfigError where that is no step: too few plans, too many, or an empty
    one."""
    plans = tuple(curriculum.choose(n, at, memory))
    counts = [plan.n for plan in plans]
    if len(plans) != n or min(counts, default=0) < 1:
        raise ConfigError(
            f"curriculum {type(curriculum).__name__}, step {at.step}: wanted {n} plans of at least 1 rollout, got "
            f"{len(plans)} with {counts} rollouts"
        )
    return plans


def outcomes(memory: dict, problem_id: str) -> str:
    """What is remembered of a problem's first rounds in earlier steps, oldest first: 1 right, 0 wrong."""
    return memory.get("seen", {}).get(problem_id, "")


def taken_before(memory: dict, groups: Sequence[Group], config: Config) -> int:
    """Plans before a step, as `memory["taken"]` counts them; where another curriculum came before, as many as it took
    without re-sampling."""
    return memory.get("taken", groups[0].step * config.problems_per_step if groups else 0)


def estimate(bits: str, prior: float, strength: float) -> float:
    """The pass rate after outcomes such as "011": the mean of a Beta distribution that starts as `strength` outcomes of
    rate `prior`."""
    return (bits.count("1") + strength * prior) / (len(bits) + strength)


def remember(memory: dict, groups: Sequence[Group], most: int) -> dict:
    """The memory with the outcomes of these groups' first rounds, of each problem the last `most`; undecided ones say
    nothing, nor do those that were helped by a hint or a beginning. Characters, since a run may have 100,000 problems
    and a checkpoint is JSON."""
    if not most:
        return memory
    seen = dict(memory.get("seen", {}))
    for group in groups:
        plain = [r for r in group.initial if r.origin is Origin.PLAIN and not r.n_given]
        new = "".join(str(int(rollout.correct)) for rollout in plain if rollout.decided)
        if new:
            seen[group.problem.id] = (seen.get(group.problem.id, "") + new)[-most:]
    return {**memory, "seen": seen}
