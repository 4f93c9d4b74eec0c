"""What strategies share that write prompts from contexts."""

from collections.abc import Callable, Sequence

from lte_jax.config import ConfigError
from lte_jax.host.contexts import ANSWERS, TRACE, Told, feedback, share_of
from lte_jax.host.diagnose import wrong_answers
from lte_jax.host.explore import Tools
from lte_jax.host.problems import ProblemError
from lte_jax.host.prompts import PromptBuilder
from lte_jax.records import Group, Problem, Prompt


def told(tools: Tools, name: str, group: Group, share: float = 1.0, notes: tuple[str, ...] = ()) -> Prompt | None:
    """A context's prompt for a group, from its problem, its wrong answers and its first failure of which the verifier
    says why. `share`: of the trace."""
    failure = next((rollout for rollout in group.initial if feedback(rollout)), None)
    filled = Told(
        answer=group.problem.answer,
        trace=share_of(group.problem.trace, share),
        attempt=failure.text if failure else "",
        feedback=feedback(failure) if failure else "",
        answers=_wrong_answers(tools, group) if ANSWERS in tools.prompts.template(name) else (),
        notes=notes,
    )
    return tools.prompts.context(name, group.problem, filled)


def _wrong_answers(tools: Tools, group: Group) -> tuple[str, ...]:
    """Of the first round, as LTE lists them; which are equal may depend on a clock, so it is decided once."""
    hints = tools.config.prompt.hints
    limits = hints.max_answer_chars, hints.max_answers
    made = tools.decisions.decide(group, "answers", lambda: wrong_answers(group.initial, tools.same_answer, *limits))
    return tuple(made)


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
        filled = [Told(problem.answer, problem.trace, "a", "f", ("1",), ("n",)) for problem in problems]
        made = [prompts.context(name, *pair) for pair in zip(problems, filled, strict=True)]
        traces = f"; {n_traces} have a trace" if TRACE in template else ""
        say(f"context {name}: fits {sum(map(bool, made))} of {len(problems)} problems{traces}")
