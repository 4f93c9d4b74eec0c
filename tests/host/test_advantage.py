"""Advantages by hand; a group without variance has none, exactly."""

from dataclasses import replace

import pytest
from handmade import group, right, rollout, wrong

from lte_jax.config import build
from lte_jax.host.advantage import BASELINES, with_advantages
from lte_jax.records import Origin, Status


def advantages(*rollouts, **settings):
    return with_advantages(group(*rollouts), build({"advantage": settings})).advantages


def test_mean_and_unbiased_std():
    # rewards 1 0 0 0: mean 1/4, sum of squares 3/4, unbiased variance 1/4, std 1/2
    assert advantages(right(), wrong(), wrong(), wrong(), eps=0) == pytest.approx((1.5, -0.5, -0.5, -0.5))


def test_eps_is_added_to_the_std():
    assert advantages(right(), wrong(), wrong(), wrong(), eps=0.5) == pytest.approx((0.75, -0.25, -0.25, -0.25))


def test_mean_alone():
    ours = advantages(right(), wrong(), wrong(), right(), wrong(), baseline="mean")
    assert ours == pytest.approx((0.6, -0.4, -0.4, 0.6, -0.4))


def test_leave_one_out_compares_with_the_others():
    ours = advantages(right(), wrong(), wrong(), right(), baseline="leave_one_out")
    assert ours == pytest.approx((1 - 1 / 3, -2 / 3, -2 / 3, 1 - 1 / 3))


@pytest.mark.parametrize("baseline", BASELINES)
@pytest.mark.parametrize("make", [right, wrong])
@pytest.mark.parametrize("n", [2, 3, 7])
def test_equal_rewards_have_no_advantage_to_the_last_bit(baseline, make, n):
    assert advantages(*[make()] * n, baseline=baseline) == (0.0,) * n


@pytest.mark.parametrize("baseline", BASELINES)
def test_a_group_of_one_has_no_variance_and_a_group_of_two_has(baseline):
    assert advantages(right(), baseline=baseline) == advantages(wrong(), baseline=baseline) == (0.0,)
    assert BASELINES[baseline]([1.0], 1e-6) == [0.0]
    assert advantages(right(), wrong(), baseline=baseline) == pytest.approx(
        {"mean_std": (0.5**0.5, -(0.5**0.5)), "mean": (0.5, -0.5), "leave_one_out": (1, -1)}[baseline], rel=1e-5
    )


@pytest.mark.parametrize("baseline", BASELINES)
def test_variance_is_decided_from_rewards_and_not_from_a_rounded_mean(baseline):
    """The mean of three 0.1 is off by an ulp."""
    tenth = replace(right(), verdict=replace(right().verdict, correct=0.1))
    assert advantages(tenth, tenth, tenth, baseline=baseline) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("baseline", BASELINES)
def test_no_advantage_is_0_where_rewards_differ(baseline):
    """Rows of advantage 0 are left out of the update, so this must not happen to a decided row."""
    for n in range(2, 17):
        for n_right in range(1, n):
            assert all(advantages(*[right()] * n_right, *[wrong()] * (n - n_right), baseline=baseline))


def test_a_member_without_a_verdict_has_none_and_counts_for_nothing():
    timeout, ungraded = rollout(Status.TIMEOUT), rollout(None)
    assert advantages(timeout, right(), ungraded, wrong(), rollout(Status.CRASH), baseline="mean") == pytest.approx(
        (None, 0.5, None, -0.5, None)
    )
    assert advantages(timeout, right(), ungraded) == (None, 0.0, None)
    assert advantages(timeout, ungraded) == (None, None)


def test_an_answer_that_cannot_be_read_scores_0():
    statuses = [Status.NO_ANSWER, Status.UNPARSABLE, Status.TOO_LARGE]
    ours = advantages(right(), *map(rollout, statuses), baseline="mean")
    assert ours == pytest.approx((0.75, -0.25, -0.25, -0.25))


def test_hinted_members_share_the_baseline():
    ours = advantages(right(origin=Origin.HINTED), wrong(), wrong(), baseline="mean")
    assert ours == pytest.approx((2 / 3, -1 / 3, -1 / 3))


def test_truncated_members_may_be_left_out_of_the_update_but_count_in_the_baseline():
    its = with_advantages(
        group(right(), wrong(), wrong(truncated=True), rollout(Status.TIMEOUT)),
        build({"advantage": {"baseline": "mean"}, "overlong": {"filter": True}}),
    )
    assert its.advantages == pytest.approx((2 / 3, -1 / 3, None, None))


@pytest.mark.parametrize(
    ("members", "zero_variance", "scale"),
    [
        ((right(), right()), "entropy", 0.15),
        ((wrong(), wrong()), "entropy", -0.15),
        ((wrong(), rollout(Status.TIMEOUT)), "entropy", -0.15),
        ((right(), wrong()), "entropy", 0.0),
        ((rollout(None), rollout(Status.TIMEOUT)), "entropy", 0.0),
        ((right(), right()), "leave_out", 0.0),
        ((wrong(), wrong()), "keep", 0.0),
    ],
)
def test_token_entropy_takes_over_where_rewards_are_equal(members, zero_variance, scale):
    config = build({"advantage": {"zero_variance": zero_variance, "entropy_scale": 0.15}})
    assert with_advantages(group(*members), config).entropy_scale == scale
