"""The credits of the package, against numbers written out by hand."""

from dataclasses import replace

import numpy as np
import pytest
from handmade import group, right, rollout, wrong

from lte_jax.config import build
from lte_jax.host.advantage import with_advantages
from lte_jax.host.credits import make_credits, wanted_features
from lte_jax.records import Origin, Status


def credited(name, its, features, memory=None, **args):
    """The advantages of a group whose members have these features; GRPO's baseline with std unless `baseline` says."""
    baseline = args.pop("baseline", "mean_std")
    values = {"credits": [name], "baseline": baseline, "eps": 0, "args": {name: args} if args else {}}
    config = build({"advantage": values, "sample": {"response_budget": 8192}})
    found = with_advantages(replace(its, features=tuple(features)), config, make_credits(config), {name: memory or {}})
    return list(found.advantages)


def one_right_of_four():
    return group(right(), wrong(), wrong(), wrong())


def test_ace_punishes_what_training_has_made_likelier():
    shifts = [{"shift": c} for c in (0.0, np.log(3), 0.0, -np.log(3))]
    ours = credited("ace", one_right_of_four(), shifts)
    np.testing.assert_allclose(ours, [1.5, -1.193147, -0.846574, -0.643841], atol=2e-6)
    halved = credited("ace", one_right_of_four(), shifts, alpha=0.5)
    np.testing.assert_allclose(halved, [1.5, -0.846574, -0.673287, -0.571921], atol=2e-6)
    mean = credited("ace", one_right_of_four(), [{"shift": 2 * c["shift"]} for c in shifts], confidence="mean")
    np.testing.assert_allclose(mean, ours, atol=2e-6)  # of two tokens
    limited = credited("ace", one_right_of_four(), [{"shift": c} for c in (0.0, 900.0, 0.0, -900.0)], limit=np.log(3))
    np.testing.assert_allclose(limited, ours, atol=2e-6)


def test_ace_leaves_what_is_not_decided_and_changes_segments_alone_where_they_are_negative():
    its = group(right(), wrong(), rollout(Status.TIMEOUT))
    ours = credited("ace", its, [{"shift": 0.0}, {"shift": 0.0}, {}], baseline="mean")
    assert ours == [0.5, pytest.approx(-0.5 * (1 + np.log(2))), None]
    config = build({"advantage": {"credits": ["ace"]}})
    credit = make_credits(config)["ace"]
    its = replace(group(wrong()), features=({"shift": 0.0},))
    ((first, second),) = credit.advantages(its, [((0, 0.5), (1, -1.0))], {})
    assert first == (0, 0.5) and second == (1, pytest.approx(-1 - np.log(2)))


def test_credits_say_what_they_read():
    config = build({"advantage": {"credits": ["ace"]}})
    assert wanted_features(make_credits(config)) == ("shift",)
    assert wanted_features({}) == ()


def test_hinted_members_that_are_implausible_on_the_plain_prompt_are_not_trained():
    """At the floor is in; what was not hinted, and what has no verdict, is left as it is."""
    hinted = [right(origin=Origin.HINTED), right(origin=Origin.HINTED), wrong(origin=Origin.HINTED)]
    its = group(*hinted, wrong(), rollout(Status.TIMEOUT))
    found = [{"hint_ratio": ratio} for ratio in (-1.0, -1.01, -3.0, -3.0)]
    assert credited("plausible", its, [*found, {}], baseline="mean") == [0.5, None, None, -0.5, None]
    assert credited("plausible", its, [*found, {}], baseline="mean", floor=-2) == [0.5, 0.5, None, -0.5, None]


def test_r3l_amplifies_what_is_right():
    assert credited("amplify", one_right_of_four(), [{}] * 4, baseline="mean") == [1, -0.25, -0.25, -0.25]
    assert credited("amplify", group(right(), right()), [{}] * 2, baseline="mean") == [1, 1]
    assert credited("amplify", group(wrong(), wrong()), [{}] * 2, baseline="mean") == [0, 0]
    partly = replace(wrong(), verdict=replace(wrong().verdict, shaped=0.6))  # 1.35: more than a full success
    ours = credited(
        "amplify", group(wrong(), partly, wrong(), rollout(Status.TIMEOUT), wrong()), [{}] * 5, baseline="mean"
    )
    assert ours == [pytest.approx(-0.15), pytest.approx(1.35), pytest.approx(-0.15), None, pytest.approx(-0.15)]


def test_a_tree_credits_the_difference_of_its_forks_values():
    """r0 is wrong; r1 forks it at 4 and is right; r2 is new and wrong: V(0) = 1/3, V(r0, 4) = 1/2."""
    r0, r2 = wrong(tokens=(1, 2, 3, 4, 5, 6, 7, 8, 9, 9)), wrong(tokens=(2, 2, 3, 4, 5, 6))
    r1 = replace(right(tokens=(1, 2, 3, 4, 7, 7, 7, 7, 7)), n_given=4)
    ours = credited("tree", group(r0, r1, r2), [{}] * 3)
    assert [[(start, round(value, 9)) for start, value in each] for each in ours] == [
        [(0, round(1 / 6, 9)), (4, -0.5)],
        [(0, round(1 / 6, 9)), (4, 0.5)],
        [(0, round(-1 / 3, 9))],
    ]
    assert [sum(value for _, value in each) for each in ours] == [pytest.approx(r - 1 / 3) for r in (0, 1, 0)]
    assert credited("tree", group(right(), wrong(), rollout(Status.TIMEOUT)), [{}] * 3)[2] is None


def test_forks_at_one_place_of_different_parents_have_values_of_their_own():
    one, other = wrong(tokens=(1, 2, 3, 4)), right(tokens=(9, 8, 7, 6))
    forks = [replace(right(tokens=(1, 2, 5, 5)), n_given=2), replace(wrong(tokens=(9, 8, 5, 5)), n_given=2)]
    ours = credited("tree", group(one, other, forks[0], forks[1], right(tokens=(1, 2, 6, 6))), [{}] * 5)
    assert ours[0] == ((0, pytest.approx(2 / 3 - 3 / 5)), (2, pytest.approx(-2 / 3)))
    assert ours[1] == ((0, pytest.approx(1 / 2 - 3 / 5)), (2, pytest.approx(1 / 2)))


def test_long_right_responses_of_a_tree_lose_by_their_length():
    """Right ones of 6 and 4 tokens from the root beside a wrong one, alpha 1: 1/3 - 1/3 (1 - 4/6) = .222222."""
    its = group(right(tokens=(1, 1, 1, 1, 1, 1)), right(tokens=(2, 2, 2, 2)), wrong(tokens=(3, 3, 3, 3, 3)))
    ours = credited("tree", its, [{}] * 3, alpha=1)
    assert ours == [((0, pytest.approx(2 / 9)),), ((0, pytest.approx(1 / 3)),), ((0, pytest.approx(-2 / 3)),)]


def test_the_calibration_acts_behind_the_last_fork_that_both_pass():
    """Long and short right ones, and a wrong one, through a fork at 2: V(0) = 1/2, V(2) = 2/3; 1/3 (2 / 4) = 1/6."""
    long, short = right(tokens=(1, 2, 3, 3, 3, 3)), replace(right(tokens=(1, 2, 4, 4)), n_given=2)
    its = group(long, short, replace(wrong(tokens=(1, 2, 5)), n_given=2), wrong(tokens=(9, 9)))
    assert credited("tree", its, [{}] * 4, alpha=1)[0] == ((0, pytest.approx(1 / 6)), (2, pytest.approx(1 / 6)))
