"""The update: any split, any mesh and any recomputation give the same step; a bad gradient changes nothing."""

from contextlib import contextmanager
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rounding
import tiny
from handmade import group, right, rollout, wrong
from jax.experimental.compilation_cache import compilation_cache

from lte_jax.config import OptimConfig, build
from lte_jax.device import update as module
from lte_jax.device.arrays import ON_POLICY
from lte_jax.device.tally import METRICS
from lte_jax.device.update import UpdateSpec, accumulate, initial_state, learning_rate, update, zero_sums
from lte_jax.device.weights import Architecture
from lte_jax.engine.boundary import pack, tally_metrics
from lte_jax.records import Origin, Status

# Sizes that 8 devices divide: D by 8 and 4, the others by 2.
ARCH = Architecture(
    vocab_size=48, d_model=16, d_ff=24, n_layers=3, n_heads=4, n_kv_heads=2, d_head=6, rope_theta=3e4, rms_eps=1e-3,
    tied=True,
)  # fmt: skip
TEMPERATURE = np.float32(1.3)
# Of a gradient, relative to its largest entry: 8 rows of 16 columns through the model and back
GRADIENT = rounding.bound(rounding.backward(ARCH, 8, 16))
# Of a sum over tokens: a ratio is off by what its log-prob, near -log 48 = -3.9, is off by
TALLY = rounding.bound(rounding.forward(ARCH, 16) + 8 * 16, magnitude=4)
MESHES = [(1, 8, 1), (1, 4, 2), (2, 2, 2), (8, 1, 1)]


def config(**sections):
    values = {
        "model": {"compute_dtype": "float32", "attention": "xla", "remat": "none", "logprob_chunk": 32},
        "optim": {"lr": 1e-2, "length_bucket": 16, "microbatch_tokens": 128, "problems_per_update": 1},
        "sample": {"group_size": 8},
    }
    for name, settings in sections.items():
        values[name] = {**values[name], **settings} if name in values else settings
    return build(values)


def spec(mesh=None, arch=ARCH, **sections) -> UpdateSpec:
    c = config(**sections)
    return UpdateSpec(arch, c.model, c.loss, c.optim, n_updates=10, mesh=mesh or tiny.mesh())


def a_group(seed=0):
    """Eight members with prompt 3 and 2 … 9 response tokens; the last two are hinted; log-probs near log(1/48)."""
    rng = np.random.default_rng(seed)
    members = []
    for n in range(2, 10):
        fields = dict(tokens=rng.integers(0, 48, n), logp=-3.9 + 0.4 * rng.standard_normal(n))
        members.append(right(origin=Origin.HINTED, **fields) if n > 7 else wrong(**fields))
    return group(*members, advantages=[*rng.standard_normal(8)])


def batch(mesh=None, groups=None, **sections):
    return pack(groups or [a_group()], config(**sections), mesh or tiny.mesh()).microbatches


def state_of(its: UpdateSpec):
    return initial_state(its, tiny.params(its.arch))


def gradients(its: UpdateSpec, microbatches, entropy_weight=0.0):
    """(host gradients, host tally) at the shared parameters."""
    sums, params = zero_sums(its), tiny.params(its.arch)
    for micro in microbatches:
        sums = accumulate(params, sums, micro, TEMPERATURE, np.float32(entropy_weight), its)
    return jax.device_get(sums)


def steps(its: UpdateSpec, batches, entropy_weight=0.01):
    state = state_of(its)
    for microbatches in batches:
        state, tally, norm = update(state, microbatches, TEMPERATURE, np.float32(entropy_weight), its)
    return state, tally, norm


def assert_close(ours, reference, **tolerance):
    """Each leaf, relative to the largest entry of the reference's leaf."""
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(reference), strict=True):
        scale = max(float(np.abs(b).max()), 1e-30)
        np.testing.assert_allclose(np.asarray(a) / scale, np.asarray(b) / scale, **tolerance)


def assert_equal(ours, reference):
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(ours), jax.device_get(reference))


def test_halves_add_up():
    whole, halves, quarters = (batch(optim={"microbatch_tokens": tokens}) for tokens in (128, 64, 32))
    assert [len(split) for split in (whole, halves, quarters)] == [1, 2, 4]
    reference, tally = gradients(spec(), whole, 0.01)
    for split in (halves, quarters):
        ours, our_tally = gradients(spec(), split, 0.01)
        for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(reference), strict=True):
            assert np.linalg.norm(a - b) < GRADIENT * np.linalg.norm(b)
        assert tally_metrics(our_tally, METRICS) == pytest.approx(tally_metrics(tally, METRICS), rel=TALLY)


def test_the_tally_is_that_of_the_rows():
    members = a_group().members
    _, tally = gradients(spec(), batch())
    assert tally["ratio/on_policy_mean"][1] == sum(len(r.response) for r in members if not r.off_policy) == 27
    assert tally["ratio/hinted_mean"][1] == sum(len(r.response) for r in members if r.off_policy) == 17
    metrics = tally_metrics(tally, METRICS)
    assert 0 < metrics["update/hinted_push_frac"] < 1
    assert "supervised/tokens" not in metrics
    assert 0 < metrics["ratio/clipped_frac"] < 1
    assert 0 < metrics["policy/entropy"] < np.log(48)


def test_on_policy_gradient_is_that_of_minus_a_over_n_times_logp():
    its, (micro,) = spec(), batch()
    logp_BT, _ = jax.jit(module.policy_logp, static_argnums=3)(tiny.params(ARCH), micro.tokens_BT, TEMPERATURE, its)
    micro = micro._replace(
        behaviour_logp_BT=logp_BT, old_logp_BT=logp_BT, kind_BT=jnp.minimum(micro.kind_BT, ON_POLICY)
    )
    ours, tally = gradients(its, [micro])

    @jax.jit
    @jax.grad
    def expected(params):
        logp_BT, _ = module.policy_logp(params, micro.tokens_BT, TEMPERATURE, its)
        return -(micro.advantage_BT * logp_BT).sum() / 44

    assert_close(ours, jax.device_get(expected(tiny.params(ARCH))), rtol=0, atol=GRADIENT)
    assert tally["mismatch/max_abs"][0] < TALLY and tally["ratio/clipped_frac"][0] == 0
    assert tally["ratio/on_policy_mean"][0] == pytest.approx(44, rel=TALLY)


@pytest.mark.parametrize("poison", [1e9, -1e9])
def test_padding_is_inert(poison):
    """The last row is empty, and every row has columns behind its response."""
    its, (micro,) = spec(), batch(groups=[replace(a_group(), advantages=(1.0, -0.5, 0.7, -1.0, 0.3, 0.2, 0.9, None))])
    mask_BT, empty_B = micro.trained_BT, ~micro.trained_BT.any(axis=1)
    assert int(empty_B.sum()) == 1
    behind_BT = np.cumsum(mask_BT, axis=1) == np.sum(mask_BT, axis=1, keepdims=True)
    poisoned = micro._replace(
        tokens_BT=jnp.where(behind_BT & ~mask_BT, 47, micro.tokens_BT),
        behaviour_logp_BT=jnp.where(mask_BT, micro.behaviour_logp_BT, poison),
        old_logp_BT=jnp.where(mask_BT, micro.old_logp_BT, poison),
        advantage_BT=jnp.where(mask_BT, micro.advantage_BT, poison),
        weight_BT=jnp.where(mask_BT, micro.weight_BT, 1.0),
    )
    assert not np.array_equal(poisoned.tokens_BT, micro.tokens_BT)
    assert_equal(gradients(its, [poisoned], 0.01), gradients(its, [micro], 0.01))


def test_rows_without_variance_change_no_gradient():
    members = right(tokens=range(1, 6)), right(tokens=range(7, 9)), rollout(Status.TIMEOUT)
    flat = group(*members, index=1, advantages=(0.0, 0.0, None))
    groups = [a_group(), flat]
    dropped = batch(groups=groups, optim={"microbatch_tokens": 160})
    kept = batch(groups=groups, optim={"microbatch_tokens": 160}, loss={"entropy_coef": 1e-3})
    assert [sum(int(m.trained_BT.any(axis=1).sum()) for m in rows) for rows in (dropped, kept)] == [8, 10]
    (without, _), (within, _) = gradients(spec(), dropped), gradients(spec(), kept)  # c = 0 in both: the rows alone
    assert_close(within, without, rtol=0, atol=GRADIENT)


def test_entropy_bonus_raises_entropy():
    its = spec(optim={"lr": 1e-3})
    micro = batch()[0]._replace(advantage_BT=jnp.zeros((8, 16)))
    states = [update(state_of(its), [micro], TEMPERATURE, np.float32(c), its)[0] for c in (0.0, 1.0)]
    _, base = gradients(its, [micro])
    tallies = [
        jax.device_get(accumulate(s.params, zero_sums(its), micro, TEMPERATURE, np.float32(0), its)[1]) for s in states
    ]
    before, unmoved, moved = (each["policy/entropy"][0] for each in (base, *tallies))
    assert unmoved == pytest.approx(before, rel=TALLY)
    assert moved > before * 1.001


# Adam divides by sqrt(nu) + eps: of an entry near 0 it would make any rounding a whole step
SMOOTH = {"eps": 0.1}


@pytest.fixture(scope="module")
def one_device():
    """Two updates on one device, for the meshes to repeat."""
    return jax.device_get(steps(spec(optim=SMOOTH), [batch(), batch(groups=[a_group(1)])]))


@pytest.mark.parametrize("shape", MESHES, ids=str)
def test_sharded_equals_unsharded(shape, one_device):
    mesh = tiny.mesh(*shape)
    its = spec(mesh, optim=SMOOTH)
    state, tally, norm = steps(its, [batch(mesh), batch(mesh, groups=[a_group(1)])])
    reference, reference_tally, reference_norm = one_device
    mu, nu = state.opt_state[1][0].mu, state.opt_state[1][0].nu
    assert_close(mu, reference.opt_state[1][0].mu, rtol=0, atol=GRADIENT)
    assert_close(nu, reference.opt_state[1][0].nu, rtol=0, atol=2 * GRADIENT)  # a square
    assert_close(state.params, reference.params, rtol=0, atol=GRADIENT)
    assert_close(tally, reference_tally, rtol=TALLY, atol=TALLY)
    assert float(norm) == pytest.approx(float(reference_norm), rel=GRADIENT)

    for weight, *moments in zip(*map(jax.tree.leaves, (state.params, mu, nu)), strict=True):
        assert all(moment.sharding == weight.sharding for moment in moments)
    assert state.params["layers"]["gate"].addressable_shards[0].data.size == 3 * 16 * 24 // (shape[1] * shape[2])
    matrices = [leaf for leaf in jax.tree.leaves(state) if leaf.size >= 48 * 16]
    assert len(matrices) == 3 * 6  # weights and both moments of embed, q, o, gate, up, down
    assert all(leaf.sharding.is_fully_replicated == (shape == (8, 1, 1)) for leaf in matrices)


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 2, 2)])
def test_moments_in_the_hosts_memory_change_no_weight(shape):
    mesh = tiny.mesh(*shape)
    two_steps = [batch(mesh), batch(mesh, [a_group(1)])]
    beside, _, _ = steps(spec(mesh), two_steps)
    away, _, _ = steps(spec(mesh, optim={"moments": "host"}), two_steps)
    assert_equal(jax.device_get(away), jax.device_get(beside))
    kinds = {leaf.ndim > 0: leaf.sharding.memory_kind for leaf in jax.tree.leaves(away.opt_state)}
    assert kinds == {True: "pinned_host", False: "device"}
    assert {leaf.sharding.memory_kind for leaf in jax.tree.leaves(away.params)} == {"device"}


@contextmanager
def compilation_cache_off():
    """A program from the cache prints no warning."""
    jax.config.update("jax_enable_compilation_cache", False)
    compilation_cache.reset_cache()
    try:
        yield
    finally:
        jax.config.update("jax_enable_compilation_cache", True)
        compilation_cache.reset_cache()


def test_the_partitioner_never_copies_an_activation_whole(capfd):
    mesh = tiny.mesh(2, 2, 2)
    its = spec(mesh, optim={"lr": 3e-2})  # its own, so that no earlier test has compiled it
    (micro,) = batch(mesh)
    params = jax.eval_shape(lambda: tiny.params(ARCH))
    params = jax.tree.map(
        lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), params, module.state_shardings(its).params
    )
    lowered = accumulate.lower(params, zero_sums(its), micro, TEMPERATURE, np.float32(0.01), its)
    with compilation_cache_off():
        lowered.compile()
    assert "Involuntary full rematerialization" not in capfd.readouterr().err


def test_a_gradient_that_is_not_finite_changes_nothing_and_is_counted():
    its, (micro,) = spec(), batch()
    bad = micro._replace(advantage_BT=micro.advantage_BT.at[3, 4].set(jnp.inf))
    state, _, _ = steps(its, [[micro]])
    before = jax.device_get(state)
    for in_row in (1, 2):
        state, _, norm = update(state, [bad], TEMPERATURE, np.float32(0.01), its)
        assert not np.isfinite(norm)
        after = jax.device_get(state)
        assert_equal((after.params, after.opt_state), (before.params, before.opt_state))
        assert (after.n_updates, after.n_nonfinite, after.n_nonfinite_in_row) == (1, in_row, in_row)
    state, _, norm = update(state, [micro], TEMPERATURE, np.float32(0.01), its)
    assert np.isfinite(norm)
    assert (state.n_updates, state.n_nonfinite, state.n_nonfinite_in_row) == (2, 2, 0)
    assert not np.array_equal(state.params["embed"], before.params["embed"])


@pytest.mark.parametrize("scan", [True, False])
@pytest.mark.parametrize("remat", ["none", "dots", "offload", "full"])
def test_scan_and_recomputation_change_no_gradient(scan, remat):
    reference, _ = gradients(spec(), batch(), 0.01)
    ours, _ = gradients(spec(model={"scan_layers": scan, "remat": remat}), batch(), 0.01)
    assert_close(ours, reference, rtol=0, atol=GRADIENT)


@contextmanager
def counted_programs():
    """A list that grows by one for each program that jax traces and lowers."""
    lowered = []

    def listen(event, seconds, **_):
        if event == "/jax/core/compile/jaxpr_to_mlir_module_duration":
            lowered.append(seconds)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield lowered
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 2, 2)], ids=str)
def test_programs_are_traced_once(shape):
    mesh = tiny.mesh(*shape)
    its = spec(mesh, optim={"lr": 2e-2})
    state, counts = state_of(its), []
    with counted_programs() as lowered:
        for seed in range(3):
            entropy_weight, temperature = np.float32(0.01 * seed), np.float32(1 + 0.1 * seed)
            state, _, _ = update(state, batch(mesh, groups=[a_group(seed)]), temperature, entropy_weight, its)
            counts.append(len(lowered))
    assert counts == [3, 3, 3]  # zero_sums, accumulate, apply


def test_the_state_is_donated_and_so_are_the_sums():
    its, microbatches = spec(), batch(optim={"microbatch_tokens": 64})
    state = state_of(its)
    after, _, _ = update(state, microbatches, TEMPERATURE, np.float32(0), its)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(state))
    sums = zero_sums(its)
    accumulate(after.params, sums, microbatches[0], TEMPERATURE, np.float32(0), its)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(sums[0]))
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(after))


def test_gradients_are_clipped_to_the_global_norm_before_adam():
    """AdamW's first moment after one update is (1 - b1) times the clipped gradient."""
    its = spec(optim={"clip_norm": 0.01, "b1": 0.75})
    reference, _ = gradients(its, batch())
    state, _, norm = steps(its, [batch()], entropy_weight=0)
    total = np.sqrt(sum((g**2).sum() for g in jax.tree.leaves(reference)))
    assert float(norm) == pytest.approx(total, rel=GRADIENT) and total > 0.01
    expected = jax.tree.map(lambda g: 0.25 * 0.01 / total * g, reference)
    assert_close(jax.device_get(state.opt_state[1][0].mu), expected, rtol=0, atol=GRADIENT)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (dict(schedule="constant"), {0: 1.0, 5: 1.0, 99: 1.0}),
        (dict(schedule="constant", warmup_updates=4), {0: 0.25, 1: 0.5, 3: 1.0, 4: 1.0, 50: 1.0}),
        (dict(schedule="constant", warmup_updates=1), {0: 1.0, 1: 1.0}),
        (dict(schedule="linear"), {0: 1.0, 3: 2 / 3, 9: 0.0, 20: 0.0}),
        (dict(schedule="linear", warmup_updates=3, final_lr_frac=0.2), {0: 1 / 3, 2: 1.0, 3: 1.0, 6: 0.6, 9: 0.2}),
        (dict(schedule="cosine", final_lr_frac=0.1), {0: 1.0, 9: 0.1, 20: 0.1}),
        (dict(schedule="cosine", warmup_updates=3), {0: 1 / 3, 2: 1.0, 3: 1.0, 6: 0.5, 9: 0.0}),
        (dict(schedule="cosine", warmup_updates=10), {4: 0.5, 9: 1.0}),
    ],
    ids=str,
)
def test_schedules_at_their_corner_points(settings, expected):
    rate = learning_rate(OptimConfig(lr=3e-4, **settings), n_updates=10)
    ours = {count: float(rate(count)) for count in expected}
    its_bound = rounding.bound(16, magnitude=3e-4)  # float32: a cosine and a few operations, relative to the peak
    assert ours == pytest.approx({count: 3e-4 * share for count, share in expected.items()}, abs=its_bound)


def test_abstract_state_describes_the_state():
    mesh = tiny.mesh(2, 2, 2)
    state, abstract = state_of(spec(mesh)), module.abstract_state(spec(mesh))

    def same(real, described):
        assert (real.shape, real.dtype, real.sharding) == (described.shape, described.dtype, described.sharding)

    jax.tree.map(same, state, abstract)
