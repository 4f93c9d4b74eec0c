"""What strategies share that write prompts from contexts."""

from collections.abc import Callable, Sequence

from lte_jax.config import ConfigError
from lte_jax.host.contexts import TRACE, Told, feedback, share_of
from lte_jax.host.problems import ProblemError
from lte_jax.host.prompts import PromptBuilder
from lte_jax.records import Group, Problem, Rollout


def first_failure(group: Group) -> Rollout | None:
    """The first attempt of the first round that is wrong, and of which the verifier says why."""
    return next((rollout for rollout in group.initial if feedback(rollout)), None)


def told_of(group: Group, share: float = 1.0) -> Told:
    """What is known of a group's problem, and of its first failure. `share`: of the trace."""
    failure = first_failure(group)
    problem = group.problem
    trace = share_of(problem.trace, share)
    said = {"attempt": failure.text, "feedback": feedback(failure)} if failure else {}
    return Told(answer=problem.answer, trace=trace, **said)


def check_contexts(
    names: Sequence[str], prompts: PromptBuilder, problems: Sequence[Problem], say: Callable[[str], None]
) -> None:
    """Refuses contexts that nobody wrote, and where none of the problems can be told anything; says how many can."""
    if not names:
        raise ConfigError("explore.args: wanted at least one context, got none")
    templates = {name: prompts.template(name) for name in names}
    n_traces = sum(bool(problem.trace) for problem in problems)
    if not n_traces and all(TRACE in template for template in templates.values()):
        raise ProblemError(f"contexts {', '.join(names)} tell a trace, a worked solution; none of the problems has one")
    for name, template in templates.items():
        told = [Told(problem.answer, problem.trace, "a", "f", ("1",), ("n",)) for problem in problems]
        made = [prompts.context(name, *pair) for pair in zip(problems, told, strict=True)]
        traces = f"; {n_traces} have a trace" if TRACE in template else ""
        say(f"context {name}: fits {sum(map(bool, made))} of {len(problems)} problems{traces}")
