"""What an evaluation's rows add up to: Pass@1 with its interval, unbiased Pass@k, majority vote, length.

The unit of every interval is the problem: samples of one problem are not independent. Stdlib and numpy only.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np

LEVEL = 0.95  # of every interval
N_RESAMPLES = 10_000
_BLOCK = 1_000_000  # numbers drawn at once, so that memory stays small

SameAnswer = Callable[[Sequence[tuple[str, str]]], list[bool | None]]


def pass_at_k(n: int, c: int, k: int) -> float:
    """1 - C(n - c, k) / C(n, k): unbiased from n samples of which c are correct (arXiv 2107.03374)."""
    return 1.0 - math.comb(n - c, k) / math.comb(n, k)


def majority_vote(answers: Sequence[str | None], correct: Sequence[bool], same_answer: SameAnswer) -> float:
    """Whether the most frequent answer is right: 1 or 0, and 1/m where m answers tie and one of them is right.

    Classes are those of the verifier: what it grades as correct is one class; wrong answers are one class where they
    are spelled alike or `same_answer` holds; a pair that is not decided in time stays apart. No answer, no vote.
    """
    n_right = sum(correct)
    wrong = [answer for answer, is_right in zip(answers, correct, strict=True) if answer is not None and not is_right]
    if n_right == 0 or n_right > len(wrong):
        return float(n_right > 0)
    sizes = _class_sizes([" ".join(answer.split()) for answer in wrong], same_answer)
    if max(sizes) > n_right:
        return 0.0
    return 1.0 / (1 + sizes.count(n_right))


def _class_sizes(answers: Sequence[str], same_answer: SameAnswer) -> list[int]:
    """How many answers each class has; an answer joins the first class whose first answer it equals."""
    spelled = list(dict.fromkeys(answers))
    pairs = [(earlier, later) for j, later in enumerate(spelled) for earlier in spelled[:j]]
    same = dict(zip(pairs, same_answer(pairs), strict=True)) if pairs else {}
    sizes: dict[str, int] = {}
    for answer in spelled:
        first = next((head for head in sizes if same[head, answer]), answer)
        sizes[first] = sizes.get(first, 0) + answers.count(answer)
    return list(sizes.values())


def summary(rows: Sequence[dict], ks: Sequence[int]) -> dict[str, float]:
    """Means over problems. A response without a verdict counts as wrong, and is counted.

    `low`, `high`: the bootstrap interval of Pass@1 over problems.
    """
    n_samples = sum(row["n_samples"] for row in rows)
    rates = [pass_at_k(row["n_samples"], row["n_correct"], 1) for row in rows]
    low, high = bootstrap_interval(rates)
    return {
        "n_problems": len(rows),
        "n_samples": rows[0]["n_samples"],
        "pass_at_1": _mean(rates),
        "low": low,
        "high": high,
        **{f"pass_at_{k}": _mean([pass_at_k(row["n_samples"], row["n_correct"], k) for row in rows]) for k in ks},
        "majority": _mean([row["majority"] for row in rows]),
        "none_pass_frac": _mean([row["n_correct"] == 0 for row in rows]),
        "truncated_frac": sum(row["n_truncated"] for row in rows) / n_samples,
        "length_mean": sum(row["n_tokens"] for row in rows) / n_samples,
        "n_undecided": sum(row["n_undecided"] for row in rows),
    }


def bootstrap_interval(values: Sequence[float], level: float = LEVEL) -> tuple[float, float]:
    """(low, high) of the mean: percentiles over resamples of the values, drawn from a fixed seed."""
    values_P = np.asarray(values, np.float64)
    rng = np.random.default_rng(len(values_P))
    per_block = max(1, _BLOCK // len(values_P))
    means = [
        values_P[rng.integers(len(values_P), size=(min(per_block, N_RESAMPLES - start), len(values_P)))].mean(axis=1)
        for start in range(0, N_RESAMPLES, per_block)
    ]
    tail = (1 - level) / 2
    low, high = np.quantile(np.concatenate(means), [tail, 1 - tail])
    return float(low), float(high)


# 97.5% quantiles of Student's t for 1 to 30 degrees of freedom.
_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131)
_T += (2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042)


def t_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """(low, high) of the mean by Student's t, 95%: for a handful of seeds or bases, where a bootstrap is too narrow.
    None for fewer than two values."""
    n = len(values)
    if n < 2:
        return None
    mean = _mean(values)
    std = math.sqrt(sum((value - mean) ** 2 for value in values) / (n - 1))
    half = _T[min(n - 1, len(_T)) - 1] * std / math.sqrt(n)
    return mean - half, mean + half


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
