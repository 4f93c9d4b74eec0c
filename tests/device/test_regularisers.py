"""Regularisers by hand: what a term adds, its gradient, and what it reads of the host and of the old policy."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rounding
from handmade import group, right, wrong

from lte_jax.config import ConfigError, build
from lte_jax.device import regularisers
from lte_jax.device.objectives import TokenInputs
from lte_jax.device.regularisers import CORRIDOR, FILTERED, LP_REG, Before, CorridorArgs, LpRegArgs
from lte_jax.device.seen import Seen
from lte_jax.engine.boundary import keeps_all_rows, on_policy_tokens
from lte_jax.records import Origin

CLOSE = rounding.bound(2 * rounding.FUNCTION + 8, magnitude=2)
OLD = np.log(np.float32([0.7, 0.25, 0.04, 0.01]))


def targets(args):
    """Of the four tokens of OLD, each drawn once."""
    logp_BCV, token_BC = jnp.broadcast_to(OLD, (1, 4, 4)), jnp.arange(4)[None]
    seen = Seen(None, jnp.ones((1, 4), bool), None, None, None, None, lambda made: made(logp_BCV, token_BC, None))
    return LP_REG.targets(seen, args)["minp"][0]


def test_the_target_of_lp_reg_is_the_old_policy_without_its_tail():
    np.testing.assert_allclose(targets(LpRegArgs(kappa=0.1))[:2], np.log([0.7 / 0.95, 0.25 / 0.95]), atol=CLOSE)
    assert targets(LpRegArgs(kappa=0.1))[2:].tolist() == [FILTERED] * 2
    np.testing.assert_allclose(targets(LpRegArgs(kappa=0.01)), OLD, atol=CLOSE)


def pull(logp, advantage, recorded, threshold, target, **args):
    """(value, slope by the token's log-prob) of Lp-Reg's term."""

    def term(logp):
        tokens = TokenInputs(0.0, advantage, logp, None, True, LpRegArgs(**args), recorded, {"minp": target})
        return LP_REG.term(tokens, {"threshold": threshold})[0]

    return jax.value_and_grad(term)(jnp.float32(logp))


def test_lp_reg_pulls_an_improbable_punished_token_towards_its_target():
    old, target = float(OLD[1]), math.log(0.25 / 0.95)
    np.testing.assert_allclose(pull(old, -1.0, old, old, target), (0.00133828, -0.0526316), atol=CLOSE)
    doubled = pull(old, -1.0, old, old, target, beta=2.0)
    np.testing.assert_allclose(doubled, (2 * 0.00133828, -2 * 0.0526316), atol=CLOSE)
    for other in (
        dict(advantage=1.0),  # rewarded
        dict(threshold=old - 0.1),  # not improbable
        dict(threshold=old - 0.1, logp=old - 0.5),  # not improbable when it was drawn, whatever it is now
        dict(target=FILTERED),  # noise
        dict(logp=target + 0.1),  # above its target already
    ):
        values = dict(logp=old, advantage=-1.0, recorded=old, threshold=old, target=target) | other
        assert pull(**values) == (0.0, 0.0), other
    # past the largest pull there is no gradient: a token that is lost is not saved
    assert pull(target - 3.0, -1.0, old, old, target) == (10.0, 0.0)


@pytest.mark.parametrize(("rho", "threshold"), [(0.5, -3.0), (1.0, -1.0), (0.25, -math.inf), (0.1, -math.inf)])
def test_lp_reg_chooses_the_least_likely_share_of_what_is_punished(rho, threshold):
    before = Before(0, 1, {}, np.float32([-9, -1, -4, -3, -2]), np.float32([1, -1, -1, -1, -1]))
    assert LP_REG.scalars(before, LpRegArgs(rho=rho)) == {"threshold": threshold}


def test_the_corridor_by_hand():
    args, memory = CorridorArgs(), {"sum": 1.2, "n": 3}
    read = CORRIDOR.scalars(Before(0, 10, memory, None, None), args)
    assert read == pytest.approx({"low": 0.2, "high": 0.6, "weight": 0.2})

    def term(entropy_T):
        tokens = TokenInputs(None, None, None, entropy_T, True, args)
        value, shown = CORRIDOR.term(tokens, read)
        return value.mean(), shown

    entropy_T = jnp.float32([0.1, 0.4, 1.0])
    (value, shown), slope_T = jax.value_and_grad(term, has_aux=True)(entropy_T)
    np.testing.assert_allclose(value, -0.000466667, atol=1e-3 * CLOSE)
    np.testing.assert_allclose(slope_T, -0.001 / 3 * np.array([1.2, 1, 0.8]), atol=1e-3 * CLOSE)
    np.testing.assert_allclose(shown["corridor/outside"], [0.1, 0, 0.4], atol=CLOSE)


def test_the_corridor_remembers_the_mean_of_all_earlier_steps_and_its_hinge_begins_in_the_second():
    args, memory = CorridorArgs(gamma=2.0), {}
    assert CORRIDOR.scalars(Before(0, 8, memory, None, None), args) == {"low": 0, "high": math.inf, "weight": 0}
    for entropy in (0.5, None, 0.3):
        memory = CORRIDOR.observe(memory, {} if entropy is None else {"corridor/entropy": entropy}, args)
    assert memory == {"sum": 0.8, "n": 2}
    read = CORRIDOR.scalars(Before(2, 8, memory, None, None), args)
    assert read == pytest.approx({"low": 0.2, "high": 0.6, "weight": 0.1 * (1 + math.exp(-2 * 2 / 4))})


def test_every_regulariser_has_its_own_memory_and_settings():
    config = build({}, ["loss.regularisers=[corridor, lp_reg]", "loss.regulariser_args={lp_reg: {rho: 0.5}}"]).loss
    memory = {"corridor": {"sum": 0.4, "n": 1}, "another": {"n": 9}}
    before = Before(0, 8, memory, np.float32([-3, -2]), np.float32([-1, -1]))
    read = regularisers.scalars(config, before)
    assert read.keys() == {"corridor", "lp_reg"} and read["corridor"]["high"] == np.float32(0.6)
    assert read["lp_reg"]["threshold"] == -np.inf and read["lp_reg"]["threshold"].dtype == np.float32
    assert regularisers.observed(config, memory, {"corridor/entropy": 0.2}) == {
        "corridor": {"sum": pytest.approx(0.6), "n": 2}
    }
    assert {metric.name for metric in regularisers.declared(config)} >= {"lp_reg/pull", "corridor/entropy"}
    with pytest.raises(ConfigError, match="settings for lp_reg, which loss.regularisers lacks"):
        regularisers.chosen(build({"loss": {"regulariser_args": {"lp_reg": {}}}}).loss)
    with pytest.raises(ConfigError, match="loss.regulariser_args.lp_reg: roh"):
        regularisers.chosen(build({}, ["loss.regularisers=[lp_reg]", "loss.regulariser_args={lp_reg: {roh: 1}}"]).loss)


def test_where_none_is_named_nothing_is_read():
    config = build({})
    assert regularisers.scalars(config.loss) is None and regularisers.observed(config.loss, {}, {}) == {}
    assert not regularisers.has_targets(config.loss) and not keeps_all_rows(config)
    assert keeps_all_rows(build({}, ["loss.regularisers=[corridor]"]))
    assert not keeps_all_rows(build({}, ["loss.regularisers=[lp_reg]"]))


def test_the_tokens_that_scalars_see_are_the_on_policy_ones():
    its = group(
        right(logp=[-1, -2]), wrong(logp=[-3, -4]), right(logp=[-5, -6], origin=Origin.HINTED), wrong(logp=[-7, -8]),
        advantages=[1.0, ((0, -1.0), (1, -0.5)), 2.0, None],
    )  # fmt: skip
    logp_N, advantage_N = on_policy_tokens([its])
    assert logp_N.tolist() == [-1, -2, -3, -4] and advantage_N.tolist() == [1, 1, -1, -0.5]
    assert on_policy_tokens([])[0].shape == (0,)
