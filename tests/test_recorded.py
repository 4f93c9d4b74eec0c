"""Verdicts that were recorded before a kill: taken over, unless nothing of their step was graded."""

from dataclasses import replace

from handmade import HINTED, group, right, rollout, wrong

from lte_jax.records import Attempt, Origin, Part, Purpose, Retry, Status
from lte_jax.storage.recorded import read_recorded, reuse_verdicts
from lte_jax.storage.run_files import RunFiles


def test_a_step_without_any_verdict_is_graded_anew(tmp_path):
    files = RunFiles(tmp_path)
    lost, late = rollout(Status.CRASH, text="lost"), rollout(Status.TIMEOUT, text="late")
    files.write_rollouts(4, [group(lost, lost, step=4), group(lost, late, step=4, index=1)])
    files.write_rollouts(5, [group(right(text="right"), late, step=5), group(late, late, step=5, index=1)])
    verdicts, _ = read_recorded(tmp_path, 4)
    assert verdicts.keys() == {("p0", "right", False), ("p0", "late", False), ("p1", "late", False)}
    asked = []

    def grade(items):
        asked.extend(response for _, response, _ in items)
        return [wrong().verdict for _ in items]

    problem = replace(group(right()).problem, id="p0")
    found = reuse_verdicts(verdicts, grade)([(problem, text, False) for text in ("lost", "late", "right")])
    assert [verdict.status for verdict in found] == [Status.DIFFERENT, Status.TIMEOUT, Status.EQUAL]
    assert asked == ["lost"]


def test_a_note_is_passed_over_when_a_step_is_made_again(tmp_path):
    retry = Retry((Part(HINTED, 1),), Origin.HINTED, None, purpose=Purpose.NOTE)
    note = Attempt(retry, (rollout(None, text="look again"),))
    noted = replace(group(wrong(text="no")), attempts=(note,), decisions={"1/n": 3})
    RunFiles(tmp_path).write_rollouts(0, [noted])
    verdicts, decided = read_recorded(tmp_path, 0)
    assert verdicts.keys() == {("p0", "no", False)} and decided == {(0, 0): {"1/n": 3}}
