"""What a token weighs, by hand; an empty part weighs 0."""

import numpy as np
import pytest
import rounding

from lte_jax.device.normalisers import NORMALISERS, supervised_mean

N_ON_B, N_OFF_B = np.array([2, 6, 0, 3]), np.array([0, 0, 4, 1])  # the last row has tokens of both kinds


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("token_mean", [[1 / 16] * 4] * 2),
        ("token_mean_by_part", [[1 / 11] * 4, [1 / 5] * 4]),
        ("sequence_mean", [[1 / 8, 1 / 24, 1 / 16, 1 / 16]] * 2),
        ("constant", [[1 / 40] * 4] * 2),
    ],
)
def test_normalisers_by_hand(name, expected):
    np.testing.assert_allclose(NORMALISERS[name](N_ON_B, N_OFF_B, 10), expected, rtol=rounding.bound(4))


def test_supervised_tokens_are_counted_by_themselves():
    np.testing.assert_array_equal(supervised_mean(np.array([0, 3, 1])), np.float32([0.25] * 3))
    np.testing.assert_array_equal(supervised_mean(np.array([0, 0])), np.float32([0, 0]))


@pytest.mark.parametrize("name", NORMALISERS)
@pytest.mark.parametrize(
    ("n_on_B", "n_off_B"),
    [([3, 5], [0, 0]), ([0, 0], [3, 5]), ([0, 0], [0, 0]), ([0, 0], [0, 4]), ([], [])],
)
def test_an_empty_part_weighs_0_and_never_nan(name, n_on_B, n_off_B):
    n_on_B, n_off_B = np.array(n_on_B, np.int32), np.array(n_off_B, np.int32)
    on_B, off_B = NORMALISERS[name](n_on_B, n_off_B, 10)
    for weight_B in (on_B, off_B):
        assert weight_B.shape == n_on_B.shape and weight_B.dtype == np.float32
        assert np.all(np.isfinite(weight_B))
    total = (on_B * n_on_B + off_B * n_off_B).sum()
    assert total == 0 or name == "constant" or total == pytest.approx(1, rel=rounding.bound(4 + 4))
    assert (total > 0) == ((n_on_B + n_off_B).sum() > 0)
