"""What became of a group, by its row in rollouts/: written into the row once, and read by every report.

Rows of runs of before have neither entry; `run_files.read_rollouts` adds them.
"""

from collections.abc import Sequence

from lte_jax.records import FailureMode, Origin, Purpose, Status

NO_VERDICT = (Status.TIMEOUT, Status.CRASH)
FAILED = ("rescued", "retried", "failed")  # outcomes of groups whose first round was none-pass


def with_outcome(row: dict) -> dict:
    """The row with `outcome` and, of a none-pass group, its failure `mode`."""
    outcome = _outcome(row)
    return {**row, "outcome": outcome, "mode": _failure_mode(row["rollouts"]) if outcome in FAILED else ""}


def graded_attempts(row: dict) -> list[dict]:
    """Without notes; runs of before there were notes name no purpose."""
    return [attempt for attempt in row["attempts"] if attempt.get("purpose") != Purpose.NOTE]


def _outcome(row: dict) -> str:
    """rescued, retried (in vain), failed (not tried again), some or all: by the first round and what followed.

    A rollout without a verdict counts as neither; undecided: none has one. A given solution rescues nobody.
    """
    decided = [rollout["correct"] for rollout in row["rollouts"] if rollout["status"] not in NO_VERDICT]
    if not decided:
        return "undecided"
    if any(decided):
        return "all" if all(decided) else "some"
    retried = [attempt for attempt in graded_attempts(row) if attempt["origin"] != Origin.TRACE]
    if any(rollout["correct"] for attempt in retried for rollout in attempt["rollouts"]):
        return "rescued"
    return "retried" if retried else "failed"


def _failure_mode(rollouts: Sequence[dict]) -> str:
    """By the first round, as the metrics failure/* have it."""
    n_truncated = sum(rollout["truncated"] for rollout in rollouts)
    if not n_truncated:
        lists = any(rollout["status"] == Status.DIFFERENT for rollout in rollouts)
        return FailureMode.NONE_TRUNCATED if lists else FailureMode.NO_ANSWER
    return FailureMode.ALL_TRUNCATED if n_truncated == len(rollouts) else FailureMode.SOME_TRUNCATED
