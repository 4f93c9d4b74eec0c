"""The chunked log-prob and entropy equal the plain ones, in value and gradient, without a [B, T, V] array."""

from functools import partial

import jax
import numpy as np
import pytest
import rounding

from lte_jax.device.logprob import plain_token_logp, token_logp

B, T, D, V = 3, 10, 7, 23
TEMPERATURE = 1.7
# A logit is a sum of D terms of magnitude 8 together, a log-prob adds a sum of V and three functions, a gradient goes
# the same way back and sums over V or over all tokens; what a logit is off by, its gradients are off by, relatively
VALUE = rounding.bound(D + V + 3 * rounding.FUNCTION, magnitude=8)
GRADIENT = rounding.bound(2 * (D + V) + 6 * rounding.FUNCTION + B * T, magnitude=8)


def inputs(seed=0, shape=(B, T, D, V)):
    rows, columns, d_model, vocab_size = shape
    rng = np.random.default_rng(seed)
    hidden_BTD = rng.standard_normal((rows, columns, d_model), np.float32)
    head_VD = rng.standard_normal((vocab_size, d_model), np.float32)
    tokens_BT = rng.integers(0, vocab_size, (rows, columns), np.int32)
    return hidden_BTD, head_VD, tokens_BT


def in_float64(hidden_BTD, head_VD, tokens_BT, temperature):
    """By the definition, one token at a time, in numpy."""
    logp_BT, entropy_BT = np.zeros(tokens_BT.shape), np.zeros(tokens_BT.shape)
    for row, column in np.ndindex(B, T - 1):
        logits_V = head_VD.astype(np.float64) @ hidden_BTD[row, column].astype(np.float64) / temperature
        p_V = np.exp(logits_V) / np.exp(logits_V).sum()
        logp_BT[row, column + 1] = np.log(p_V[tokens_BT[row, column + 1]])
        entropy_BT[row, column + 1] = -(p_V * np.log(p_V)).sum()
    return logp_BT, entropy_BT


def weighted_sum(function, tokens_BT, hidden_BTD, head_VD):
    """A scalar to which every log-prob and every entropy contributes with a weight of its own."""
    logp_BT, entropy_BT = function(hidden_BTD, head_VD, tokens_BT, TEMPERATURE)
    weight_BT = np.cos(np.arange(tokens_BT.size)).reshape(tokens_BT.shape).astype(logp_BT.dtype)
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
    (*ours, d_hidden, d_head), (*reference, plain_d_hidden, plain_d_head) = results
    np.testing.assert_allclose(ours, reference, atol=VALUE)
    for gradient, plain in ((d_hidden, plain_d_hidden), (d_head, plain_d_head)):
        np.testing.assert_allclose(gradient, plain, atol=GRADIENT * np.abs(plain).max())


@pytest.mark.parametrize("place", ["hidden", "head"])
def test_gradient_equals_finite_differences(place):
    hidden_BTD, head_VD, tokens_BT = inputs(seed=1)
    value = {"hidden": hidden_BTD, "head": head_VD}[place]
    direction = np.random.default_rng(2).standard_normal(value.shape)

    def along(distance):
        moved = {"hidden": hidden_BTD, "head": head_VD, place: value + distance * direction}
        return weighted_sum(in_float64, tokens_BT, moved["hidden"], moved["head"])

    gradient = jax.jit(jax.grad(partial(weighted_sum, chunked(9), tokens_BT), argnums=(0, 1)))(hidden_BTD, head_VD)
    ours = {"hidden": gradient[0], "head": gradient[1]}[place].astype(np.float64) * direction
    step = 1e-5  # in float64 the differences are right to about 1e-9
    expected = (along(step) - along(-step)) / (2 * step)
    np.testing.assert_allclose(ours.sum(), expected, atol=GRADIENT * np.abs(ours).sum())


def test_column_t_describes_token_t_and_column_0_is_0():
    hidden_BTD, head_VD, tokens_BT = inputs()
    ours = token_logp(hidden_BTD, head_VD, tokens_BT, TEMPERATURE, 9)
    assert not np.any(ours[0][:, 0]) and not np.any(ours[1][:, 0])
    np.testing.assert_allclose(ours, in_float64(hidden_BTD, head_VD, tokens_BT, TEMPERATURE), atol=VALUE)


def test_the_whole_vocabulary_is_in_memory_for_one_chunk_only():
    shape = rows, columns, d_model, vocab_size = 4, 512, 8, 2048
    whole = rows * columns * vocab_size * 4

    def temporaries(function):
        def gradient(hidden_BTD, head_VD, tokens_BT):
            return jax.grad(partial(weighted_sum, function, tokens_BT), argnums=(0, 1))(hidden_BTD, head_VD)

        return jax.jit(gradient).lower(*inputs(shape=shape)).compile().memory_analysis().temp_size_in_bytes

    assert temporaries(plain_token_logp) >= whole  # the measure sees what it must
    assert temporaries(chunked(64)) < whole / 6  # the backward pass holds four arrays of one chunk, each whole / 32
