"""What the objective's options need of their neighbours never changes with the split or the mesh, and what is fixed
before a step's first update: the trainer's own log-probs and the reference's.
"""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rounding
import tiny
from handmade import group, right, wrong

from lte_jax.config import build
from lte_jax.device import update as module
from lte_jax.device.arrays import ON_POLICY
from lte_jax.device.regularisers import Before, scalars
from lte_jax.device.update import UpdateSpec, accumulate, initial_state, reference_weights, score, update, zero_sums
from lte_jax.device.weights import Architecture
from lte_jax.engine.boundary import on_policy_tokens, pack
from lte_jax.records import Origin

ARCH = Architecture(
    vocab_size=48, d_model=16, d_ff=24, n_layers=1, n_heads=4, n_kv_heads=2, d_head=6, rope_theta=3e4, rms_eps=1e-3,
    tied=True,
)  # fmt: skip
PARAMS, OTHER = tiny.params(ARCH), tiny.params(ARCH, seed=1)
TEMPERATURE = np.float32(1.3)
# 16 rows of 16 columns; a log-prob is near -log 48 = -3.9, and what it is off by, its ratio is off by
LOGP = rounding.bound(rounding.forward(ARCH, 16), magnitude=4)
GRADIENT = rounding.bound(rounding.backward(ARCH, 16, 16))
TALLY = rounding.bound(rounding.forward(ARCH, 16) + 16 * 16, magnitude=4)
policy_logp = jax.jit(module.policy_logp, static_argnums=3)

# Options that need other tokens of the row, other rows, other weights or the entropy.
OPTIONS = {
    "gspo_icepop_k3": dict(
        normaliser="token_mean_by_part",
        ratio="sequence",
        on_policy_objective="dual_clip",
        old_logp="trainer",
        correction="reject",
        correction_range=(0.7, 1.6),
        kl="k3",
        kl_coef=0.2,
    ),
    "pulled_in_a_corridor": dict(
        regularisers=("lp_reg", "corridor"),
        regulariser_args={"lp_reg": {"rho": 0.5, "kappa": 0.5}, "corridor": {"coef": 0.1, "alpha": 2.0, "low": 0.99}},
        kl="k2",
    ),
    "cispo_k1": dict(normaliser="sequence_mean", on_policy_objective="cispo", kl="k1", kl_coef=0.2),
}


def config(loss, tokens=256, dtype="float32"):
    return build(
        {
            "model": {"compute_dtype": dtype, "attention": "xla", "remat": "none", "logprob_chunk": 64},
            "optim": {"lr": 1e-3, "length_bucket": 16, "microbatch_tokens": tokens, "problems_per_update": 1},
            "loss": loss,
        }
    )


def spec(loss, mesh=None, dtype="float32") -> UpdateSpec:
    c = config(loss, dtype=dtype)
    return UpdateSpec(ARCH, c.model, c.loss, c.optim, n_updates=10, mesh=mesh or tiny.mesh())


def a_group(index=0, entropy_scale=0.0):
    """Eight members with prompt 3 and 2 … 9 response tokens; the last two are hinted; log-probs near log(1/48)."""
    rng = np.random.default_rng(index)
    members = []
    for n in range(2, 10):
        fields = dict(tokens=rng.integers(0, 48, n), logp=-3.9 + 0.4 * rng.standard_normal(n))
        members.append(right(origin=Origin.HINTED, **fields) if n > 7 else wrong(**fields))
    advantages = np.zeros(8) if entropy_scale else rng.standard_normal(8)
    return replace(group(*members, index=index, advantages=[*advantages]), entropy_scale=entropy_scale)


def groups():
    """Sixteen rows; half of them without variance, their advantage made by token entropy."""
    return [a_group(), a_group(1, entropy_scale=-0.1)]


def batch(loss, mesh=None, tokens=256):
    return pack(groups(), config(loss, tokens), mesh or tiny.mesh()).microbatches


def gradients(its, microbatches, entropy_weight=0.01):
    """(host gradients, host tally), where old and reference log-probs are those of other weights than PARAMS."""
    before = jax.device_put(OTHER, module.state_shardings(its).params)
    scored = score(before, reference_weights(before, its), microbatches, TEMPERATURE, its)
    return summed(its, scored, entropy_weight)


def summed(its, microbatches, entropy_weight=0.0):
    sums = zero_sums(its)
    before = Before(3, 10, {"corridor": {"sum": 7.7, "n": 2}}, *on_policy_tokens(groups()))
    read = scalars(its.loss, before)
    for micro in microbatches:
        sums = accumulate(PARAMS, sums, micro, TEMPERATURE, np.float32(entropy_weight), its, read)
    return jax.device_get(sums)


def assert_same_update(ours, reference):
    (our_gradients, our_tally), (gradients, tally) = ours, reference
    for a, b in zip(jax.tree.leaves(our_gradients), jax.tree.leaves(gradients), strict=True):
        assert np.linalg.norm(a - b) < GRADIENT * np.linalg.norm(b)
    assert our_tally.keys() == tally.keys()
    for name, pair in tally.items():
        np.testing.assert_allclose(our_tally[name], pair, rtol=TALLY, atol=TALLY, err_msg=name)


@pytest.fixture(scope="module")
def whole():
    """By option: the update of one micro-batch on one device."""
    return {name: gradients(spec(loss), batch(loss)) for name, loss in OPTIONS.items()}


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("n_micro", [2, 4])
def test_micro_batches_add_up(name, n_micro, whole):
    split = batch(OPTIONS[name], tokens=256 // n_micro)
    assert len(split) == n_micro
    assert_same_update(gradients(spec(OPTIONS[name]), split), whole[name])


@pytest.mark.parametrize("name", OPTIONS)
def test_eight_devices_equal_one(name, whole):
    mesh = tiny.mesh(2, 2, 2)
    assert_same_update(gradients(spec(OPTIONS[name], mesh), batch(OPTIONS[name], mesh)), whole[name])


def test_every_option_acts_in_the_updates_above(whole):
    tally = whole["gspo_icepop_k3"][1]
    value, n = ({name: pair[place] for name, pair in tally.items()} for place in (0, 1))
    assert n["policy/kl"] == n["correction/weight_mean"] == n["ratio/on_policy_mean"] > 50
    assert n["ratio/hinted_mean"] > 30 and value["policy/kl"] > 1
    assert 0 < value["correction/rejected_frac"] < n["ratio/on_policy_mean"]
    assert 0 < value["ratio/clipped_frac"] < value["ratio/outside_frac"]
    pulled = {name: value / count for name, (value, count) in whole["pulled_in_a_corridor"][1].items() if count}
    assert 0 < pulled["lp_reg/pulled_frac"] < 1 and pulled["lp_reg/pull"] > 0 and pulled["corridor/outside"] > 0
    cispo = whole["cispo_k1"][1]
    assert cispo["ratio/clipped_frac"][0] == 0 < cispo["ratio/outside_frac"][0]


def test_old_log_probs_are_the_trainers_on_on_policy_rows_and_the_samplers_on_hinted_ones():
    its, (micro,) = spec({"old_logp": "trainer"}), batch({})
    (ours,) = score(PARAMS, None, [micro], TEMPERATURE, its)
    logp_BT, _ = policy_logp(PARAMS, micro.tokens_BT, TEMPERATURE, its)
    on_BT = np.asarray(micro.on_policy_BT)
    np.testing.assert_allclose(ours.old_logp_BT[on_BT], np.asarray(logp_BT)[on_BT], atol=LOGP)
    np.testing.assert_array_equal(ours.old_logp_BT[~on_BT], micro.behaviour_logp_BT[~on_BT])
    np.testing.assert_array_equal(ours.behaviour_logp_BT, micro.behaviour_logp_BT)
    _, tally = summed(its, [ours])
    ratio, n_on = tally["ratio/on_policy_mean"]
    assert ratio == pytest.approx(n_on, rel=TALLY) and tally["ratio/outside_frac"][0] == 0
    assert tally["mismatch/mean_abs"][0] > 1  # still that of trainer and sampler
    ratio, n_off = tally["ratio/hinted_mean"]
    assert abs(ratio / n_off - 1) > 0.01


def test_where_nothing_is_asked_for_nothing_is_scored():
    microbatches = batch({})
    assert score(PARAMS, None, microbatches, TEMPERATURE, spec({})) is microbatches


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_copy_in_the_compute_type_is_the_same_policy(dtype):
    """Matrices are rounded to the compute type in every product anyway, so the KL of the weights to it is 0."""
    its, (micro,) = spec({"kl": "k3"}, dtype=dtype), batch({"kl": "k3"})
    copy = reference_weights(PARAMS, its)
    assert copy["layers"]["gate"].dtype == dtype and copy["final_norm"].dtype == "float32"
    (scored,) = score(PARAMS, copy, [micro], TEMPERATURE, its)
    logp_BT, _ = policy_logp(PARAMS, micro.tokens_BT, TEMPERATURE, its)
    np.testing.assert_allclose(scored.reference_logp_BT, np.where(micro.trained_BT, logp_BT, 0), atol=LOGP)


@pytest.mark.parametrize("kl", ["k1", "k2", "k3"])
def test_a_kl_pulls_towards_the_reference(kl):
    """With no advantage, an update makes tokens likelier that the reference finds likelier."""
    its, (micro,) = spec({"kl": kl, "kl_coef": 1.0}), batch({"kl": kl})
    before_BT = module.trained_logp(PARAMS, micro, TEMPERATURE, its)
    micro = micro._replace(
        advantage_BT=jnp.zeros((16, 16)),
        entropy_scale_B=jnp.zeros(16),
        kind_BT=jnp.minimum(micro.kind_BT, ON_POLICY),
        old_logp_BT=before_BT,
    )
    (micro,) = score(PARAMS, reference_weights(OTHER, its), [micro], TEMPERATURE, its)
    state, _, _ = update(initial_state(its, tiny.params(ARCH)), [micro], TEMPERATURE, np.float32(0), its)
    moved_BT = module.trained_logp(state.params, micro, TEMPERATURE, its) - before_BT
    assert float((moved_BT * (before_BT - micro.reference_logp_BT)).sum()) < 0


@pytest.mark.parametrize("loss", [{}, {"regularisers": ("lp_reg",)}])
def test_an_abstract_micro_batch_describes_one_that_is_packed_and_scored(loss):
    its = spec(loss, tiny.mesh(2, 2, 2))
    params = jax.device_put(PARAMS, module.state_shardings(its).params)
    (micro,) = score(params, None, batch(loss, its.mesh), TEMPERATURE, its)
    described = module.abstract_microbatch(16, 16, its)
    assert jax.tree.structure(micro) == jax.tree.structure(described) and bool(micro.targets) == bool(loss)
    for real, said in zip(jax.tree.leaves(micro), jax.tree.leaves(described), strict=True):
        assert (real.shape, real.dtype) == (said.shape, said.dtype)
        assert real.sharding.is_equivalent_to(said.sharding, real.ndim)


def test_the_reference_is_a_copy_that_survives_the_first_update():
    its, params = spec({"kl": "k3"}), tiny.params(ARCH)
    copy = reference_weights(params, its)
    initial_state(its, params)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(params)) and not copy["embed"].is_deleted()
    np.testing.assert_array_equal(copy["embed"], PARAMS["embed"])


def test_the_reference_lies_like_the_masters():
    its = spec({"kl": "k3"}, tiny.mesh(2, 2, 2), dtype="bfloat16")
    masters = jax.device_put(PARAMS, module.state_shardings(its).params)
    copy = reference_weights(masters, its)
    for ours, theirs in zip(jax.tree.leaves(copy), jax.tree.leaves(masters), strict=True):
        assert ours.sharding.is_equivalent_to(theirs.sharding, ours.ndim)
    assert not copy["layers"]["gate"].sharding.is_fully_replicated
