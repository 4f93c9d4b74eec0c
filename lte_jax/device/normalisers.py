"""Normalisers: what one token of each row weighs in the objective.

numpy on the host, over all rows of one update, so that no split into micro-batches and no sharding can change a weight.
Each takes the rows' counts of response tokens, whether each row is off-policy, and the response budget.
"""

import numpy as np


def token_mean(n_tokens_B, off_policy_B, response_budget):
    """1/Z, Z = all response tokens of the update (DAPO, arXiv 2503.14476; LTE with one count)."""
    return np.full(n_tokens_B.shape, _inverse(n_tokens_B.sum()), np.float32)


def token_mean_by_part(n_tokens_B, off_policy_B, response_budget):
    """1/Z' for hinted rows and 1/Z for on-policy rows, each part's own response tokens; an empty part adds 0."""
    n_off = np.where(off_policy_B, n_tokens_B, 0).sum()
    return np.where(off_policy_B, _inverse(n_off), _inverse(n_tokens_B.sum() - n_off))


def sequence_mean(n_tokens_B, off_policy_B, response_budget):
    """1/(rows x own length) (GRPO, arXiv 2402.03300)."""
    return _inverse(n_tokens_B) * _inverse((n_tokens_B > 0).sum())


def constant(n_tokens_B, off_policy_B, response_budget):
    """1/(rows x response budget) (Dr.GRPO, arXiv 2503.20783)."""
    return np.full(n_tokens_B.shape, _inverse((n_tokens_B > 0).sum() * response_budget), np.float32)


NORMALISERS = {
    "token_mean": token_mean,
    "token_mean_by_part": token_mean_by_part,
    "sequence_mean": sequence_mean,
    "constant": constant,
}


def _inverse(count):
    return np.where(count > 0, 1.0 / np.maximum(count, 1), 0.0).astype(np.float32)
