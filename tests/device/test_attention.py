"""Every attention implementation equals the reference, cached decoding equals whole sequences, nothing looks ahead."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rounding
import tiny
from jax.sharding import NamedSharding, PartitionSpec

from lte_jax.device import qwen3
from lte_jax.device.attention import cached_attention, causal_attention, resolve
from lte_jax.plan.flops import matrix_flops

B, T, N, K, H = 3, 9, 4, 2, 6


def heads(dtype="float32"):
    rng = np.random.default_rng(0)
    return tuple(rng.standard_normal((B, T, n, H)).astype(jnp.dtype(dtype)) for n in (N, K, K))


def tolerance(q_BTNH, k_BTKH, result, n_backward=0):
    """A score is a sum over H, a result one over T; what a score is off by, its weight is off by, relatively. In
    bfloat16 the query, the score, its weight and the result are rounded besides."""
    n_columns, d_head = q_BTNH.shape[1], q_BTNH.shape[3]
    largest = np.abs(np.float32(result)).max()
    if q_BTNH.dtype == jnp.bfloat16:
        return rounding.bound(4, largest, "bfloat16")
    score = (np.abs(q_BTNH).sum(-1).max() * np.abs(k_BTKH).max()) / np.sqrt(d_head)
    return rounding.bound((1 + n_backward) * (d_head + n_columns + 2 * rounding.FUNCTION), score * largest)


def by_hand(q_BTNH, k_BTKH, v_BTKH):
    """One query, one head at a time, in float64."""
    q, k, v = (np.asarray(x, np.float64) for x in (q_BTNH, k_BTKH, v_BTKH))
    out = np.zeros(q.shape)
    for row, t, head in np.ndindex(B, T, N):
        shared = head // (N // K)  # neighbouring query heads share a key and value head
        scores = k[row, : t + 1, shared] @ q[row, t, head] / np.sqrt(H)
        weights = np.exp(scores - scores.max())
        out[row, t, head] = weights @ v[row, : t + 1, shared] / weights.sum()
    return out


@pytest.mark.parametrize("impl", ["reference", "xla", "auto", "splash"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_every_implementation_equals_one_query_at_a_time(impl, dtype):
    q, k, v = heads(dtype)
    ours = jax.jit(causal_attention, static_argnums=3)(q, k, v, impl)
    assert ours.dtype == dtype
    expected = by_hand(q, k, v)
    np.testing.assert_allclose(np.float32(ours), expected, atol=tolerance(q, k, expected))


@pytest.mark.parametrize("impl", ["xla", "splash"])
def test_gradients_equal_the_references(impl):
    def gradient(impl):
        value = lambda *qkv: jnp.cos(3 * causal_attention(*qkv, impl)).sum()  # noqa: E731
        return jax.jit(jax.grad(value, argnums=(0, 1, 2)))(*heads())

    for ours, reference in zip(gradient(impl), gradient("reference"), strict=True):
        np.testing.assert_allclose(ours, reference, atol=tolerance(*heads()[:2], reference, n_backward=1))


def test_blocks_of_queries_leave_out_what_causality_hides():
    arrays = tuple(jnp.ones((1, 1024, n, 64)) for n in (4, 2, 2))
    blocks, whole = (
        matrix_flops(jax.make_jaxpr(partial(causal_attention, impl=impl))(*arrays)).attention
        for impl in ("xla", "reference")
    )
    assert blocks == whole * (1 + 2 + 3 + 4) / 16


@pytest.mark.parametrize(("impl", "dtype"), [("xla", "float32"), ("splash", "float32"), ("cudnn", "bfloat16")])
@pytest.mark.parametrize("n_columns", [300, 1024], ids=["padded", "whole blocks"])
def test_kernels_equal_the_reference_at_sizes_of_many_blocks(impl, dtype, n_columns):
    if impl == "cudnn" and jax.default_backend() != "gpu":
        pytest.skip("cudnn needs a GPU: LTE_TEST_PLATFORM=cuda python -m pytest -n 0 tests/device/test_attention.py")
    rng = np.random.default_rng(1)
    arrays = tuple(rng.standard_normal((1, n_columns, n, 64), np.float32).astype(dtype) for n in (4, 2, 2, 4))

    @partial(jax.jit, static_argnums=0)
    def out_and_gradients(impl, q, k, v, d_out):
        out, pull = jax.vjp(partial(causal_attention, impl=impl), q, k, v)
        return out, *pull(d_out)

    reference = out_and_gradients("reference", *(x.astype(np.float32) for x in arrays))
    for ours, wanted in zip(out_and_gradients(impl, *arrays), reference, strict=True):
        np.testing.assert_allclose(np.float32(ours), wanted, atol=tolerance(*arrays[:2], wanted, n_backward=1))


def test_splash_runs_on_each_devices_own_rows_and_heads():
    q, k, v = (np.concatenate([x, x[:1]]) for x in heads())
    mesh = tiny.mesh(1, 4, 2)
    sharding = NamedSharding(mesh, PartitionSpec(("data", "fsdp"), None, "tensor"))
    spread = [jax.device_put(x, sharding) for x in (q, k, v)]
    run = jax.jit(partial(causal_attention, impl="splash", mesh=mesh))
    expected = by_hand(q[:B], k[:B], v[:B])
    np.testing.assert_allclose(run(*spread)[:B], expected, atol=tolerance(q, k, expected))
    text = run.lower(*spread).compile().as_text()
    assert not [name for name in ("all-gather", "all-reduce", "all-to-all", "collective-permute") if f"{name}(" in text]


def test_cached_attention_is_the_causal_row_of_each_length_whatever_lies_behind():
    q, k, v = heads()
    length_B = np.array([1, 4, T])
    last = np.arange(B), length_B - 1
    behind = np.arange(T)[None, :, None, None] >= length_B[:, None, None, None]
    k_BKSH, v_BKSH = (np.where(behind, np.float32(1e9), x).swapaxes(1, 2) for x in (k, v))
    ours = cached_attention(q[last], k_BKSH, v_BKSH, length_B)
    expected = by_hand(q, k, v)
    np.testing.assert_allclose(ours, expected[last], atol=tolerance(q, k, expected))


@pytest.mark.parametrize("impl", ["reference", "xla"])
@pytest.mark.parametrize("scan", [True, False])
def test_no_logit_depends_on_a_later_token(impl, scan):
    tokens_BT = np.arange(7)[None] * 5 + 2  # all distinct: the gradient of an embedding row is that of its column
    params = tiny.params(tiny.UNTIED)

    @jax.jit
    @jax.jacrev
    def d_score_TVD(embed_VD):
        model = qwen3.bind(tiny.UNTIED, {**params, "embed": embed_VD})
        hidden_BTD = model(tokens_BT, dtype=jnp.float32, attend=partial(causal_attention, impl=impl), scan=scan)
        weight_V = jnp.cos(jnp.arange(tiny.UNTIED.vocab_size, dtype=jnp.float32))
        return qwen3.logits(hidden_BTD, model.head_VD)[0] @ weight_V

    depends_TT = np.abs(np.array(d_score_TVD(params["embed"]))[:, tokens_BT[0]]).max(-1) > 0
    np.testing.assert_array_equal(depends_TT, np.tri(tokens_BT.size, dtype=bool))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_cudnn_off_gpu_is_refused_with_what_to_use(dtype):
    with pytest.raises(ValueError, match=f"needs a GPU and bfloat16; this is cpu with {dtype}: use auto or xla"):
        causal_attention(*heads(dtype), "cudnn")


@pytest.mark.parametrize(
    ("platform", "dtype", "meant"),
    [
        ("cpu", "bfloat16", "xla"),
        ("gpu", "bfloat16", "cudnn"),
        ("gpu", "float32", "xla"),
        ("tpu", "bfloat16", "splash"),
    ],
)
def test_auto_goes_by_platform_and_type(platform, dtype, meant):
    assert resolve("auto", dtype, platform) == meant


@pytest.mark.parametrize(("impl", "platform"), [("cudnn", "tpu"), ("splash", "gpu")])
def test_a_kernel_of_another_platform_is_refused(impl, platform):
    with pytest.raises(ValueError, match=f"attention={impl} .*; this is {platform}.*: use auto"):
        resolve(impl, jnp.bfloat16, platform)
