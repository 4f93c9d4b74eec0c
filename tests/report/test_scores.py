"""Pass@k, majority vote and intervals against what they mean; tables and comparisons of evaluations."""

import json
from itertools import combinations

import numpy as np
import pytest

from lte_jax.config import ConfigError
from lte_jax.host.scores import bootstrap_interval, majority_vote, pass_at_k, summary, t_interval
from lte_jax.host.verify import Verifier
from lte_jax.report.compare import compare, comparison_text, read_problems
from lte_jax.report.scorecard import COLUMNS, PAPER, scorecard, write_scorecard


@pytest.fixture(scope="module")
def same_answer():
    with Verifier(workers=1) as verifier:
        yield verifier.same_answer


def row(benchmark: str, problem: str, n_correct: int, n: int = 4, **more) -> dict:
    fields = dict(n_truncated=1, n_undecided=0, n_tokens=10 * n, majority=float(n_correct > n / 2), answer="7")
    return {"benchmark": benchmark, "id": problem, "n_samples": n, "n_correct": n_correct, **fields, **more}


@pytest.mark.parametrize("c", range(7))
@pytest.mark.parametrize("k", [1, 2, 5, 6])
def test_pass_at_k_is_the_share_of_subsets_with_a_correct_one(c, k):
    correct = [True] * c + [False] * (6 - c)
    subsets = list(combinations(correct, k))
    assert pass_at_k(6, c, k) == pytest.approx(sum(map(any, subsets)) / len(subsets))


@pytest.mark.parametrize(
    ("answers", "correct", "expected"),
    [
        (["7", "7", "8", None], [1, 1, 0, 0], 1.0),
        (["7", "8", "8", "9"], [1, 0, 0, 0], 0.0),
        (["7", "1/2", "0.5", r"\frac{1}{2}"], [1, 0, 0, 0], 0.0),  # one class, however it is spelled
        (["7", "7", "1/2", "0.5"], [1, 1, 0, 0], 0.5),  # a tie with one other
        (["7", "8", "9"], [1, 0, 0], 1 / 3),
        (["7", "7.0", "8", "8"], [1, 1, 0, 0], 0.5),  # what is graded correct is one class
        (["7", None, None, None], [1, 0, 0, 0], 1.0),  # no answer, no vote
        (["8", "9", None], [0, 0, 0], 0.0),
        ([None, None], [0, 0], 0.0),
    ],
)
def test_the_most_frequent_class_of_answers_decides(answers, correct, expected, same_answer):
    assert majority_vote(answers, list(map(bool, correct)), same_answer) == pytest.approx(expected)


def test_a_pair_that_is_not_decided_stays_apart():
    assert majority_vote(["7", "a", "b"], [True, False, False], lambda pairs: [None] * len(pairs)) == 1 / 3
    assert majority_vote(["7", "a", "b"], [True, False, False], lambda pairs: [True] * len(pairs)) == 0


def test_the_interval_covers_the_true_mean_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = [low <= 0.3 <= high for low, high in (bootstrap_interval(rng.random(60) < 0.3) for _ in range(150))]
    assert 0.88 <= np.mean(covered) <= 0.99
    assert bootstrap_interval([1.0, 1.0]) == (1.0, 1.0)
    assert bootstrap_interval([0.0, 1.0, 0.5]) == bootstrap_interval([0.0, 1.0, 0.5])
    wide, narrow = bootstrap_interval([0, 1] * 10), bootstrap_interval([0, 1] * 1000)
    assert wide[1] - wide[0] == pytest.approx(10 * (narrow[1] - narrow[0]), rel=0.2)


def test_the_t_interval_of_a_handful_covers_as_often_as_it_says():
    rng = np.random.default_rng(0)
    intervals = [t_interval(list(rng.normal(0.3, 1.0, size=3))) for _ in range(2000)]
    assert np.mean([low <= 0.3 <= high for low, high in intervals]) == pytest.approx(0.95, abs=0.015)
    assert t_interval([0.3]) is None and t_interval([1.0, 3.0]) == pytest.approx((2 - 12.706, 2 + 12.706))
    low, high = t_interval(list(rng.normal(size=400)))
    assert high - low == pytest.approx(4 / 20, rel=0.1)


def test_the_summary_weighs_problems_alike():
    rows = [row("m", "a", 4), row("m", "b", 1), row("m", "c", 0, n_undecided=2)]
    found = summary(rows, (2, 4))
    assert found["pass_at_1"] == pytest.approx(5 / 12) and found["low"] < 5 / 12 < found["high"]
    assert found["pass_at_2"] == pytest.approx((1 + 1 / 2 + 0) / 3) and found["pass_at_4"] == pytest.approx(2 / 3)
    assert (found["none_pass_frac"], found["majority"]) == (pytest.approx(1 / 3), pytest.approx(1 / 3))
    assert (found["truncated_frac"], found["length_mean"], found["n_undecided"]) == (0.25, 10, 2)


def test_the_papers_averages_are_those_of_its_columns():
    for figures in PAPER["4b"].values():
        for columns, average in ((values[:-1], values[-1]) for values in figures):
            assert sum(columns) / 6 == pytest.approx(average, abs=0.02)


def metrics(names, value: float) -> dict:
    return {name: summary([row(name, "a", 4), row(name, "b", 0)], (4,)) | {"pass_at_1": value} for name in names}


def test_the_table_has_the_papers_layout_and_its_rows_only_on_request():
    ours = metrics(reversed(COLUMNS), 0.25)
    plain, beside = scorecard("m", ours), scorecard("m", ours, "4b")
    assert "paper" not in plain
    header, _, *body = [line for line in beside.split("\n\n")[1].splitlines()]
    assert [cell.strip() for cell in header.split("|")[2:-1]] == [*COLUMNS, "avg"]
    lte = next(line for line in body if "paper: LTE " in line)
    assert "70.60" in lte and lte.rstrip(" |").endswith("37.24")
    assert body[-1].startswith("| ours: m") and body[-1].rstrip(" |").endswith("25.00")
    with pytest.raises(ValueError, match="wanted one of 4b, 8b, got 3b"):
        scorecard("m", ours, "3b")


def test_an_average_over_fewer_benchmarks_is_not_given():
    few = scorecard("m", metrics(["AIME24"], 0.25), "8b").split("\n\n")[1].splitlines()
    assert few[-1].rstrip(" |").endswith("-") and "25.00" in few[-1]
    assert few[-2].rstrip(" |").endswith("49.56")


def problems(*rows_) -> dict:
    return {(r["benchmark"], r["id"]): r for r in rows_}


def test_a_comparison_is_paired_and_names_what_flipped():
    first = problems(*(row("m", str(i), i % 2 * 2) for i in range(40)), row("m", "only", 4))
    second = problems(*(row("m", str(i), i % 2 * 2 + 1) for i in range(40)))
    found = compare(first, second)["m"]
    assert found["pass_at_1"] == {"difference": 0.25, "low": 0.25, "high": 0.25, "significant": True}
    assert (found["n_problems"], found["n_only_first"], found["n_only_second"]) == (40, 1, 0)
    assert [flip["id"] for flip in found["gained"]] == [str(i) for i in range(1, 40, 2)] and not found["lost"]
    text = comparison_text("A", "B", compare(first, second))
    assert "B - A" in text and "+25.00 to +25.00" in text and "m: 20 gained" in text
    assert "1 problems only in the first" in text


def test_a_difference_that_may_be_none_is_not_called_one():
    rng = np.random.default_rng(1)
    first, second = (
        problems(*(row("m", str(i), int(c)) for i, c in enumerate(rng.integers(5, size=50)))) for _ in "ab"
    )
    assert not compare(first, second)["m"]["pass_at_1"]["significant"]
    two = compare(first | problems(row("n", "a", 1)), second | problems(row("n", "a", 1)))
    assert list(two) == ["m", "n", "all"] and two["all"]["n_problems"] == 51


def test_what_cannot_be_compared_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="no problem in common"):
        compare(problems(row("m", "a", 1)), problems(row("n", "a", 1)))
    with pytest.raises(ConfigError, match="1 common ids have different reference answers, such as m a"):
        compare(problems(row("m", "a", 1)), problems(row("m", "a", 1, answer="8")))
    with pytest.raises(ConfigError, match="no evaluation here"):
        read_problems(tmp_path)
    (tmp_path / "problems.jsonl").write_text('{"id": 1}\n')
    with pytest.raises(ConfigError, match="not problems of an evaluation"):
        read_problems(tmp_path)


def test_an_evaluation_of_lte_eval_and_one_of_training_read_alike(tmp_path):
    rows = [row("m", "a", 1), row("m", "b", 4)]
    (tmp_path / "run" / "eval").mkdir(parents=True)
    head = {"step": 2, "metrics": {}}
    (tmp_path / "run" / "eval" / "000002.jsonl").write_text("".join(json.dumps(r) + "\n" for r in [head, *rows]))
    (tmp_path / "out").mkdir()
    write_scorecard(tmp_path / "out", "m", {}, rows, "")
    assert read_problems(tmp_path / "run") == read_problems(tmp_path / "out") == problems(*rows)
