"""What a stopped run has on disk beyond its checkpoint: verdicts and decisions that the repeated steps take over."""

from itertools import groupby
from pathlib import Path

from lte_jax.records import Status, Verdict
from lte_jax.storage.outcomes import graded_attempts
from lte_jax.storage.run_files import read_rollouts


def read_recorded(run: Path, step: int) -> tuple[dict[tuple[str, str, bool], Verdict], dict]:
    """(verdicts by problem id, response and truncated; decisions by step and group) that were written after the
    checkpoint: a repeated step must not depend on the clock again, and a comparison may have timed out then or now. A
    step without any verdict is graded anew: what failed on all of it, a custom reward, may have been mended."""
    verdicts, decided = {}, {}
    for _, groups in groupby(read_rollouts(run, from_step=step), key=lambda group: group["step"]):
        of_step = {}
        for group in groups:
            of_step |= _verdicts(group)
            decided[group["step"], group["group"]] = group.get("decisions") or _listed(group)
        if any(verdict.decided for verdict in of_step.values()):
            verdicts |= of_step
    return verdicts, decided


def _listed(group: dict) -> dict:
    """Of runs that wrote no decisions: the only ones were what each hint listed."""
    return {f"{n}/answers": attempt["listed"] for n, attempt in enumerate(group["attempts"])}


def _verdicts(group: dict) -> dict[tuple[str, str, bool], Verdict]:
    rows = [*group["rollouts"], *(row for attempt in graded_attempts(group) for row in attempt["rollouts"])]
    said = [(row, row.get("verified", row)) for row in rows]  # a label is made again from what the verifier said
    return {
        (group["id"], row["response"], row["truncated"]): Verdict(
            verdict["correct"],
            Status(verdict["status"]),
            group["answer"],
            verdict["extracted"],
            verdict["rule"],
            shaped=verdict["reward"],
        )
        for row, verdict in said
    }


def reuse_verdicts(recorded: dict, verify):
    """A grader that answers from recorded verdicts where it can."""
    if not recorded:
        return verify

    def grade(items):
        known = [recorded.get((problem.id, response, truncated)) for problem, response, truncated in items]
        unknown = [item for item, verdict in zip(items, known, strict=True) if verdict is None]
        fresh = iter(verify(unknown) if unknown else [])
        return [verdict or next(fresh) for verdict in known]

    return grade
