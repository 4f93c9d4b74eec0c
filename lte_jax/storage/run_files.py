"""The text side of a run folder: metrics as one JSONL file per checkpoint interval, rollouts as one per step.

A resumed run cuts what was written after its checkpoint: files are named by the first step that they hold.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import numpy as np
from etils import epath

from lte_jax.config import Config
from lte_jax.metric import Metric
from lte_jax.records import Group, Prompt, Rollout, Verdict
from lte_jax.storage.outcomes import with_outcome
from lte_jax.storage.paths import write_whole
from lte_jax.storage.timeline import write_timeline

CHANGES = "changes.jsonl"
METRICS = "metrics.json"


def evaluated_steps(config: Config) -> list[int]:
    """Numbers of steps after which a run is evaluated: fixed before it starts; none with `eval.every` 0."""
    every = config.eval.every
    return sorted({*range(0 if config.eval.at_start else every, config.steps, every), config.steps}) if every else []


class RunFiles:
    """Writer of one run's metrics, rollouts and evaluations. Of several processes, one `writes`."""

    def __init__(self, run: epath.Path, writes: bool = True):
        self.run, self._writes = run, writes
        for name in ("metrics", "rollouts", "eval"):
            (run / name).mkdir(parents=True, exist_ok=True)
        self.interval, self._interval_rows = 0, []

    def start_interval(self, step: int) -> None:
        """From here, metrics go to a new file: called at the start and after every checkpoint."""
        self.interval, self._interval_rows = step, []

    def cut(self, step: int) -> None:
        """Removes what belongs to `step` and later, but for the evaluation of the weights that the step starts from."""
        for name, first in (("metrics", step), ("rollouts", step), ("eval", step + 1)) if self._writes else ():
            for path in (self.run / name).glob("*.jsonl"):
                if int(path.stem) >= first:
                    path.unlink()

    def write_metrics(self, row: dict[str, Any]) -> None:
        self._interval_rows.append(row)
        self._write(self.run / "metrics" / f"{self.interval:06d}.jsonl", self._interval_rows)

    def declare(self, metrics: Iterable[Metric]) -> None:
        """Writes which metrics the run's own code shows and in which charts, for reports made without that code."""
        shown = [asdict(metric) for metric in metrics if metric.panel]
        if self._writes:
            write_whole(self.run / METRICS, json.dumps(shown, ensure_ascii=False, indent=1))

    def write_rollouts(self, step: int, groups: Sequence[Group]) -> None:
        self._write(self.run / "rollouts" / f"{step:06d}.jsonl", map(group_row, groups))

    @contextmanager
    def writing_rollouts(self, step: int, groups: Sequence[Group]) -> Iterator[None]:
        """Writes in a thread while the block runs. However the block ends, the file is whole then."""
        with ThreadPoolExecutor(1) as thread:
            written = thread.submit(self.write_rollouts, step, groups)
            yield
            written.result()

    def write_timeline(self, step: int, spans: Sequence[Any]) -> None:
        if self._writes:
            write_timeline(self.run / "timeline" / f"{step:06d}.json", spans)

    def write_evaluation(self, step: int, rows: Sequence[dict]) -> None:
        self._write(self.run / "eval" / f"{step:06d}.jsonl", rows)

    def read_evaluation(self, step: int, made_with: str) -> dict[str, dict[str, float]] | None:
        """The metrics of the evaluation after `step` steps; None where there is no whole one that was made so."""
        path = self.run / "eval" / f"{step:06d}.jsonl"
        head, *rows = whole_lines(path) if path.is_file() else ["{}"]
        found = json.loads(head)
        n_problems = sum(values["n_problems"] for values in found.get("metrics", {}).values())
        return found["metrics"] if found.get("made_with") == made_with and len(rows) == n_problems else None

    def _write(self, path: epath.Path, rows: Iterable[dict]) -> None:
        """In place of the file of that name: in a bucket nothing can be appended."""
        if self._writes:
            write_whole(path, "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows))


def write_change(run: epath.Path, change: dict[str, Any]) -> None:
    """Adds a change of settings to the run's record. One that was written just before a kill is not written twice."""
    lines = [json.dumps(row, ensure_ascii=False) for row in read_changes(run)]
    line = json.dumps(change, ensure_ascii=False, default=str)
    if line not in lines[-1:]:
        write_whole(run / CHANGES, "".join(f"{each}\n" for each in [*lines, line]))


def declared_metrics(run: epath.Path) -> list[Metric]:
    """What `RunFiles.declare` wrote; nothing for runs of before."""
    path = run / METRICS
    return [Metric(**found) for found in json.loads(path.read_text(encoding="utf-8"))] if path.is_file() else []


def read_changes(run: epath.Path) -> list[dict[str, Any]]:
    """{step, kind, changed: {name: [before, from the step on]}} of each start with other settings."""
    path = run / CHANGES
    return list(map(json.loads, whole_lines(path))) if path.is_file() else []


def whole_lines(path: epath.Path) -> list[str]:
    """The JSON lines of a file; one that a kill left half-written is passed over.

    Split at newlines only: a response may hold other characters that `splitlines` takes for line ends. Bytes, since the
    half may end inside a character; and it may end with a brace of the response."""
    lines = path.read_bytes().split(b"\n")
    if not _is_json(lines[-1]):
        lines.pop()
    return [line.decode("utf-8") for line in lines if line.endswith(b"}")]


def _is_json(text: bytes) -> bool:
    try:
        json.loads(text)
    except ValueError:  # UnicodeDecodeError is one too
        return False
    return True


def read_metrics(run: epath.Path) -> list[dict]:
    """Every row of a run, by step."""
    return sorted(_read_all(run / "metrics"), key=lambda row: row["step"])


def read_rollouts(run: epath.Path, from_step: int = 0) -> Iterator[dict]:
    """The groups of a run's steps, as `group_row` writes them."""
    return (row if "outcome" in row else with_outcome(row) for row in _read_all(run / "rollouts", from_step))


def group_row(group: Group) -> dict:
    """A group as one JSON object: problem, plain prompt, members, and each further round with its hint, and
    what became of it. A rollout names its prompt where it is another than its round's; a note has no verdict."""
    members = {id(rollout) for rollout in group.members}
    row = {
        "step": group.step,
        "group": group.index,
        "id": group.problem.id,
        "problem": group.problem.text,
        "answer": group.problem.answer,
        "prompt": group.prompt.text,
        "advantages": list(group.advantages),
        "decisions": group.decisions,
        "rollouts": [rollout_row(r, id(r) in members, group.prompt) for r in group.initial],
        "attempts": [
            {
                "purpose": attempt.retry.purpose,
                "origin": attempt.retry.origin,
                "mode": attempt.retry.mode,
                "listed": list(attempt.retry.answers),
                "prompt": attempt.retry.prompt.text,
                "rollouts": [rollout_row(r, id(r) in members, attempt.retry.prompt) for r in attempt.rollouts],
            }
            for attempt in group.attempts
        ],
    }
    return with_outcome(row)


def rollout_row(rollout: Rollout, trained: bool, prompt: Prompt) -> dict:
    """`prompt`: its round's. Where the verdict is a label, what the verifier said stands beside it."""
    return {
        "origin": rollout.origin,
        "round": rollout.round,
        "index": rollout.index,
        "member": trained,
        **({"prompt": rollout.prompt.text} if rollout.prompt != prompt else {}),
        "response": rollout.text,
        "tokens": len(rollout.response),
        "given": rollout.n_given,
        "truncated": rollout.response.truncated,
        **(_verdict_row(rollout.verdict) if rollout.verdict else {}),
        **({"verified": _verdict_row(rollout.verified)} if rollout.verified else {}),
        "logp_sum": round(float(np.sum(rollout.response.behaviour_logp, dtype=np.float64)), 4),
    }


def _verdict_row(verdict: Verdict) -> dict:
    return {
        "correct": verdict.correct,
        "reward": verdict.reward,
        "status": verdict.status,
        "extracted": verdict.extracted,
        "rule": verdict.rule,
    }


def _read_all(folder: epath.Path, from_step: int = 0) -> Iterator[dict]:
    for path in sorted(folder.glob("*.jsonl")):
        if int(path.stem) < from_step:
            continue
        yield from map(json.loads, whole_lines(path))
