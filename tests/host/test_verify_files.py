"""`verify_file`, and every reference answer of the benchmark files against itself."""

import gzip
import json
import sys
import time
import types
from pathlib import Path

import pytest

from lte_jax.host.answers.decide import decide
from lte_jax.host.answers.extract import extract
from lte_jax.host.verify import check_gold, verify_file

BENCHMARKS = Path(__file__).resolve().parents[2] / ".." / "shared" / "benchmarks"
needs_benchmarks = pytest.mark.skipif(not BENCHMARKS.is_dir(), reason="the benchmark files are not here")


def write(path, rows):
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows) + "\n")
    return path


ROWS = [
    {"id": "a", "gold": "4", "prediction": r"\boxed{ 4 }"},
    {"gold": r"\sqrt{8}", "prediction": r"\boxed{2\sqrt{2}}"},
    {"id": 7, "gold": "5", "prediction": "no idea"},
    {"gold": "5", "prediction": r"\boxed{6}"},
    {"gold": "5", "prediction": r"\boxed{\sqrt{}"},
    {"gold": " ", "prediction": r"\boxed{6}"},
    {"gold": "Tom has 3 and Bob has 5", "prediction": r"\boxed{6}"},
    {"gold": "5", "prediction": "The answer is 5", "truncated": True},
    {"gold": "5", "prediction": "The answer is 5", "truncated": False},
    {"gold": "5", "prediction": r"\boxed{10^9!}"},
]


def row(status, extracted, rule, reason, correct=False):
    return {"correct": correct, "status": status, "extracted": extracted, "rule": rule, "reason": reason}


RESULTS = [
    {"id": "a"} | row("equal", "4", "box", None, True),
    row("equal", r"2\sqrt{2}", "box", None, True),
    {"id": 7} | row("no_answer", None, None, "no final answer was found in the response"),
    row("different", "6", "box", "6 is not 5"),
    row("no_answer", None, None, "no final answer was found in the response"),
    row("bad_gold", "6", "box", "the gold is empty"),
    row(
        "bad_gold", "6", "box",
        "the gold Tom has 3 and Bob has 5 cannot be graded: it is a sentence from which no single answer can be read",
    ),
    row("no_answer", None, None, "the response is cut off, and has no complete box, tag or marked sentence"),
    row("equal", "5", "marker", None, True),
    row("too_large", "10^9!", "box", "the answer 10^9! is too large to be compared"),
]  # fmt: skip


def verify_quickly(path, output, **more):
    return verify_file(path, output, workers=1, timeout_s=2.0, **more)


def results(output):
    return [json.loads(line) for line in output.read_text().splitlines()]


def test_each_line_gets_its_verdict_its_rule_and_its_reason_in_order(tmp_path):
    output = tmp_path / "out.jsonl"
    asked = []
    summary = verify_quickly(
        write(tmp_path / "in.jsonl", ROWS), output, n_examples=1, progress=lambda *done: asked.append(done)
    )
    assert results(output) == RESULTS
    assert (summary["n"], summary["correct"], summary["empty_golds"]) == (10, 3, 1)
    assert summary["by_status"] == {"equal": 3, "no_answer": 3, "different": 1, "bad_gold": 2, "too_large": 1}
    assert summary["examples"]["different"] == [{"line": 4, "gold": "5", "extracted": "6", "reason": "6 is not 5"}]
    assert [example["line"] for example in summary["examples"]["no_answer"]] == [3]
    assert asked == [(10, 10)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl", "out.jsonl"]


def test_a_packed_file_gives_the_same(tmp_path):
    packed, output = tmp_path / "in.jsonl.gz", tmp_path / "out.jsonl"
    packed.write_bytes(gzip.compress("\n".join(map(json.dumps, ROWS)).encode()))
    verify_quickly(packed, output)
    assert results(output) == RESULTS
    packed.write_bytes(packed.read_bytes()[:-20])
    with pytest.raises(ValueError, match=r"in\.jsonl\.gz: after line [0-9]+ the gzip file is broken: "):
        verify_quickly(packed, output)


@pytest.mark.parametrize(
    "bad", ["{", '{"gold": "1"}', '{"gold": 1, "prediction": "1"}', "[]", "[" * 100_000,
            '{"gold": "1", "prediction": "1", "truncated": 1}', b'{"gold": "1", "prediction": "caf\xe9"}'],
    ids=["brace", "half", "number", "list", "deep", "truncated", "latin-1"],
)  # fmt: skip
def test_a_bad_row_is_named_and_nothing_is_written(tmp_path, bad):
    path = write(tmp_path / "in.jsonl", [{"gold": "1", "prediction": "1"}])
    path.write_bytes(path.read_bytes() + (bad if isinstance(bad, bytes) else bad.encode()))
    output = tmp_path / "out.jsonl"
    output.write_text("old")
    with pytest.raises(ValueError, match=r"in\.jsonl:2: ") as raised:
        verify_quickly(path, output)
    assert "\n" not in str(raised.value)
    assert output.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("name", ["in.jsonl", "symlink", "hard link", "folder/../in.jsonl"])
def test_the_input_is_never_the_output(tmp_path, name):
    path = write(tmp_path / "in.jsonl", ROWS[:1])
    before = path.read_bytes()
    (tmp_path / "folder").mkdir()
    (tmp_path / "symlink").symlink_to(path)
    (tmp_path / "hard link").hardlink_to(path)
    for given, output in ((path, tmp_path / name), (tmp_path / name, path)):
        with pytest.raises(ValueError, match="the output is the input file"):
            verify_quickly(given, output)
    assert path.read_bytes() == before
    with pytest.raises(IsADirectoryError):
        verify_quickly(path, tmp_path / "folder")


def test_the_command_counts_empty_golds_aloud_and_shows_examples(tmp_path):
    path, output = write(tmp_path / "in.jsonl", ROWS), tmp_path / "out.jsonl"
    shown = command(path, "--output", output, "--examples", 1)
    assert shown.exit_code == 0
    assert "3 of 10 correct" in shown.output
    assert "different" in shown.output and "line 4: 6 is not 5" in shown.output
    assert "line 8" not in shown.output  # the third no_answer
    assert "warning: 1 of 10 golds are empty" in shown.output
    assert "\x1b" not in shown.output  # no bar where nobody looks
    plain = command(write(path, ROWS[:1]), "--output", output)
    assert "golds are empty" not in plain.output and "line" not in plain.output


def test_what_a_model_wrote_does_not_reach_the_terminal_raw(tmp_path):
    path = write(tmp_path / "in.jsonl", [{"gold": "5", "prediction": "\\boxed{6\x1b[2J\ud800}"}])
    shown = command(path, "--output", tmp_path / "out.jsonl", "--examples", 1)
    assert shown.exit_code == 0 and "line 1: " in shown.output and "\x1b" not in shown.output


def test_another_verifier_that_is_not_installed_is_one_line(tmp_path, monkeypatch):
    path, output = write(tmp_path / "in.jsonl", ROWS), tmp_path / "out.jsonl"
    monkeypatch.setitem(sys.modules, "math_verify", None)
    for name, said in (("math-verify", "pip install 'math-verify"), ("other", "wanted one of math-verify")):
        shown = command(path, "--output", output, "--against", name)
        assert shown.exit_code == 2 and said in shown.output and len(shown.output.splitlines()) == 1
    assert not output.exists()


def test_where_two_verifiers_differ_is_counted_and_shown(tmp_path, monkeypatch):
    def parse(text):
        if "idea" in text:
            raise ValueError("a fault of the other's")
        return text

    stand_in = types.SimpleNamespace(parse=parse, verify=lambda gold, answer: gold == answer or "6}" in answer)
    monkeypatch.setitem(sys.modules, "math_verify", stand_in)
    rows = [{"gold": "5", "prediction": rf"\boxed{{{text}}}"} for text in ("5", "5.0", "6", "7")] + [ROWS[2]]
    path, output = write(tmp_path / "in.jsonl", rows), tmp_path / "out.jsonl"
    shown = command(path, "--output", output, "--against", "math-verify", "--examples", 2)
    assert [result["other"] for result in results(output)] == [True, False, True, False, None]
    for line in (
        "both say correct", "both say wrong", "correct by this verifier only", "line 2: 5.0 is 5",
        "correct by math-verify only", "line 3: 6 is not 5", "math-verify failed",
    ):  # fmt: skip
        assert line in shown.output


def command(*arguments):
    from typer.testing import CliRunner

    from lte_jax.cli import app

    return CliRunner().invoke(app, ["verify", *map(str, arguments), "--workers", "1"])


@needs_benchmarks
def test_every_benchmark_answer_matches_itself_inside_a_box():
    n, unread = 0, []
    for path in sorted(BENCHMARKS.glob("*.jsonl")):
        for line in path.read_text().splitlines():
            row = json.loads(line)
            if "answer" in row:
                n += 1
                assert decide(row["answer"], extract(rf"\boxed{{{row['answer']}}}").answer) == "equal", row["id"]
                unread += [row["id"]] if check_gold(row["answer"]) else []
    assert n == 3130
    assert unread == ["olympiadbench-2045"]  # "t(0,4]": matches only its own text


@needs_benchmarks
def test_real_responses_are_fast_and_rarely_need_a_worker():
    rows = [json.loads(line) for line in (BENCHMARKS / "responses.jsonl").read_text().splitlines()]
    start = time.process_time()
    statuses = [decide(row["gold"], extract(row["prediction"]).answer) for row in rows]
    assert len(rows) / (time.process_time() - start) > 100  # a second
    assert sum(status is None for status in statuses) < 0.03 * len(rows)
