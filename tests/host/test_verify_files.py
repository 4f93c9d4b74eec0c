"""`verify_file`, and every reference answer of the benchmark files against itself."""

import json
import time
from pathlib import Path

import pytest

from lte_jax.host.verify import check_gold, verify_file
from lte_jax.host.verify.extract import extract
from lte_jax.host.verify.judge import decide

BENCHMARKS = Path(__file__).resolve().parents[2] / ".." / "shared" / "benchmarks"
needs_benchmarks = pytest.mark.skipif(not BENCHMARKS.is_dir(), reason="the benchmark files are not here")


def write(path, rows):
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows) + "\n")
    return path


def test_each_line_gets_its_verdict_in_order(tmp_path):
    rows = [
        {"id": "a", "gold": "4", "prediction": r"\boxed{ 4 }"},
        {"gold": r"\sqrt{8}", "prediction": r"\boxed{2\sqrt{2}}"},
        {"id": 7, "gold": "5", "prediction": "no idea"},
        {"gold": "5", "prediction": r"\boxed{6}"},
    ]
    output = tmp_path / "out.jsonl"
    summary = verify_file(write(tmp_path / "in.jsonl", rows), output, workers=1, timeout_s=2.0)
    assert [json.loads(line) for line in output.read_text().splitlines()] == [
        {"id": "a", "correct": True, "status": "equal", "extracted": "4"},
        {"correct": True, "status": "equal", "extracted": r"2\sqrt{2}"},
        {"id": 7, "correct": False, "status": "no_answer", "extracted": None},
        {"correct": False, "status": "different", "extracted": "6"},
    ]
    assert (summary["n"], summary["correct"]) == (4, 2)
    assert summary["by_status"] == {"equal": 2, "no_answer": 1, "different": 1}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl", "out.jsonl"]


@pytest.mark.parametrize("bad", ["{", '{"gold": "1"}', '{"gold": 1, "prediction": "1"}', "[]"])
def test_a_bad_row_is_named_and_nothing_is_written(tmp_path, bad):
    path = write(tmp_path / "in.jsonl", [{"gold": "1", "prediction": "1"}, bad])
    output = tmp_path / "out.jsonl"
    output.write_text("old")
    with pytest.raises(ValueError, match=r"in\.jsonl:2: "):
        verify_file(path, output, workers=1, timeout_s=2.0)
    assert output.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 2


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
    start = time.perf_counter()
    statuses = [decide(row["gold"], extract(row["prediction"]).answer) for row in rows]
    assert len(rows) / (time.perf_counter() - start) > 800
    assert sum(status is None for status in statuses) < 0.03 * len(rows)
