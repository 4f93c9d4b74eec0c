"""Dynamic sampling: which groups stay, how many problems come next, and how groups are numbered."""

from dataclasses import replace

import pytest
from handmade import group, right, rollout, wrong

from lte_jax.host.refill import RefillError, fill, has_variance, n_refill
from lte_jax.records import NoVerdictError, Origin, Status, Verdict


@pytest.mark.parametrize(
    ("members", "stays"),
    [
        ((right(), wrong()), True),
        ((right(), right()), False),
        ((wrong(), wrong()), False),
        ((right(), rollout(Status.TIMEOUT)), False),  # no verdict is no variance
        ((rollout(Status.TIMEOUT), rollout(Status.CRASH)), False),
        ((right(), wrong(), rollout(Status.TIMEOUT)), True),
    ],
)
def test_a_group_stays_with_right_and_wrong_members(members, stays):
    assert has_variance(group(*members)) is stays


def test_a_rescued_group_stays():
    before = group(wrong(), wrong())
    assert not has_variance(before)
    assert has_variance(replace(before, members=(right(origin=Origin.HINTED), before.members[1])))


@pytest.mark.parametrize(
    ("n_missing", "n_kept", "n_drawn", "n"),
    [(4, 4, 8, 8), (2, 6, 8, 3), (1, 7, 8, 2), (8, 0, 8, 8), (7, 1, 8, 8), (1, 15, 16, 2)],
)
def test_a_refill_is_as_large_as_the_share_kept_so_far_asks_for(n_missing, n_kept, n_drawn, n):
    assert n_refill(n_missing, n_kept, n_drawn, most=8) == n


def drawing(*shares):
    """A `draw` whose attempt k gives groups with variance at share k, and what it was asked for."""
    asked = []

    def draw(n, first):
        attempt = len(asked)
        asked.append((n, first))
        return [
            group(right(), wrong() if place < n * shares[attempt] else right(), index=first + place)
            for place in range(n)
        ]

    return draw, asked


def test_refills_go_on_until_the_batch_is_full():
    draw, asked = drawing(0.5, 0.25, 1.0)
    drawn, kept = fill(draw, 8, max_attempts=5)
    assert asked == [(8, 0), (8, 8), (6, 16)]  # 2 missing at 6 of 16: 5.3
    assert [its.index for its in drawn] == list(range(22))
    assert [its.index for its in kept] == [0, 1, 2, 3, 8, 9, 16, 17]  # the surplus is not trained


def test_a_batch_that_cannot_be_filled_says_so():
    draw, asked = drawing(0.25, 0.0, 0.25)
    with pytest.raises(RefillError, match="only 4 of 24 groups .* sample.max_attempts = 3 rounds .* = 8"):
        fill(draw, 8, max_attempts=3)
    assert len(asked) == 3


def test_a_batch_of_which_nothing_was_graded_says_that_and_why():
    lost = replace(rollout(None), verdict=Verdict(False, Status.CRASH, "42", reason="mine.py:3: KeyError"))
    with pytest.raises(NoVerdictError, match="no verdict for any rollout in 2 rounds of problems: mine.py:3: KeyError"):
        fill(lambda n, first: [group(lost, lost) for _ in range(n)], 8, max_attempts=2)
