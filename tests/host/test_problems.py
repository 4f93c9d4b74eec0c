"""Problem files are read strictly and taken in an order that derives from (seed, step)."""

import hashlib
import json
from decimal import Decimal

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from lte_jax.host.problems import ProblemError, file_hash, load_problems, take
from lte_jax.host.verify import check_gold, grade
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


@pytest.mark.parametrize(
    ("spelled", "answer"),
    [
        ("72", "72"),
        ("-3", "-3"),
        ("0.10", "0.1"),
        ("1e3", "1000"),
        ("123456.0", "123456"),
        ("-0.0", "0"),
        ("1e22", "1" + "0" * 22),
        ("-2.5E-7", "-0.00000025"),
        ("123456789012345678901234567890", "123456789012345678901234567890"),
        ("0.1234567890123456789", "0.1234567890123456789"),
    ],
)
def test_a_number_is_an_answer_in_digits_exactly_and_its_text_stays(tmp_path, spelled, answer):
    rows = (f'{{"problem": "x", "answer": {value}}}' for value in (spelled, json.dumps(spelled)))
    number, text = load_problems(write(tmp_path / "p.jsonl", *rows))
    assert number.answer == answer and text.answer == spelled


def test_a_whole_number_in_a_column_of_floats_is_an_exact_gold(tmp_path):
    """Columns with a missing value are written as floats: 123456.0 would accept what is 1e-4 off."""
    (tmp_path / "p.jsonl").write_text('{"problem": "x", "answer": 123456.0}\n')
    write_parquet(tmp_path / "p.parquet", problem=["x"], answer=[123456.0])
    for path in (tmp_path / "p.jsonl", tmp_path / "p.parquet"):
        gold = load_problems(path)[0].answer
        assert gold == "123456"
        assert grade(gold, r"\boxed{123456}").correct and not grade(gold, r"\boxed{123460}").correct


@pytest.mark.parametrize(
    ("kind", "values", "answers"),
    [
        (pyarrow.float64(), [0.1, 1e22, 5e-7, 2.0, 1.5], ["0.1", "1" + "0" * 22, "0.0000005", "2", "1.5"]),
        (pyarrow.float32(), [0.1, 16777216.0, 2.0], ["0.1", "16777216", "2"]),
        (pyarrow.float16(), [np.float16(0.1), np.float16(2)], ["0.1", "2"]),
        (pyarrow.int8(), [-7], ["-7"]),
        (pyarrow.uint64(), [2**63], ["9223372036854775808"]),
        (pyarrow.decimal128(10, 4), [Decimal("3.5000"), Decimal("12.0000")], ["3.5", "12"]),
    ],
)
def test_every_column_of_numbers_gives_answers_in_digits(tmp_path, kind, values, answers):
    column = pyarrow.array(values, kind)
    path = write_parquet(tmp_path / "p.parquet", problem=["x"] * len(values), answer=column)
    assert [problem.answer for problem in load_problems(path)] == answers


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
        ('{"problem": "x", "answer": NaN}', "field 'answer' is nan, not a number"),
        ('{"problem": "x", "answer": -Infinity}', "field 'answer' is -inf, not a number"),
        ('{"problem": "x", "answer": 1e999999999}', "'answer' is 1e999999999: wanted a number of at most 1000 digits"),
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


def test_all_bad_rows_are_refused_at_once_the_first_ten_by_name(tmp_path):
    bad = ["{", {"problem": "x"}, {**GOOD, "answer": None}, {**GOOD, "id": "a"}, "[1]"] + ["{"] * 7
    path = write(tmp_path / "p.jsonl", {**GOOD, "id": "a"}, *bad, GOOD)
    with pytest.raises(ProblemError) as error:
        load_problems(path)
    head, *lines = str(error.value).split("\n  ")
    assert head == f"{path}: 12 of 14 rows cannot be used:"
    assert len(lines) == 11 and lines[-1] == "and 2 more"
    assert [line.split(": ")[0] for line in lines[:-1]] == [f"{path}:{n}" for n in range(2, 12)]
    for line, reason in zip(lines, ("not JSON", "'answer' is missing", "is missing", "already used", "got list")):
        assert reason in line


def test_each_distinct_answer_is_checked_once_and_a_refused_one_is_named_by_its_rows(tmp_path):
    rows = [{"problem": "x", "answer": answer} for answer in ("2", r"\frac{", 2, r"\frac{", "2.0", r"\frac{1}{2}")]
    asked = []

    def check(answer):
        asked.append(answer)
        return check_gold(answer)

    with pytest.raises(ProblemError) as error:
        load_problems(write(tmp_path / "p.jsonl", *rows), check=check)
    head, second, fourth = str(error.value).split("\n  ")
    assert head == f"{tmp_path}/p.jsonl: 2 of 6 rows cannot be used:"
    assert second.startswith(f"{tmp_path}/p.jsonl:2: answer '\\\\frac{{' cannot be read, so only the identical text")
    assert fourth.startswith(f"{tmp_path}/p.jsonl:4: ")
    assert asked == ["2", r"\frac{", "2.0", r"\frac{1}{2}"]


def test_a_long_file_says_how_far_it_is_read(tmp_path):
    path = write(tmp_path / "p.jsonl", *[GOOD] * 5_000)
    shares = []
    load_problems(path, show=shares.append)
    assert shares == [0.4, 0.8]


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
    for value, said in [(float("inf"), "is inf, not a number"), (True, "must be a string or a number, got a bool")]:
        with pytest.raises(ProblemError, match=f"row 2: field 'answer' {said}"):
            load_problems(write_parquet(tmp_path / "i.parquet", problem=["x", "y"], answer=[type(value)(0), value]))
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
