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
