"""What length takes off a reward, by hand; levels are untouched by it."""

import pytest
from handmade import group, right, wrong

from lte_jax.config import build
from lte_jax.host.advantage import with_advantages
from lte_jax.host.diagnose import pass_level
from lte_jax.host.shaping import SHAPINGS, shaped_reward
from lte_jax.records import PassLevel

SOFT = build({"sample": {"response_budget": 10}, "overlong": {"shaping": "soft", "buffer": 4, "factor": 0.5}})


@pytest.mark.parametrize(("n_tokens", "taken"), [(1, 0), (5, 0), (6, 0), (7, -0.125), (8, -0.25), (10, -0.5)])
def test_soft_punishment_falls_linearly_over_the_buffer(n_tokens, taken):
    assert SHAPINGS["soft"](n_tokens, 10, SOFT.overlong) == pytest.approx(taken)
    assert shaped_reward(right(tokens=range(n_tokens)), SOFT) == pytest.approx(1 + taken)
    assert shaped_reward(wrong(tokens=range(n_tokens)), SOFT) == pytest.approx(taken)
    assert SHAPINGS["none"](n_tokens, 10, SOFT.overlong) == 0


def test_shaping_makes_variance_but_no_level():
    its = with_advantages(group(right(tokens=range(2)), right(tokens=range(10))), SOFT)
    assert its.advantages == pytest.approx((2**-0.5, -(2**-0.5)), rel=1e-5)
    assert pass_level(its.members) is PassLevel.ALL
