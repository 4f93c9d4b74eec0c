"""The mixed-policy objective: values and gradients written out by hand, and no masked entry ever matters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lte_jax.config import LossConfig
from lte_jax.device import loss

LOW, HIGH = 0.2, 0.28
CLIP = LossConfig(clip_eps_low=LOW, clip_eps_high=HIGH)


@pytest.mark.parametrize(
    ("ratio", "advantage", "value", "gradient"),  # gradient: d / d logp = r A where the clip leaves it
    [
        (1.5, 2.0, 1.28 * 2, 0.0),
        (1.5, -2.0, 1.5 * -2, 1.5 * -2),
        (0.5, 2.0, 0.5 * 2, 0.5 * 2),
        (0.5, -2.0, 0.8 * -2, 0.0),
        (1.0, 2.0, 2.0, 2.0),
        (1.0, -2.0, -2.0, -2.0),
        (1.25, 2.0, 1.25 * 2, 1.25 * 2),  # above 1 + eps_low, below 1 + eps_high
    ],
)
def test_the_clip_removes_the_gradient_in_two_of_four_corners(ratio, advantage, value, gradient):
    ours = jax.value_and_grad(loss.clipped_surrogate)(jnp.log(ratio), advantage, LOW, HIGH)
    np.testing.assert_allclose(ours, (value, gradient), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("ratio", "gamma", "value", "gradient"),
    [
        (1.0, 0.1, 1 / 1.1, 0.1 / 1.21),  # 0.083: twelve times weaker than an on-policy token
        (0.1, 0.1, 0.5, 0.25),  # the maximum, at r = gamma
        (0.3, 0.3, 0.5, 0.25),
        (0.01, 0.1, 1 / 11, 0.001 / 0.0121),
        (4.0, 0.1, 4 / 4.1, 0.4 / 16.81),
    ],
)
def test_shaping_is_r_over_r_plus_gamma_with_weight_gamma_r_over_its_square(ratio, gamma, value, gradient):
    ours = jax.value_and_grad(loss.shaped_ratio)(jnp.log(ratio), gamma)
    np.testing.assert_allclose(ours, (value, gradient), rtol=1e-5)


@pytest.mark.parametrize(("log_ratio", "value"), [(500.0, 1.0), (-500.0, 0.0)])
def test_shaping_does_not_overflow(log_ratio, value):
    assert jax.value_and_grad(loss.shaped_ratio)(log_ratio, 0.1) == (value, 0.0)


# Two rows: on-policy, then hinted. Column 0 is the prompt, the last column of each is padding.
MASK_BT = np.array([[False, True, True, False], [False, True, True, False]])
OFF_BT = np.array([[False] * 4, [True] * 4])
LOGP_BT = np.log(np.array([[1.0, 0.5, 0.2, 1.0], [1.0, 0.4, 0.3, 1.0]], np.float32))
BEHAVIOUR_BT = np.log(np.array([[1.0, 0.25, 0.4, 1.0], [1.0, 0.2, 0.6, 1.0]], np.float32))
ADVANTAGE_BT = np.array([[1.5] * 4, [2.0] * 4], np.float32)


def objective(config, logp_BT=LOGP_BT, behaviour_BT=BEHAVIOUR_BT, advantage_BT=ADVANTAGE_BT):
    return loss.token_objective(logp_BT, behaviour_BT, MASK_BT, OFF_BT, advantage_BT, config)


def test_each_row_has_its_own_objective():
    expected_BT = [[0, 1.2 * 1.5, 0.5 * 1.5, 0], [0, 2 / 2.1 * 2, 0.5 / 0.6 * 2, 0]]
    np.testing.assert_allclose(objective(LossConfig()), expected_BT, rtol=1e-6)


@pytest.mark.parametrize(
    ("objective_name", "expected"),
    [("shaped", [2 / 2.1 * 2, 0.5 / 0.6 * 2]), ("ratio", [4.0, 1.0]), ("clipped", [1.2 * 2, 0.5 * 2])],
)
def test_hinted_rows_follow_their_objective_and_only_clipped_clips(objective_name, expected):
    config = LossConfig(hinted_objective=objective_name)
    np.testing.assert_allclose(objective(config)[1, 1:3], expected, rtol=1e-6)
    gradient_BT = jax.grad(lambda x: objective(config, x).sum())(LOGP_BT)
    assert (gradient_BT[1, 1] == 0) == (objective_name == "clipped")  # ratio 2, far above the clip
    assert gradient_BT[0, 1] == 0  # the on-policy token with the same ratio is clipped whatever the hinted objective


def test_the_hinted_denominator_may_be_one():
    ours_BT = objective(LossConfig(hinted_denominator="one"))
    np.testing.assert_allclose(ours_BT[1], [0, 0.4 / 0.5 * 2, 0.3 / 0.4 * 2, 0], rtol=1e-6)
    np.testing.assert_array_equal(ours_BT[0], objective(LossConfig())[0])  # on-policy ratios keep theirs


def test_hinted_weight_scales_hinted_rows_alone():
    whole, half, none = (
        jax.value_and_grad(lambda x, c=LossConfig(hinted_weight=w): objective(c, x).sum())(LOGP_BT)[1]
        for w in (1.0, 0.5, 0.0)
    )
    np.testing.assert_allclose(half[1], whole[1] / 2, rtol=1e-6)
    assert np.any(whole[1]) and not np.any(none[1])
    np.testing.assert_array_equal(none[0], whole[0])


@pytest.mark.parametrize("poison", [1e9, -1e9, np.inf, -np.inf])
@pytest.mark.parametrize("name", loss.HINTED_OBJECTIVES)
@pytest.mark.parametrize("denominator", ["recorded", "one"])
def test_padding_is_inert(poison, name, denominator):
    config = LossConfig(hinted_objective=name, hinted_denominator=denominator)
    finite = float(np.clip(poison, -1e9, 1e9))

    def value_and_gradient(logp_BT, behaviour_BT, advantage_BT):
        return jax.value_and_grad(lambda x: objective(config, x, behaviour_BT, advantage_BT).sum())(logp_BT)

    clean = value_and_gradient(LOGP_BT, BEHAVIOUR_BT, ADVANTAGE_BT)
    poisoned = value_and_gradient(
        jnp.where(MASK_BT, LOGP_BT, finite),
        jnp.where(MASK_BT, BEHAVIOUR_BT, poison),
        jnp.where(MASK_BT, ADVANTAGE_BT, finite),
    )
    for a, b in zip(clean, poisoned, strict=True):
        np.testing.assert_array_equal(a, b)
    assert np.all(clean[1][~MASK_BT] == 0)


def test_at_ratio_1_every_on_policy_token_weighs_advantage_over_n():
    n_tokens_B = np.array([3, 5])
    mask_BT = jnp.arange(6) < n_tokens_B[:, None]
    off_BT = jnp.zeros_like(mask_BT)
    advantage_BT = jnp.broadcast_to(jnp.array([[0.7], [-1.3]]), mask_BT.shape)
    weight_B = loss.token_mean(n_tokens_B, np.array([False, False]), 6)
    logp_BT = jnp.log(jax.random.uniform(jax.random.key(0), mask_BT.shape))

    def minimised(x):
        terms_BT = loss.token_objective(x, logp_BT, mask_BT, off_BT, advantage_BT, LossConfig())
        return -(terms_BT * weight_B[:, None]).sum()

    np.testing.assert_allclose(jax.grad(minimised)(logp_BT), -advantage_BT * mask_BT / 8, rtol=1e-6)


@pytest.mark.parametrize("name", loss.HINTED_OBJECTIVES)
@pytest.mark.parametrize("denominator", ["recorded", "one"])
def test_gradient_equals_finite_differences(name, denominator):
    config = LossConfig(hinted_objective=name, hinted_denominator=denominator, gamma=0.3, hinted_weight=0.6)
    direction_BT = jnp.array([[1.0, -0.4, 0.9, 2.0], [0.3, 0.8, -1.1, 0.7]])

    def along(distance):
        return objective(config, LOGP_BT + distance * direction_BT).sum()

    step = 1e-2
    np.testing.assert_allclose(jax.grad(along)(0.0), (along(step) - along(-step)) / (2 * step), rtol=2e-3)


OFF_B = np.array([False, False, True])
N_B = np.array([2, 6, 4])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("token_mean", [1 / 12, 1 / 12, 1 / 12]),
        ("token_mean_by_part", [1 / 8, 1 / 8, 1 / 4]),
        ("sequence_mean", [1 / 6, 1 / 18, 1 / 12]),
        ("constant", [1 / 30, 1 / 30, 1 / 30]),
    ],
)
def test_normalisers_by_hand(name, expected):
    np.testing.assert_allclose(loss.NORMALISERS[name](N_B, OFF_B, 10), expected, rtol=1e-6)


@pytest.mark.parametrize("name", loss.NORMALISERS)
@pytest.mark.parametrize(
    ("n_tokens_B", "off_policy_B"),
    [([3, 5], [False, False]), ([3, 5], [True, True]), ([0, 0], [False, True]), ([0, 4], [False, True]), ([], [])],
)
def test_an_empty_part_weighs_0_and_never_nan(name, n_tokens_B, off_policy_B):
    n_tokens_B, off_policy_B = np.array(n_tokens_B, np.int32), np.array(off_policy_B, bool)
    weight_B = loss.NORMALISERS[name](n_tokens_B, off_policy_B, 10)
    assert weight_B.shape == n_tokens_B.shape and weight_B.dtype == np.float32
    assert np.all(np.isfinite(weight_B))
    total = (weight_B * n_tokens_B).sum()
    assert total == 0 or name == "constant" or total == pytest.approx(1)
    assert (total > 0) == (n_tokens_B.sum() > 0)
