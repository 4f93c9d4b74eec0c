"""Problem files are read strictly and taken in an order that derives from (seed, step)."""

import hashlib
import json

import pyarrow
import pyarrow.parquet
import pytest

from lte_jax.host.problems import ProblemError, file_hash, load_problems, take
from lte_jax.records import Problem

GOOD = {"problem": "1 + 1", "answer": "2"}


def write(path, *lines):
    path.write_text("".join((x if isinstance(x, str) else json.dumps(x)) + "\n" for x in lines), encoding="utf-8")
    return path


def test_jsonl_rows_become_problems_with_ids_from_the_file_or_the_row(tmp_path):
    path = write(
        tmp_path / "sums.jsonl",
        {**GOOD, "id": "first", "source": "mine"},
        GOOD | {"trace": "so 2"},
        "",
        {**GOOD, "id": 7},
    )
    assert load_problems(path) == [
        Problem("first", "1 + 1", "2"),
        Problem("sums-2", "1 + 1", "2", trace="so 2"),
        Problem("7", "1 + 1", "2"),
    ]


@pytest.mark.parametrize("spelled", ["72", "-3", "0.10", "1e3", "123456789012345678901234567890"])
def test_number_answers_become_strings_as_the_file_spells_them(tmp_path, spelled):
    path = write(tmp_path / "p.jsonl", f'{{"problem": "x", "answer": {spelled}}}')
    assert load_problems(path)[0].answer == spelled


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "not JSON"),
        ("[1]", "wanted an object"),
        ('"text"', "wanted an object"),
        ({"answer": "2"}, "'problem' is missing"),
        ({"problem": "x"}, "'answer' is missing"),
        ({"problem": "x", "answer": None}, "'answer' is missing"),
        ({"problem": "  ", "answer": "2"}, "'problem' is empty"),
        ({"problem": "x", "answer": ""}, "'answer' is empty"),
        ({"problem": 5, "answer": "2"}, "'problem' must be a string, got a number"),
        ({"problem": "x", "answer": ["2"]}, "'answer' must be a string or a number, got a list"),
        ({"problem": "x", "answer": True}, "got a bool"),
        ('{"problem": "x", "answer": NaN}', "not a number"),
        ({**GOOD, "id": ""}, "'id' is empty"),
        ({**GOOD, "trace": 7}, "'trace' must be a string, got a number"),
        ({**GOOD, "trace": " "}, "'trace' is empty"),
        ({**GOOD, "id": "a"}, "'a' is already used at"),
        ('{"problem": "x\\ud800", "answer": "2"}', "surrogate"),
    ],
)
def test_a_bad_row_is_refused_with_file_line_and_reason(tmp_path, line, reason):
    path = write(tmp_path / "p.jsonl", {**GOOD, "id": "a"}, "", line)
    with pytest.raises(ProblemError) as error:
        load_problems(path)
    assert str(error.value).startswith(f"{path}:3: ") and reason in str(error.value)


def test_bytes_that_are_not_utf8_are_refused_with_their_line(tmp_path):
    path = tmp_path / "p.jsonl"
    path.write_bytes(json.dumps(GOOD).encode() + b'\n{"problem": "\xff", "answer": "2"}\n')
    with pytest.raises(ProblemError, match=":2: not UTF-8"):
        load_problems(path)


def test_a_byte_order_mark_and_line_separators_inside_text_are_no_line_ends(tmp_path):
    path = tmp_path / "p.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + '{"problem": "a\u2028b\x85c", "answer": "2"}'.encode())
    assert load_problems(path)[0].text == "a\u2028b\x85c"


def test_missing_empty_and_unknown_files_are_refused(tmp_path):
    with pytest.raises(ProblemError, match="no such file"):
        load_problems(tmp_path / "absent.jsonl")
    with pytest.raises(ProblemError, match="no problems"):
        load_problems(write(tmp_path / "empty.jsonl", ""))
    with pytest.raises(ProblemError, match=r"wanted a file that ends in .jsonl or .parquet, got .csv"):
        load_problems(write(tmp_path / "p.csv", "a,b"))


def write_parquet(path, **columns):
    pyarrow.parquet.write_table(pyarrow.table(columns), path)
    return path


def test_parquet_reads_like_jsonl(tmp_path):
    columns = {
        "problem": ["x", "y"],
        "answer": [3, 40],
        "id": ["a", None],
        "trace": ["x = 3", None],
        "extra": [[1], [2]],
    }
    path = write_parquet(tmp_path / "p.parquet", **columns)
    assert load_problems(path) == [Problem("a", "x", "3", trace="x = 3"), Problem("p-2", "y", "40")]


def test_bad_parquet_is_refused_with_row_or_column(tmp_path):
    with pytest.raises(ProblemError, match="p.parquet row 2: field 'answer' is missing"):
        load_problems(write_parquet(tmp_path / "p.parquet", problem=["x", "y"], answer=["1", None]))
    with pytest.raises(ProblemError, match="row 1: field 'answer' is nan"):
        load_problems(write_parquet(tmp_path / "n.parquet", problem=["x"], answer=[float("nan")]))
    with pytest.raises(ProblemError, match="column 'answer' is missing"):
        load_problems(write_parquet(tmp_path / "c.parquet", problem=["x"]))
    with pytest.raises(ProblemError, match="not a Parquet file"):
        load_problems(write(tmp_path / "q.parquet", "text"))


def test_file_hash_is_the_sha256_of_the_bytes(tmp_path):
    path = write(tmp_path / "p.jsonl", GOOD)
    assert file_hash(path) == hashlib.sha256(path.read_bytes()).hexdigest()


def numbered(n):
    return [Problem(str(i), f"problem {i}", str(i)) for i in range(n)]


@pytest.mark.parametrize("n", [1, 3, 5, 7, 10, 16])
def test_each_problem_comes_once_per_epoch_across_step_boundaries(n):
    problems = numbered(7)
    stream = [p.id for step in range(21) for p in take(problems, seed=4, position=step * n, n=n)]
    assert len(stream) == 21 * n
    epochs = [stream[i : i + 7] for i in range(0, len(stream), 7)]
    assert all(sorted(epoch) == [p.id for p in problems] for epoch in epochs)
    assert n < 3 or len({tuple(epoch) for epoch in epochs}) > 1


def test_take_is_a_pure_function_of_seed_and_position():
    problems = numbered(50)
    assert take(problems, 1, 72, 8) == take(list(problems), 1, 72, 8)
    assert take(problems, 1, 72, 8) != take(problems, 2, 72, 8)
    assert take(problems, 1, 72, 8) == take(problems, 1, 70, 10)[2:]
    assert take(problems, 1, 0, 50) != take(problems, 1, 50, 50)  # each epoch has an order of its own
    with pytest.raises(ProblemError, match="of 0 problems"):
        take([], 1, 0, 8)
