"""Which answers are the same: labelled pairs of our own in verify_cases/, gold first, made from what the forms mean."""

from pathlib import Path

import pytest

from lte_jax.host.answers.decide import decide
from lte_jax.host.verify import check_gold
from lte_jax.host.verify.slow import decide_fully

CASES = Path(__file__).parent / "verify_cases"


def pairs(name):
    """(gold, answer) of each line of a table; a heading begins with `# `."""
    lines = (CASES / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    return [tuple(line.split(" ;; ")) for line in lines if not line.startswith("# ")]


def verdict(gold, answer):
    return decide(gold, answer) or decide_fully(gold, answer, {})


@pytest.mark.parametrize(("gold", "answer"), pairs("equal"))
def test_equal_answers_are_equal(gold, answer):
    assert verdict(gold, answer) == "equal"


@pytest.mark.parametrize(("gold", "answer"), pairs("different"))
def test_near_misses_are_not_equal(gold, answer):
    assert verdict(gold, answer) in ("different", "unparsable")


@pytest.mark.parametrize(("gold", "answer"), pairs("kinds"))
def test_of_each_kind_the_right_ones_are_equal_and_the_near_misses_are_not(gold, answer):
    mark, _, gold = gold.partition(" ")
    assert {"=": True, "!": False}[mark] is (verdict(gold, answer) == "equal")


def test_the_caller_decides_rational_answers_without_sympy():
    cheap = [("420", "420.0"), (r"\frac{1}{2}", "0.5"), ("(1,2)", "(1, 3)"), (r"\{1,2\}", r"\{2, 1\}")]
    for gold, answer in cheap:
        assert decide(gold, answer) is not None, (gold, answer)


def test_tolerance_is_only_for_an_inexact_gold_and_is_relative():
    assert verdict("8.7e8", "870050000") == "equal"
    assert verdict("8.7e8", "870100000") == "different"
    assert verdict("17.001", "17.0") == "equal" and verdict("17.001", "17") == "different"
    assert verdict("870000000", "870050000") == "different"
    assert verdict("1.4142", r"\sqrt{2}") == "equal"
    assert decide_fully("1.4142", r"\sqrt{2}", {"relative_tolerance": 0.0}) == "different"


@pytest.mark.parametrize(
    ("gold", "answer", "status"),
    [("5", r"\sqrt{", "unparsable"), (r"\frac{", "5", "bad_gold"), ("", "5", "bad_gold"), ("5", "10^9!", "too_large")],
)
def test_the_status_says_why(gold, answer, status):
    assert verdict(gold, answer) == status


def test_check_gold_names_what_it_cannot_read():
    assert check_gold(r"\left( 3, \frac{\pi}{2} \right)") is None
    assert "empty" in check_gold(" ")
    assert "cannot be read" in check_gold("$t(0,4]$")
    assert "too large" in check_gold("(" * 100 + "1" + ")" * 100)
