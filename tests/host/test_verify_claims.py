"""What a response states as its answer, kind by kind: beside what must be accepted stands what must not.

The kinds come from public reports of other verifiers' mistakes; every case was written for the table,
verify_cases/stated.txt.
"""

from pathlib import Path

import pytest

from lte_jax.host.answers.extract import extract
from lte_jax.host.verify import check_gold, grade

TABLE = Path(__file__).parent / "verify_cases" / "stated.txt"


def cases(sign):
    """(gold, response) of each line with the sign, + for stated and - for not."""
    kind = gold = ""
    for line in TABLE.read_text(encoding="utf-8").splitlines():
        if line.startswith("# ") and " ;; " in line:
            kind, gold = line[2:].split(" ;; ")
        elif line.startswith(sign):
            yield pytest.param(gold, line[2:].replace("⏎", "\n"), id=f"{kind}: {line[2:60]}")


@pytest.mark.parametrize(("gold", "response"), cases("+"))
def test_a_stated_answer_is_found(gold, response):
    verdict = grade(gold, response)
    assert verdict.correct, (verdict.status, verdict.rule, verdict.extracted)


@pytest.mark.parametrize(("gold", "response"), cases("-"))
def test_what_is_not_stated_is_not_the_answer(gold, response):
    verdict = grade(gold, response)
    assert not verdict.correct, (verdict.rule, verdict.extracted)


LETTER = (
    r"E) heat",
    r"E – heat",
    r"E - heat",
    r"(E): heat",
    r"\text{E}\ 12",
    r"\textbf{(E)}~12",
    r"E: 12",
    r"\text{E) }12",
)
NO_LETTER = (
    r"D) E",
    r"E - h",
    r"E - 12",
    r"\text{E}x",
    r"\text{E} + 12",
    r"D - E",
    r"E - heat or (D)",
    r"D or E",
    r"D – heat",
)


@pytest.mark.parametrize(
    ("boxed", "correct"), [*((text, True) for text in LETTER), *((text, False) for text in NO_LETTER)]
)
def test_a_letter_with_its_text_is_that_letter(boxed, correct):
    assert grade("E", rf"\boxed{{{boxed}}}").correct is correct


STATING_GOLDS = [
    ("The answer is 10.", "10"),
    ("The value of x is 10.", "10"),
    ("The largest $n$ is 34.", "34"),
    ("The probability is $\\frac{1}{2}$.", "0.5"),
    ("Natalia sold 72 clips altogether in April and May.", "72"),
    ("the smallest such n is 12 because 12 = 3*4", "12"),
    ("5 is the answer", "5"),
    ("答案是42。", "42"),
    ("x = 3 is the only solution", "3"),
]
NO_GOLDS = [
    "Tom has 3 apples and Bob has 5",
    "There are 5 boys, 7 girls",
    "the diagonals are perpendicular to each other",
    "It is not possible.",
    "x is at least 8 and y is 3",
    "The answer is not 7.",
    "The answer is less than 8.",
    "答案不是42。",
]
PLAIN_GOLDS = [
    "Saint Petersburg",
    "no solution",
    "there is no solution",
    "all real numbers except -4",
    "June 20, 2010",
    r"7 \text{ distinct integers}",
    "f(x) = ax + b where a is any real number",
    r"\text{even}",
    "3 apples",
]


@pytest.mark.parametrize(("gold", "answer"), STATING_GOLDS)
def test_a_gold_that_is_a_sentence_counts_as_what_it_states(gold, answer):
    assert check_gold(gold) is None
    assert grade(gold, rf"\boxed{{{answer}}}").correct
    assert not grade(gold, rf"\boxed{{{answer}1}}").correct


@pytest.mark.parametrize("gold", NO_GOLDS)
def test_a_sentence_that_states_no_single_answer_is_refused_and_grades_nothing(gold):
    assert "no single answer" in check_gold(gold)
    assert grade(gold, rf"\boxed{{{gold}}}").status == "bad_gold"


@pytest.mark.parametrize("gold", PLAIN_GOLDS)
def test_words_that_are_the_answer_are_no_sentence(gold):
    assert check_gold(gold) is None
    assert grade(gold, rf"\boxed{{{gold}}}").correct


def test_what_is_extracted_is_what_was_written():
    assert extract("The answer is 8, since 7 fails.").answer == "8"
    assert extract("Answer: Paris").answer == "Paris"
    assert extract("The answer is 12 cm.").answer == "12 cm"
    assert extract("The answer is x < 5.").answer == "x < 5"
    assert extract("The answer is 8 of them.").answer == "8"
    assert extract("The answer is 8 ways to go there.").answer == "8"
    assert extract("The answer is therefore either 7 or 8.").answer == "7 or 8"
    assert extract("The answer is less than 8.") is None
