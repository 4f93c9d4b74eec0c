"""The entropy coefficient from step to step, by hand."""

import pytest
from handmade import group, wrong

from lte_jax.config import LossConfig
from lte_jax.host.entropy import SCHEDULES, sampled_entropy

ADAPTIVE = LossConfig(entropy_schedule="adaptive", entropy_target=0.2, entropy_step=0.4)


def test_fixed_is_always_the_configured_one():
    assert SCHEDULES["fixed"](0.5, 0.01, LossConfig(entropy_coef=0.003)) == (0.003, 0.003)


@pytest.mark.parametrize(
    ("kept", "entropy", "applied", "next_kept"),
    [
        (0.0, 0.1, 0.0, 0.4),  # starts at 0
        (0.4, 0.1, 0.4, 0.8),
        (0.8, 0.2, 0.8, 1.0),  # at the target: applied; never above 1
        (0.8, 0.3, 0.0, 0.4),  # above the target: not applied, and falls
        (0.2, 9.0, 0.0, 0.0),  # never below 0
    ],
)
def test_adaptive_moves_towards_the_target_and_is_applied_only_below_it(kept, entropy, applied, next_kept):
    assert SCHEDULES["adaptive"](kept, entropy, ADAPTIVE) == pytest.approx((applied, next_kept))


def test_entropy_is_measured_per_token_on_what_was_drawn_first():
    rows = group(wrong(tokens=(1, 2), logp=(-0.5, -1.5)), wrong(tokens=(1,), logp=(-4.0,)))
    assert sampled_entropy([rows]) == pytest.approx(2.0)
