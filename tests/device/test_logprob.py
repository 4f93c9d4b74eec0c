"""The chunked log-prob and entropy equal the plain ones, in value and gradient, without a [B, T, V] array."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lte_jax.device.logprob import plain_token_logp, token_logp

B, T, D, V = 3, 10, 7, 23
TEMPERATURE = 1.7


def inputs(seed=0, shape=(B, T, D, V)):
    rows, columns, d_model, vocab_size = shape
    rng = np.random.default_rng(seed)
    hidden_BTD = rng.standard_normal((rows, columns, d_model), np.float32)
    head_VD = rng.standard_normal((vocab_size, d_model), np.float32)
    tokens_BT = rng.integers(0, vocab_size, (rows, columns), np.int32)
    return hidden_BTD, head_VD, tokens_BT


def weighted_sum(function, tokens_BT, hidden_BTD, head_VD):
    """A scalar to which every log-prob and every entropy contributes with a weight of its own."""
    logp_BT, entropy_BT = function(hidden_BTD, head_VD, tokens_BT, TEMPERATURE)
    weight_BT = jnp.cos(jnp.arange(logp_BT.size, dtype=jnp.float32)).reshape(logp_BT.shape)
    return (weight_BT * logp_BT + (0.3 + weight_BT**2) * entropy_BT).sum()


def chunked(chunk):
    return partial(token_logp, chunk=chunk)


# 30 tokens in 3 rows: one column at a time, fewer tokens than rows, 2 columns, 3 and 4 (which do not divide 10), all
@pytest.mark.parametrize("chunk", [1, 3, 7, 9, 13, 1000])
def test_chunked_equals_plain_in_value_and_gradient(chunk):
    hidden_BTD, head_VD, tokens_BT = inputs()

    def values_and_gradients(function):
        values = jax.jit(function)(hidden_BTD, head_VD, tokens_BT, TEMPERATURE)
        gradient = jax.jit(jax.grad(partial(weighted_sum, function, tokens_BT), argnums=(0, 1)))
        return *values, *gradient(hidden_BTD, head_VD)

    results = map(values_and_gradients, (chunked(chunk), plain_token_logp))
    for ours, reference in zip(*results, strict=True):
        np.testing.assert_allclose(ours, reference, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("place", ["hidden", "head"])
def test_gradient_equals_finite_differences(place):
    hidden_BTD, head_VD, tokens_BT = inputs(seed=1)
    value = {"hidden": hidden_BTD, "head": head_VD}[place]
    direction = np.random.default_rng(2).standard_normal(value.shape, np.float32)

    @jax.jit
    def along(distance):
        moved = {"hidden": hidden_BTD, "head": head_VD, place: value + distance * direction}
        return weighted_sum(chunked(9), tokens_BT, moved["hidden"], moved["head"])

    step = 1e-2
    np.testing.assert_allclose(jax.jit(jax.grad(along))(0.0), (along(step) - along(-step)) / (2 * step), rtol=3e-3)


def test_column_t_describes_token_t_and_column_0_is_0():
    hidden_BTD, head_VD, tokens_BT = inputs()
    logits_BTV = np.einsum("btd,vd->btv", hidden_BTD, head_VD) / TEMPERATURE
    p_BTV = np.exp(logits_BTV) / np.exp(logits_BTV).sum(-1, keepdims=True)
    logp_BT, entropy_BT = token_logp(hidden_BTD, head_VD, tokens_BT, TEMPERATURE, 9)
    assert not np.any(logp_BT[:, 0]) and not np.any(entropy_BT[:, 0])
    for row in range(B):
        for column in range(1, T):
            p_V = p_BTV[row, column - 1]
            np.testing.assert_allclose(logp_BT[row, column], np.log(p_V[tokens_BT[row, column]]), rtol=1e-4)
            np.testing.assert_allclose(entropy_BT[row, column], -(p_V * np.log(p_V)).sum(), rtol=1e-4)


def test_the_whole_vocabulary_is_in_memory_for_one_chunk_only():
    shape = rows, columns, d_model, vocab_size = 4, 512, 8, 2048
    whole = rows * columns * vocab_size * 4

    def temporaries(function):
        def gradient(hidden_BTD, head_VD, tokens_BT):
            return jax.grad(partial(weighted_sum, function, tokens_BT), argnums=(0, 1))(hidden_BTD, head_VD)

        return jax.jit(gradient).lower(*inputs(shape=shape)).compile().memory_analysis().temp_size_in_bytes

    assert temporaries(plain_token_logp) >= whole  # the measure sees what it must
    assert temporaries(chunked(64)) < whole / 6  # the backward pass holds four arrays of one chunk, each whole / 32
