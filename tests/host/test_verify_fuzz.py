"""Fuzzing, the short version: `python tests/fuzz_answers.py --minutes 30` is the long one."""

import pytest
from fuzz_answers import check_in_workers, check_noise, check_pair, mutated, noise, pair
from hypothesis import given, settings

from lte_jax.host.verify import Verifier


@pytest.fixture(scope="module")
def verifier():
    with Verifier(workers=1) as verifier:
        yield verifier


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(pair())
def test_two_spellings_are_equal_exactly_where_their_values_are(verifier, case):
    check_pair(verifier, *case)


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(noise(), noise())
def test_noise_gets_a_status(gold, answer):
    check_noise(gold, answer)


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(pair(), noise())
def test_damaged_answers_crash_no_worker(verifier, case, other):
    gold, answer, _ = case
    check_noise(gold, mutated(answer, 1))
    check_in_workers(verifier, [(gold, mutated(answer, 2)), (mutated(gold, 3), answer), (gold, other)])
