"""What a token weighs, by hand; an empty part weighs 0."""

import numpy as np
import pytest

from lte_jax.device.normalisers import NORMALISERS

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
    np.testing.assert_allclose(NORMALISERS[name](N_B, OFF_B, 10), expected, rtol=1e-6)


@pytest.mark.parametrize("name", NORMALISERS)
@pytest.mark.parametrize(
    ("n_tokens_B", "off_policy_B"),
    [([3, 5], [False, False]), ([3, 5], [True, True]), ([0, 0], [False, True]), ([0, 4], [False, True]), ([], [])],
)
def test_an_empty_part_weighs_0_and_never_nan(name, n_tokens_B, off_policy_B):
    n_tokens_B, off_policy_B = np.array(n_tokens_B, np.int32), np.array(off_policy_B, bool)
    weight_B = NORMALISERS[name](n_tokens_B, off_policy_B, 10)
    assert weight_B.shape == n_tokens_B.shape and weight_B.dtype == np.float32
    assert np.all(np.isfinite(weight_B))
    total = (weight_B * n_tokens_B).sum()
    assert total == 0 or name == "constant" or total == pytest.approx(1)
    assert (total > 0) == (n_tokens_B.sum() > 0)
