"""Normalisers: what one token of each row weighs in the objective.

numpy on the host, over all rows of one update, so that no split into micro-batches and no sharding can change a weight.
Each takes the rows' counts of on-policy and of off-policy tokens and the response budget, and returns the weights of a
row's on-policy and off-policy tokens. Supervised tokens count in none of them: `supervised_mean` is theirs.
"""

import numpy as np


def token_mean(n_on_B, n_off_B, response_budget):
    """1/Z, Z = all response tokens of the update (DAPO, arXiv 2503.14476; LTE with one count)."""
    return (np.full(n_on_B.shape, _inverse((n_on_B + n_off_B).sum()), np.float32),) * 2


def token_mean_by_part(n_on_B, n_off_B, response_budget):
    """1/Z' for off-policy tokens and 1/Z for on-policy ones, each part's own count; an empty part adds 0."""
    return tuple(np.full(n_B.shape, _inverse(n_B.sum()), np.float32) for n_B in (n_on_B, n_off_B))


def sequence_mean(n_on_B, n_off_B, response_budget):
    """1/(rows x own length) (GRPO, arXiv 2402.03300)."""
    n_tokens_B = n_on_B + n_off_B
    return (_inverse(n_tokens_B) * _inverse((n_tokens_B > 0).sum()),) * 2


def constant(n_on_B, n_off_B, response_budget):
    """1/(rows x response budget) (Dr.GRPO, arXiv 2503.20783)."""
    n_rows = (n_on_B + n_off_B > 0).sum()
    return (np.full(n_on_B.shape, _inverse(n_rows * response_budget), np.float32),) * 2


NORMALISERS = {
    "token_mean": token_mean,
    "token_mean_by_part": token_mean_by_part,
    "sequence_mean": sequence_mean,
    "constant": constant,
}


def supervised_mean(n_supervised_B):
    """1/Z of supervised tokens, so that they do not thin out the others, nor these them."""
    return np.full(n_supervised_B.shape, _inverse(n_supervised_B.sum()), np.float32)


def _inverse(count):
    return np.where(count > 0, 1.0 / np.maximum(count, 1), 0.0).astype(np.float32)
