"""The text files of a run: read back as written, cut at a step, robust against what a kill and a model leave."""

from dataclasses import replace

import pytest
from etils import epath
from handmade import HINTED, PROMPT, group, right, rollout, wrong

from lte_jax.records import Attempt, Given, Kind, Origin, Part, Purpose, Retry
from lte_jax.storage.outcomes import graded_attempts
from lte_jax.storage.run_files import RunFiles, read_metrics, read_rollouts, whole_lines


def test_a_response_with_line_separators_reads_back(tmp_path):
    text = "a\u2028b\u2029c\x85d\x0ce\nf"
    RunFiles(tmp_path).write_rollouts(3, [group(right(text=text), wrong(text=text), advantages=(0.5, None))])
    (row,) = read_rollouts(tmp_path)
    assert [rollout["response"] for rollout in row["rollouts"]] == [text, text]
    assert row["advantages"] == [0.5, None]


def noted():
    """A group with a note, and a round of which one rollout goes on from a beginning and one has a prompt of its own."""
    note = replace(rollout(None, text="look again"), prompt=HINTED, round=1)
    asked = Attempt(Retry((Part(HINTED, 1),), Origin.HINTED, None, purpose=Purpose.NOTE), (note,))
    drawn = replace(right(round=2), n_given=1), replace(wrong(round=2, index=1), prompt=HINTED)
    kept = Given.written((1,), Kind.UNTRAINED)
    tried = Attempt(Retry((Part(PROMPT, 1, kept), Part(HINTED, 1)), Origin.EXTRA, None), drawn)
    return replace(group(wrong(), wrong()), attempts=(asked, tried))


def test_notes_beginnings_and_further_prompts_stand_in_the_rollouts(tmp_path):
    RunFiles(tmp_path).write_rollouts(0, [noted()])
    (row,) = read_rollouts(tmp_path)
    note, tried = row["attempts"]
    assert (note["purpose"], tried["purpose"]) == ("note", "solution") and note["prompt"] == HINTED.text
    assert note["rollouts"][0]["response"] == "look again" and note["rollouts"][0].keys().isdisjoint({"correct", "status"})
    assert [(one["given"], one.get("prompt")) for one in tried["rollouts"]] == [(1, None), (0, HINTED.text)]
    assert tried["prompt"] == PROMPT.text and [one["given"] for one in row["rollouts"]] == [0, 0]
    assert graded_attempts(row) == [tried]
    del note["purpose"], tried["purpose"]  # as of runs of before
    assert graded_attempts(row) == [note, tried]


def test_cutting_removes_the_step_and_what_follows(tmp_path):
    files = RunFiles(tmp_path)
    for step in range(5):
        if step in (2, 4):
            files.start_interval(step)
        files.write_metrics({"step": step})
        files.write_rollouts(step, [group(right(), wrong())])
    assert [row["step"] for row in read_metrics(tmp_path)] == [0, 1, 2, 3, 4]
    files.cut(2)
    assert [row["step"] for row in read_metrics(tmp_path)] == [0, 1]
    assert len(list(read_rollouts(tmp_path))) == 2


@pytest.mark.parametrize("half", ['{"step": 1, "rew', '{"step": 1, "response": "\\\\boxed{4}', '{"step": 1, "é'])
@pytest.mark.parametrize("cut", [0, 1])
def test_a_half_written_line_is_passed_over(tmp_path, half, cut):
    files = RunFiles(tmp_path)
    files.write_metrics({"step": 0})
    with (tmp_path / "metrics/000000.jsonl").open("ab") as file:
        file.write(half.encode()[: len(half.encode()) - cut])
    assert read_metrics(tmp_path) == [{"step": 0}]


def test_a_last_line_needs_no_newline(tmp_path):
    path = epath.Path(tmp_path) / "problems.jsonl"
    path.write_text('{"id": 1}\n{"id": 2}')
    assert whole_lines(path) == ['{"id": 1}', '{"id": 2}']


def test_rollouts_are_whole_however_the_block_ends_that_they_are_written_beside(tmp_path):
    files, done = RunFiles(tmp_path), group(right(), wrong())
    with pytest.raises(ArithmeticError), files.writing_rollouts(0, [done]):
        raise ArithmeticError("the update stops the run")
    assert len(list(read_rollouts(tmp_path))) == 1
    (tmp_path / "rollouts").rename(tmp_path / "gone")
    with pytest.raises(OSError, match="000001.jsonl"), files.writing_rollouts(1, [done]):
        pass


def test_rows_of_a_run_of_before_say_what_became_of_their_groups_too():
    found = list(read_rollouts(epath.Path(__file__).parents[1] / "fixtures/run_b4ecf5c/run"))
    assert {(row["outcome"], row["mode"]) for row in found} >= {("failed", "some_truncated"), ("failed", "all_truncated")}
