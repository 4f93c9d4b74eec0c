"""Pass level, failure mode and the list of wrong answers, as the method says; what counts as a leak."""

from dataclasses import replace

import numpy as np
import pytest
from handmade import group, right, rollout, wrong

from lte_jax.host import diagnose
from lte_jax.host.diagnose import contains_answer, failure_mode, names_hint, nothing_graded, pass_level
from lte_jax.host.diagnose import wrong_answers as all_wrong_answers
from lte_jax.records import Attempt, FailureMode, Origin, PassLevel, Retry, Status

UNDECIDED = [rollout(Status.TIMEOUT), rollout(Status.CRASH), rollout(None)]


def wrong_answers(rollouts, same_answer, most=8):
    return all_wrong_answers(rollouts, same_answer, 64, most)


def never(pairs):
    return [False] * len(pairs)


@pytest.mark.parametrize(
    ("rollouts", "level"),
    [
        ([wrong(), wrong()], PassLevel.NONE),
        ([wrong(), right()], PassLevel.SOME),
        ([right(), right()], PassLevel.ALL),
        ([wrong(), *UNDECIDED], PassLevel.NONE),
        ([right(), *UNDECIDED], PassLevel.ALL),
        ([right(), wrong(), *UNDECIDED], PassLevel.SOME),
        ([rollout(Status.UNPARSABLE), rollout(Status.TOO_LARGE), rollout(Status.NO_ANSWER)], PassLevel.NONE),
        (UNDECIDED, None),
        ([], None),
    ],
)
def test_pass_level_is_that_of_the_decided_rollouts(rollouts, level):
    assert pass_level(rollouts) is level


@pytest.mark.parametrize(
    ("truncated", "mode"),
    [
        ([True, True, True], FailureMode.ALL_TRUNCATED),
        ([True, True, False], FailureMode.SOME_TRUNCATED),
        ([False, False, True], FailureMode.SOME_TRUNCATED),
        ([False, False, False], FailureMode.NONE_TRUNCATED),
    ],
)
def test_failure_mode_follows_the_number_of_truncated_rollouts(truncated, mode):
    assert failure_mode([wrong(truncated=t) for t in truncated]) is mode


def test_wrong_answers_are_distinct_and_in_order_of_first_occurrence():
    assert wrong_answers([wrong("9"), wrong("7"), wrong("9"), wrong("8"), wrong("7")], never) == ("9", "7", "8")


def test_only_different_answers_of_finished_rollouts_are_listed():
    rollouts = [
        wrong("1", truncated=True),
        rollout(Status.UNPARSABLE, "2"),
        rollout(Status.TOO_LARGE, "3"),
        rollout(Status.NO_ANSWER),
        rollout(Status.TIMEOUT, "4"),
        rollout(Status.CRASH, "5"),
        rollout(Status.BAD_GOLD, "6"),
        rollout(None),
        right(),
        wrong(None),
        wrong(""),
        wrong("7"),
    ]
    assert wrong_answers(rollouts, never) == ("7",)


def test_mathematically_equal_answers_are_listed_once_and_undecided_pairs_stay_apart():
    verdicts = {("1/2", "0.5"): True, ("1/2", "2/4"): None, ("0.5", "2/4"): None, ("1/2", "3"): False}

    def same_answer(pairs):
        return [verdicts.get(pair, False) for pair in pairs]

    answers = [wrong("1/2"), wrong("0.5"), wrong("3"), wrong("2/4")]
    assert wrong_answers(answers, same_answer) == ("1/2", "3", "2/4")


def test_equality_is_asked_once_for_all_pairs_and_never_for_one_answer():
    asked = []

    def same_answer(pairs):
        asked.append(list(pairs))
        return never(pairs)

    wrong_answers([wrong("1"), wrong("2"), wrong("1"), wrong("3")], same_answer)
    wrong_answers([wrong("1"), wrong("1")], same_answer)
    assert asked == [[("1", "2"), ("1", "3"), ("2", "3")]]


def by_value(pairs):
    return [float(a) == float(b) for a, b in pairs]


def test_many_answers_are_compared_only_until_a_hint_is_full():
    """128 distinct ones were 8128 comparisons, and a list past max_answers is never shown."""
    compared = []

    def counted(pairs):
        compared.extend(pairs)
        return by_value(pairs)

    assert wrong_answers([wrong(str(n)) for n in range(128)], counted) == tuple(map(str, range(8)))
    assert len(compared) == 16 * 15 / 2
    compared.clear()
    zeros = ["0" * n + "5" for n in range(60)]  # one value in 60 spellings, then others
    assert wrong_answers([wrong(a) for a in [*zeros, "6", "7"]], counted) == ("5", "6", "7")
    assert len(compared) < 500


@pytest.mark.parametrize("n_values", [3, 9, 40])
@pytest.mark.parametrize("most", [1, 3, 8, 200])
def test_the_first_answers_are_those_that_comparing_all_pairs_finds(n_values, most):
    rng = np.random.default_rng([n_values, most])
    spellings = ("{}", "{}.", "{}.0", "0{}")
    answers = [spellings[rng.integers(4)].format(rng.integers(n_values)) for _ in range(50)]
    every = list(dict.fromkeys(answers))
    kept = [a for j, a in enumerate(every) if not any(float(a) == float(b) for b in every[:j])]
    assert wrong_answers([wrong(a) for a in answers], by_value, most) == tuple(kept[:most])


def test_spellings_that_a_hint_writes_alike_fill_it_once():
    answers = [wrong("1  2"), wrong("1 2"), wrong(" "), wrong("3"), wrong("4")]
    assert wrong_answers(answers, never, most=2) == ("1  2", "1 2", " ", "3")


def test_rounds_are_told_apart():
    first = group(wrong("1"), wrong("2"))
    retry = Retry.of(first.prompt, 2, Origin.HINTED, FailureMode.NONE_TRUNCATED)
    second = Attempt(retry, (wrong("3", round=1), wrong("4", round=1)))
    both = replace(first, attempts=(second,))
    assert diagnose.last_round(first) == first.initial
    assert diagnose.last_round(both) == second.rollouts
    assert [r.verdict.extracted for r in diagnose.all_rollouts(both)] == ["1", "2", "3", "4"]


PATTERNS = (r"known to be wrong", r"\b(?:the|this) (?:hint|note)\b")


@pytest.mark.parametrize(
    ("text", "named"),
    [("As The Note says", True), ("these are KNOWN to be wrong", True), ("the notes", False), ("a hint of it", False)],
)
def test_a_response_names_the_hint_by_the_patterns(text, named):
    assert names_hint(text, PATTERNS) is named


def test_answers_that_are_too_long_to_list_are_left_out_and_not_compared():
    compared = []

    def same_answer(pairs):
        compared.extend(pairs)
        return [False] * len(pairs)

    found = all_wrong_answers([wrong("1" * 65), wrong("2"), wrong("3" * 64)], same_answer, max_chars=64, most=8)
    assert found == ("2", "3" * 64)
    assert compared == [("2", "3" * 64)]


@pytest.mark.parametrize(
    ("text", "contained"),
    [
        ("so x = 12, or", True),
        ("12", True),
        ("x=12.", True),
        ("112", False),
        ("123", False),
        ("12.5", False),
        ("0.12", False),
        ("a12", False),
        ("(12)", True),
    ],
)
def test_a_listed_answer_stands_in_a_text_as_a_whole_token(text, contained):
    assert contains_answer(text, ("99", "12")) is contained


def test_a_listed_answer_is_no_pattern():
    assert contains_answer("is (1+x)? no", ("(1+x)?",)) and not contains_answer("1x", ("1+x",))


def test_nothing_is_graded_where_no_round_of_any_group_has_a_verdict():
    lost = group(rollout(Status.TIMEOUT), rollout(Status.CRASH))
    retry = Retry.of(lost.prompt, 1, Origin.EXTRA, None)
    assert nothing_graded([lost, lost]) == "verdict timeout"
    assert nothing_graded([lost, group(wrong(), rollout(Status.CRASH))]) == ""
    assert nothing_graded([lost, replace(lost, attempts=(Attempt(retry, (right(),)),))]) == ""


def test_the_users_patterns_see_the_beginning_of_a_response_only():
    assert names_hint("x" * 16_000 + " the hint", PATTERNS)
    assert not names_hint("x" * 16_384 + " the hint", PATTERNS)
