"""Each small function of the objective: values and gradients written out by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rounding

from lte_jax.config import LossConfig
from lte_jax.device import objectives

LOW, HIGH, C = 0.2, 0.28, 3.0
CLIP = LossConfig(clip_eps_low=LOW, clip_eps_high=HIGH, dual_clip_c=C)

# A value of magnitude 8 at most, from a logarithm, an exponential and a few operations
VALUE = rounding.bound(2 * rounding.FUNCTION + 8, magnitude=8)


def value_and_gradient(objective, ratio, advantage, config=CLIP):
    """Of a function of log-ratio and advantage, or of an objective that reads nothing else."""

    def value(log_ratio):
        if isinstance(objective, objectives.Objective):
            return objective.value(objectives.TokenInputs(log_ratio, advantage, None, None, True), config)[0]
        return objective(log_ratio, advantage, config)

    return jax.value_and_grad(value)(jnp.log(ratio))


CORNERS = [  # ratio, A, value, gradient: d / d logp = r A where the clip leaves it
    (1.5, 2.0, 1.28 * 2, 0.0),
    (1.5, -2.0, 1.5 * -2, 1.5 * -2),
    (0.5, 2.0, 0.5 * 2, 0.5 * 2),
    (0.5, -2.0, 0.8 * -2, 0.0),
    (1.0, 2.0, 2.0, 2.0),
    (1.0, -2.0, -2.0, -2.0),
    (1.25, 2.0, 1.25 * 2, 1.25 * 2),  # above 1 + eps_low, below 1 + eps_high
]


@pytest.mark.parametrize("name", ["clip", "dual_clip"])
@pytest.mark.parametrize(("ratio", "advantage", "value", "gradient"), CORNERS)
def test_the_clip_removes_the_gradient_in_two_of_four_corners(name, ratio, advantage, value, gradient):
    ours = value_and_gradient(objectives.ON_POLICY_OBJECTIVES[name], ratio, advantage)
    np.testing.assert_allclose(ours, (value, gradient), atol=VALUE)


@pytest.mark.parametrize(
    ("name", "ratio", "advantage", "value", "gradient"),
    [
        ("clip", 4.0, -2.0, -8.0, -8.0),
        ("dual_clip", 4.0, -2.0, -6.0, 0.0),  # c A
        ("dual_clip", 2.9, -2.0, -5.8, -5.8),
        ("dual_clip", 4.0, 2.0, 2.56, 0.0),  # A > 0: the plain clip, not c A
    ],
)
def test_the_dual_clip_is_a_floor_for_negative_advantages_alone(name, ratio, advantage, value, gradient):
    ours = value_and_gradient(objectives.ON_POLICY_OBJECTIVES[name], ratio, advantage)
    np.testing.assert_allclose(ours, (value, gradient), atol=VALUE)


@pytest.mark.parametrize(
    ("ratio", "advantage", "weight"),
    [(1.0, 2.0, 1.0), (1.5, 2.0, 1.28), (1.5, -2.0, 1.28), (0.5, 2.0, 0.8), (0.5, -2.0, 0.8), (0.9, -2.0, 0.9)],
)
def test_cispo_weighs_every_token_by_its_clipped_ratio(ratio, advantage, weight):
    ours = value_and_gradient(objectives.ON_POLICY_OBJECTIVES["cispo"], ratio, advantage)
    np.testing.assert_allclose(ours, (weight * advantage * np.log(ratio), weight * advantage), atol=VALUE)


@pytest.mark.parametrize(
    ("name", "value", "gradient"), [("clip", 2.56, 0.0), ("unclipped", 3.0, 3.0), ("reinforce", 2 * np.log(1.5), 2.0)]
)
def test_without_a_clip_a_ratio_outside_keeps_its_gradient(name, value, gradient):
    ours = value_and_gradient(objectives.ON_POLICY_OBJECTIVES[name], 1.5, 2.0)
    np.testing.assert_allclose(ours, (value, gradient), atol=VALUE)


@pytest.mark.parametrize("name", [name for name in objectives.ON_POLICY_OBJECTIVES if name != "reinforce"])
def test_an_eps_of_1_has_no_lower_end(name):
    config = LossConfig(clip_eps_low=1, clip_eps_high=HIGH, on_policy_objective=name)
    _, gradient = value_and_gradient(objectives.ON_POLICY_OBJECTIVES[name], 1e-3, -2.0, config)
    # exp(log r), where log r = -7 is off by 7 eps / 2
    np.testing.assert_allclose(gradient, -2e-3, rtol=rounding.bound(2 * rounding.FUNCTION + 2, magnitude=7))


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
    ours = jax.value_and_grad(objectives.shaped_ratio)(jnp.log(ratio), gamma)
    np.testing.assert_allclose(ours, (value, gradient), atol=VALUE)


@pytest.mark.parametrize(("log_ratio", "value"), [(500.0, 1.0), (-500.0, 0.0)])
def test_shaping_does_not_overflow(log_ratio, value):
    assert jax.value_and_grad(objectives.shaped_ratio)(log_ratio, 0.1) == (value, 0.0)


MASK_BT = np.array([[False, True, True, False], [False, True, True, True], [False] * 4])
LOG_RATIO_BT = np.array([[0, 0.2, -0.4, 0], [0, 0.3, 0.0, 0.6], [0.0] * 4], np.float32)


def test_a_sequence_ratio_is_the_geometric_mean_over_the_rows_own_tokens():
    ours_BT = objectives.RATIOS["sequence"](LOG_RATIO_BT, MASK_BT)
    np.testing.assert_allclose(ours_BT, [[0, -0.1, -0.1, 0], [0, 0.3, 0.3, 0.3], [0] * 4], atol=rounding.bound(4))
    np.testing.assert_array_equal(objectives.RATIOS["token"](LOG_RATIO_BT, MASK_BT), LOG_RATIO_BT)


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("none", [1, 1, 1, 1, 1]),
        ("truncate", [0.25, 0.75, 1, 2, 2]),
        ("reject", [0, 0.75, 1, 4, 0]),
    ],
)
def test_mismatch_weights_by_hand(name, weights):
    log_weight = np.log(np.array([0.25, 0.75, 1, 4, 8], np.float32))
    config = LossConfig(correction_max=2.0, correction_range=(0.5, 5.0))
    np.testing.assert_allclose(objectives.CORRECTIONS[name](log_weight, config), weights, atol=VALUE)


@pytest.mark.parametrize(
    ("name", "value", "gradient"),
    [  # at pi = 0.5, reference 0.25: log ratio log 2
        ("k1", np.log(2), 1.0),
        ("k2", np.log(2) ** 2 / 2, np.log(2)),
        ("k3", 0.5 + np.log(2) - 1, 0.5),  # 1 - reference/pi
    ],
)
def test_kl_estimates_by_hand(name, value, gradient):
    estimate = getattr(objectives, name)
    np.testing.assert_allclose(jax.value_and_grad(estimate)(jnp.log(2.0)), (value, gradient), atol=VALUE)
    assert jax.value_and_grad(estimate)(0.0) == (0.0, 1.0 if name == "k1" else 0.0)


def test_the_kl_estimates_and_gradients_are_those_of_the_kl_on_average():
    """k1 and k3 have its value, k2 and k3 in the loss its gradient at the reference, k1 as a reward everywhere."""
    logits_V, reference_V = jnp.array([0.3, -1.0, 0.7, 0.1]), jax.nn.log_softmax(jnp.array([0.1, 0.2, -0.5, 0.9]))

    def kl(logits_V):
        logp_V = jax.nn.log_softmax(logits_V)
        return (jnp.exp(logp_V) * (logp_V - reference_V)).sum()

    def sampled(logits_V, estimate, weigh):
        """Mean over tokens drawn from fixed probabilities of a function of the moving log-probs."""
        logp_V = jax.nn.log_softmax(logits_V)
        p_V = jax.lax.stop_gradient(jnp.exp(logp_V))
        return (p_V * weigh(logp_V, estimate(logp_V - reference_V))).sum()

    def as_loss(logp_V, k_V):
        return k_V

    def as_reward(logp_V, k_V):
        return jax.lax.stop_gradient(k_V) * logp_V

    for estimate in (objectives.k1, objectives.k3):
        np.testing.assert_allclose(sampled(logits_V, estimate, as_loss), kl(logits_V), atol=VALUE)
    true = jax.grad(kl)(logits_V)
    for estimate, weigh in ((objectives.k1, as_reward), (objectives.k2, as_loss)):
        np.testing.assert_allclose(jax.grad(sampled)(logits_V, estimate, weigh), true, atol=VALUE)
    np.testing.assert_allclose(jax.grad(sampled)(logits_V, objectives.k1, as_loss), 0, atol=VALUE)  # so not in the loss


def test_a_kl_is_charged_in_one_place():
    charged = {name: (kl.in_reward(1.0), kl.in_loss(1.0)) for name, kl in objectives.KLS.items()}
    assert [name for name, (reward, loss) in charged.items() if reward] == ["k1"]
    assert [name for name, (reward, loss) in charged.items() if loss] == ["k2", "k3"]


def test_entropy_makes_the_advantage_of_a_group_without_variance():
    entropy_BT = np.array([[9, 0.5, 2.0, 9], [9, 0.5, 2.0, 1.0], [9] * 4], np.float32)
    ours_BT = objectives.entropy_advantage(entropy_BT, np.array([0.1, -0.2, 0.3]), MASK_BT)
    np.testing.assert_allclose(
        ours_BT, [[0, 0.05, 0.2, 0], [0, -0.2 * 1.5, 0, -0.2 * 1.0], [0] * 4], atol=rounding.bound(4)
    )
    unscaled_BT = objectives.entropy_advantage(entropy_BT, np.zeros(3), MASK_BT)
    assert not np.any(unscaled_BT)
    moved = jax.grad(lambda h: objectives.entropy_advantage(h, np.array([0.1, -0.2, 0.3]), MASK_BT).sum())(entropy_BT)
    assert not np.any(moved)
