"""What a terminal shows of a step's groups: the latest rescue in one line, and sample responses in a table."""

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from lte_jax.records import Group, Origin, Rollout
from lte_jax.terminal.clean import clipped

LONGEST = 400  # characters of a response in the table


def rescue_line(group: Group) -> str | None:
    """Problem, what a further round was told (its list of wrong answers, or its failure mode), and the right answer;
    None where there is none."""
    for attempt in group.attempts:
        right = next((rollout for rollout in attempt.rollouts if rollout.correct), None)
        if right and attempt.retry.origin is Origin.HINTED:
            listed = ", ".join(attempt.retry.answers) or attempt.retry.mode
            told = f"not {clipped(listed, 40)}" if listed else "told more"
            found = right.verdict.extracted or "right"
            return f"{clipped(group.problem.text, 60)}  {told}  ->  {clipped(found, 30)}"
    return None


def sample_table(step: int, groups: Sequence[Group], n: int) -> Table:
    """Responses of `n` groups, spread evenly over the step: a rescued group's right one, else its first."""
    table = Table(title=f"step {step + 1}: sample responses", title_justify="left", show_lines=True, expand=True)
    for name, ratio in (("problem", 3), ("response", 8), ("answer", 2)):
        table.add_column(name, ratio=ratio, overflow="fold")
    for name in ("reward", "prompt"):
        table.add_column(name, width=6)
    n = min(n, len(groups))
    for group in (groups[i * len(groups) // n] for i in range(n)):
        rollout = _shown(group)
        cells = (
            clipped(group.problem.text, LONGEST),
            clipped(rollout.text, LONGEST),
            clipped(rollout.verdict.extracted or "none", 60),
            f"{rollout.verdict.reward:g}",
            str(rollout.origin),
        )
        table.add_row(*map(Text, cells))
    return table


def _shown(group: Group) -> Rollout:
    further = [rollout for attempt in group.attempts for rollout in attempt.rollouts if rollout.correct]
    return next((rollout for rollout in further if rollout.origin is not Origin.TRACE), group.initial[0])
