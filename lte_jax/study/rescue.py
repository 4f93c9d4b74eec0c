"""One rescue in full: a problem that every plain rollout failed, the hint with the failures, and what came of it."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from lte_jax.storage.outcomes import graded_attempts
from lte_jax.storage.run_files import whole_lines
from lte_jax.terminal.clean import clean

NO_RESCUE = "No rescue to show: no hinted rollout of these runs was correct, or rollouts were not written.\n"


def find_rescue(runs: Sequence[Path]) -> tuple[Path, dict] | None:
    """(run, group row) of the latest step at which a run rescued a group by a list; of those, the longest list."""
    steps = sorted({path.name for run in runs for path in (run / "rollouts").glob("*.jsonl")}, reverse=True)
    for name in steps:
        found = [(run, group) for run in runs for group in _groups(run / "rollouts" / name) if _rescuing(group)]
        if found:
            return max(found, key=lambda pair: len(_rescuing(pair[1])["listed"]))
    return None


def rescue_text(found: tuple[Path, dict] | None) -> str:
    """The rescue for people to read, without control characters."""
    if found is None:
        return NO_RESCUE
    run, group = found
    attempt = _rescuing(group)
    correct = [row for row in attempt["rollouts"] if row["correct"]]
    trained = [row for row in correct if row["member"]]
    shown = (trained or correct)[0]
    wrong = Counter(_final_answer(row) for row in group["rollouts"])
    lines = [
        f"One rescue, from {run.name}, step {group['step'] + 1}, problem {group['id']}",
        "",
        f"Problem: {group['problem']}",
        f"Reference answer: {group['answer']}",
        "",
        f"{len(group['rollouts'])} plain rollouts, none correct. Their final answers:",
        *(f"  {n} x {outcome}" for outcome, n in wrong.most_common()),
        "",
        f"Hint prompt (failure mode {attempt['mode']}, lists {', '.join(attempt['listed'])}):",
        _indented(attempt["prompt"]),
        "",
        f"{len(correct)} of {len(attempt['rollouts'])} hinted rollouts are correct. One of them:",
        _indented(shown["response"]),
        "",
        f"Verdict: final answer {shown['extracted']}, {shown['status']} to the reference.",
        f"It replaced a failed rollout and was trained on the plain prompt: {'yes' if shown['member'] else 'no'}.",
    ]
    return clean("\n".join(lines)) + "\n"


def _rescuing(group: dict) -> dict | None:
    """The group's hinted attempt that lists answers and has a correct rollout."""
    for attempt in graded_attempts(group):
        if attempt["origin"] == "hinted" and attempt["listed"] and any(row["correct"] for row in attempt["rollouts"]):
            return attempt
    return None


def _final_answer(row: dict) -> str:
    if row["extracted"] is None:
        return "none, cut off" if row["truncated"] else "none"
    return f"{row['extracted']}{', cut off' if row['truncated'] else ''}"


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())


def _groups(path: Path) -> list[dict]:
    return [json.loads(line) for line in whole_lines(path)] if path.is_file() else []
