"""The mixed-policy objective: put together by hand, its gradient by finite differences, and masked entries inert."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rounding

from lte_jax.config import LossConfig
from lte_jax.device import loss, objectives
from lte_jax.device.arrays import OFF_POLICY, ON_POLICY, SUPERVISED, Microbatch
from lte_jax.device.normalisers import token_mean

# Two rows: on-policy, then hinted. Column 0 is the prompt, the last column of each is padding.
MASK_BT = np.array([[False, True, True, False], [False, True, True, False]])
LOGP_BT = np.log(np.array([[1.0, 0.5, 0.2, 1.0], [1.0, 0.4, 0.3, 1.0]], np.float32))
OLD_BT = np.log(np.array([[1.0, 0.25, 0.4, 1.0], [1.0, 0.2, 0.6, 1.0]], np.float32))
SAMPLED_BT = np.log(np.array([[1.0, 0.5, 0.3, 1.0], [1.0, 0.2, 0.6, 1.0]], np.float32))
REFERENCE_BT = np.log(np.array([[1.0, 0.3, 0.5, 1.0], [1.0, 0.7, 0.1, 1.0]], np.float32))
ENTROPY_BT = np.array([[9, 0.5, 1.5, 9], [9, 1.0, 2.0, 9]], np.float32)
MICRO = Microbatch(
    tokens_BT=np.zeros((2, 4), np.int32),
    kind_BT=MASK_BT * np.array([[ON_POLICY], [OFF_POLICY]], np.int8),
    behaviour_logp_BT=OLD_BT,
    sampled_logp_BT=SAMPLED_BT,
    old_logp_BT=OLD_BT,
    reference_logp_BT=REFERENCE_BT,
    advantage_BT=MASK_BT * np.array([[1.5], [2.0]], np.float32),
    weight_BT=np.float32(MASK_BT),
    entropy_scale_B=np.zeros(2, np.float32),
)


# Of one token's objective: three logarithms, an exponential, and a dozen operations on numbers up to about 4
TOKEN = rounding.bound(4 * rounding.FUNCTION + 12, magnitude=4)


def objective(config, logp_BT=LOGP_BT, micro=MICRO, entropy_BT=ENTROPY_BT):
    """Of every token, a KL in the loss taken off."""
    return loss.mixed_objective(logp_BT, entropy_BT, micro, config)[0] - loss.kl_penalty(logp_BT, micro, config)


def test_each_row_has_its_own_objective():
    expected_BT = [[0, 1.2 * 1.5, 0.5 * 1.5, 0], [0, 2 / 2.1 * 2, 0.5 / 0.6 * 2, 0]]
    np.testing.assert_allclose(objective(LossConfig()), expected_BT, atol=TOKEN)
    weighed = MICRO._replace(weight_BT=MICRO.weight_BT * np.array([[0.5], [0.25]], np.float32))
    np.testing.assert_allclose(
        objective(LossConfig(), micro=weighed), np.array(expected_BT) * [[0.5], [0.25]], atol=TOKEN
    )


@pytest.mark.parametrize(
    ("objective_name", "expected"),
    [
        ("shaped", [2 / 2.1 * 2, 0.5 / 0.6 * 2]),
        ("ratio", [4.0, 1.0]),
        ("clipped", [1.2 * 2, 0.5 * 2]),
        ("uncorrected", [2 * np.log(2), 2 * np.log(0.5)]),
    ],
)
def test_hinted_rows_follow_their_objective_and_only_clipped_clips(objective_name, expected):
    config = LossConfig(hinted_objective=objective_name)
    np.testing.assert_allclose(objective(config)[1, 1:3], expected, atol=TOKEN)
    gradient_BT = jax.grad(lambda x: objective(config, x).sum())(LOGP_BT)
    assert (gradient_BT[1, 1] == 0) == (objective_name == "clipped")  # ratio 2, far above the clip
    assert gradient_BT[0, 1] == 0  # the on-policy token with the same ratio is clipped whatever the hinted objective


def test_the_hinted_denominator_may_be_one():
    ours_BT = objective(LossConfig(hinted_denominator="one"))
    np.testing.assert_allclose(ours_BT[1], [0, 0.4 / 0.5 * 2, 0.3 / 0.4 * 2, 0], atol=TOKEN)
    np.testing.assert_array_equal(ours_BT[0], objective(LossConfig())[0])  # on-policy ratios keep theirs


def test_the_hinted_denominator_may_be_what_was_drawn_from():
    sampled_BT = np.where([[False], [True]], np.log(np.float32([1.0, 0.8, 0.1, 1.0])), SAMPLED_BT)
    drawn = MICRO._replace(sampled_logp_BT=sampled_BT)
    ours_BT = objective(LossConfig(hinted_denominator="sampled"), micro=drawn)
    np.testing.assert_allclose(ours_BT[1], [0, 0.5 / 0.6 * 2, 3 / 3.1 * 2, 0], atol=TOKEN)  # r' = .4/.8, .3/.1
    np.testing.assert_array_equal(ours_BT[0], objective(LossConfig())[0])
    np.testing.assert_array_equal(objective(LossConfig(), micro=drawn)[1], objective(LossConfig())[1])


def test_hinted_weight_scales_hinted_rows_alone():
    whole, half, none = (
        jax.value_and_grad(lambda x, c=LossConfig(hinted_weight=w): objective(c, x).sum())(LOGP_BT)[1]
        for w in (1.0, 0.5, 0.0)
    )
    np.testing.assert_allclose(half[1], whole[1] / 2, atol=TOKEN)
    assert np.any(whole[1]) and not np.any(none[1])
    np.testing.assert_array_equal(none[0], whole[0])


# Options that look at on-policy rows only, with what they make of the on-policy row by hand.
ON_POLICY_ONLY = {
    "gspo": (dict(ratio="sequence"), [1.5, 1.5]),  # sqrt(2 x 0.5) = 1
    "dual_clip": (dict(on_policy_objective="dual_clip"), [1.2 * 1.5, 0.5 * 1.5]),
    "cispo": (dict(on_policy_objective="cispo"), [1.2 * 1.5 * np.log(2), 0.8 * 1.5 * np.log(0.5)]),
    "tis": (dict(old_logp="trainer", correction="truncate", correction_max=1.1), [0.9, 1.1 * 0.75]),  # w = 1/2, 4/3
    "icepop": (dict(old_logp="trainer", correction="reject", correction_range=(0.6, 5)), [0, 4 / 3 * 0.75]),
    "k1": (dict(kl="k1", kl_coef=0.5), [1.2 * (1.5 - 0.5 * np.log(0.25 / 0.3)), 0.5 * (1.5 - 0.5 * np.log(0.8))]),
    "k2": (dict(kl="k2", kl_coef=0.5), [1.8 - 0.25 * np.log(5 / 3) ** 2, 0.75 - 0.25 * np.log(0.4) ** 2]),
    "k3": (dict(kl="k3", kl_coef=0.5), [1.8 - 0.5 * (0.6 - np.log(0.6) - 1), 0.75 - 0.5 * (2.5 - np.log(2.5) - 1)]),
}


@pytest.mark.parametrize("name", ON_POLICY_ONLY)
def test_on_policy_options_by_hand_and_hinted_rows_know_nothing_of_them(name):
    settings, expected = ON_POLICY_ONLY[name]
    ours_BT = objective(LossConfig(**settings))
    np.testing.assert_allclose(ours_BT[0], [0, *expected, 0], atol=TOKEN)
    np.testing.assert_array_equal(ours_BT[1], objective(LossConfig())[1])


def test_token_entropy_is_the_advantage_of_both_kinds_of_rows():
    guided = MICRO._replace(
        advantage_BT=np.zeros((2, 4), np.float32), entropy_scale_B=np.array([0.1, -0.1], np.float32)
    )
    expected_BT = [[0, 1.2 * 0.05, 0.5 * 0.15, 0], [0, -2 / 2.1 * 0.1, 0, 0]]
    np.testing.assert_allclose(objective(LossConfig(), micro=guided), expected_BT, atol=TOKEN)


def every_option():
    """Every choice of every dict, each on top of the defaults; corrections and estimates with what they need."""
    for ratio, name in itertools.product(objectives.RATIOS, objectives.ON_POLICY_OBJECTIVES):
        if (ratio, name) != ("sequence", "cispo"):
            yield dict(ratio=ratio, on_policy_objective=name)
    for name, denominator in itertools.product(objectives.HINTED_OBJECTIVES, ["recorded", "sampled", "one"]):
        if (name, denominator) != ("clipped", "one"):
            yield dict(hinted_objective=name, hinted_denominator=denominator, gamma=0.3, hinted_weight=0.6)
    for name in objectives.CORRECTIONS:
        yield dict(correction=name, old_logp="trainer")
    for name in objectives.KLS:
        yield dict(kl=name, kl_coef=0.3)


OPTIONS = list(every_option())


@pytest.mark.parametrize("settings", OPTIONS, ids=lambda s: "-".join(map(str, s.values())))
def test_gradient_equals_finite_differences(settings):
    """At ratios away from the clip's corners; the constants of CISPO are held where they are."""
    config = LossConfig(**settings, clip_eps_low=0.4, clip_eps_high=0.7)
    direction_BT = jnp.array([[1.0, -0.4, 0.9, 2.0], [0.3, 0.8, -1.1, 0.7]])
    guided = MICRO._replace(entropy_scale_B=np.array([0.1, -0.1], np.float32))

    def along(distance):
        return objective(config, LOGP_BT + distance * direction_BT, guided).sum()

    step, ours = 1e-2, jax.grad(along)(0.0)
    if config.on_policy_objective == "cispo":
        advantage_BT = loss.token_advantage(ENTROPY_BT, guided, config)[0]
        clipped = objectives.clipped_ratio(jnp.exp(LOGP_BT - OLD_BT), config)[0]
        hinted = LossConfig(**{**settings, "on_policy_objective": "clip"}, clip_eps_low=0.4, clip_eps_high=0.7)
        on_policy = (MASK_BT[0] * clipped * advantage_BT * direction_BT[0]).sum()
        row = lambda x: objective(hinted, LOGP_BT + x * direction_BT, guided)[1].sum()  # noqa: E731
        expected = on_policy + (row(step) - row(-step)) / (2 * step)
    else:
        expected = (along(step) - along(-step)) / (2 * step)
    third = 4 * 2 * 2 * 1.1**3  # four tokens, each A r exp(d x): its third derivative is at most A r d^3
    np.testing.assert_allclose(ours, expected, atol=4 * TOKEN / (2 * step) + step**2 / 6 * third)


@pytest.mark.parametrize("poison", [1e9, -1e9, np.inf, -np.inf])
@pytest.mark.parametrize("settings", OPTIONS, ids=lambda s: "-".join(map(str, s.values())))
def test_padding_is_inert(poison, settings):
    config = LossConfig(**settings)
    finite = float(np.clip(poison, -1e9, 1e9))
    guided = MICRO._replace(entropy_scale_B=np.array([0.1, -0.1], np.float32))

    def value_and_gradient(logp_BT, entropy_BT, micro):
        return jax.value_and_grad(lambda x: objective(config, x, micro, entropy_BT).sum())(logp_BT)

    def poisoned(array_BT, value=poison):
        return jnp.where(MASK_BT, array_BT, value)

    clean = value_and_gradient(LOGP_BT, ENTROPY_BT, guided)
    dirty = value_and_gradient(
        poisoned(LOGP_BT, finite),
        poisoned(ENTROPY_BT),
        guided._replace(
            behaviour_logp_BT=poisoned(OLD_BT),
            old_logp_BT=poisoned(OLD_BT),
            sampled_logp_BT=poisoned(SAMPLED_BT),
            reference_logp_BT=poisoned(REFERENCE_BT),
        ),
    )
    for a, b in zip(clean, dirty, strict=True):
        np.testing.assert_array_equal(a, b)
    assert np.all(clean[1][~MASK_BT] == 0)


def test_at_ratio_1_every_on_policy_token_weighs_advantage_over_n():
    n_tokens_B = np.array([3, 5])
    mask_BT = np.arange(6) < n_tokens_B[:, None]
    logp_BT = jnp.log(jax.random.uniform(jax.random.key(0), mask_BT.shape))
    advantage_BT = mask_BT * np.array([[0.7], [-1.3]], np.float32)
    micro = MICRO._replace(
        kind_BT=np.int8(mask_BT * ON_POLICY),
        old_logp_BT=logp_BT,
        sampled_logp_BT=logp_BT,
        reference_logp_BT=logp_BT,
        advantage_BT=advantage_BT,
        weight_BT=mask_BT * token_mean(n_tokens_B, np.zeros(2, int), 6)[0][:, None],
    )
    for settings in [dict(), dict(ratio="sequence"), *(dict(on_policy_objective=n) for n in ("dual_clip", "cispo"))]:
        config = LossConfig(**settings)
        ours_BT = jax.grad(lambda x: -objective(config, x, micro, jnp.ones_like(x)).sum())(logp_BT)
        np.testing.assert_allclose(ours_BT, -advantage_BT / 8, atol=TOKEN)


def test_supervised_tokens_raise_their_likelihood_whatever_the_ratios_say():
    supervised = MICRO._replace(kind_BT=np.int8(MASK_BT * SUPERVISED))
    for config in (LossConfig(), LossConfig(old_logp="trainer", correction="reject", kl="k3", hinted_weight=0.0)):
        ours_BT = objective(config, micro=supervised)
        np.testing.assert_allclose(ours_BT, MASK_BT * LOGP_BT * [[1.5], [2.0]], atol=TOKEN)
    config = LossConfig(supervised_objective="shaped", supervised_weight=0.5, gamma=0.3)
    p_BT = np.exp(LOGP_BT)
    ours_BT = objective(config, micro=supervised)
    np.testing.assert_allclose(ours_BT, 0.5 * MASK_BT * p_BT / (p_BT + 0.3) * [[1.5], [2.0]], atol=TOKEN)


def test_a_row_may_mix_kinds():
    """One on-policy token, then one off-policy one: each as if its whole row were of its kind."""
    mixed = MICRO._replace(kind_BT=np.int8([[0, ON_POLICY, OFF_POLICY, 0], [0, SUPERVISED, OFF_POLICY, 0]]))
    ours_BT = objective(LossConfig(), micro=mixed)
    expected_BT = [[0, 1.2 * 1.5, 0.5 / 0.6 * 1.5, 0], [0, np.log(0.4) * 2, 0.5 / 0.6 * 2, 0]]
    np.testing.assert_allclose(ours_BT, expected_BT, atol=TOKEN)
