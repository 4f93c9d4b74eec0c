"""The entropy coefficient from step to step, by hand."""

from dataclasses import replace

import numpy as np
import pytest
from handmade import group, right, wrong

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
    begun = replace(wrong(tokens=(1, 2), logp=(-9.0, -1.0)), n_given=1)  # its first token was given
    for annealed in (False, True):
        assert sampled_entropy([group(*rows.initial, begun)], annealed) == pytest.approx((0.5 + 1.5 + 4 + 1) / 4)


def test_entropy_of_what_was_drawn_at_other_temperatures_is_weighed_back():
    """Logits (0, 1): p = (.2689, .7311) at T = 1, H = .5823; drawn at T = 1.2 with (.3029, .6971)."""
    p, drawn = np.array([0.26894142, 0.73105858]), np.array([0.30294072, 0.69705928])
    n = np.rint(drawn * 10_000).astype(int)  # as often as each token would come
    behaviour, sampled = (tuple(np.repeat(np.log(values), n).tolist()) for values in (p, drawn))
    heated = wrong(tokens=(1,) * n.sum())
    heated = replace(heated, response=replace(heated.response, behaviour_logp=behaviour, sampled_logp=sampled))
    assert sampled_entropy([group(heated)], annealed=True) == pytest.approx(0.58220, abs=1e-4)
    assert sampled_entropy([group(heated)]) == pytest.approx(0.61617, abs=1e-4)  # the bias that the weights take away
    plain = group(wrong(tokens=(1, 2, 3), logp=(-0.1, -0.7, -1.3)), right(tokens=(1,), logp=(-0.2,)))
    assert sampled_entropy([plain], annealed=True) == sampled_entropy([plain])
