"""How far apart two right computations of one thing may be, from the arithmetic and not from what one processor gives.

Each processor sums in its own order: in vectors of 4, 8 or 16 numbers, with or without fused multiply-adds. A chain
of n roundings, such as a sum of n terms in any order, is off by at most n u times the magnitude, u = eps / 2 (Higham,
Accuracy and Stability of Numerical Algorithms, section 4.2), and, since roundings are as good as independent, by at
most L sqrt(n) u in all but a share 2 exp(-L^2 / 2) of cases (Higham and Mary 2019, doi 10.1137/18M1226312; L = 6:
3e-8). Two computations are both off, hence eps in place of u.
"""

import ml_dtypes

FUNCTION = 4  # exp, log, tanh and rsqrt of XLA's and numpy's vector libraries are right to 4 units in the last place


def bound(n: int, magnitude: float = 1.0, dtype="float32") -> float:
    """Largest difference after n roundings in series of two results whose terms add up, by magnitude, to `magnitude`;
    with 1, relative to the result of a sum of one sign."""
    return float(min(n, 6 * n**0.5) * float(ml_dtypes.finfo(dtype).eps) * magnitude)


def longest(arch, n_columns: int) -> int:
    """Terms of the longest sum in a model. What a product is off by is as if its weights were; times the condition, how
    many times a change of the weights comes back, that is what the result is off by."""
    return max(arch.d_model, arch.d_ff, arch.n_heads * arch.d_head, arch.vocab_size, n_columns)


def forward(arch, n_columns: int) -> int:
    """Roundings in series from an embedding to a log-prob: the longest sum of each product, norm and softmax. Enough
    for models like tiny.py's, whose norms keep their condition small."""
    attention = 2 * arch.d_model + 2 * arch.d_head + 2 * n_columns + arch.n_heads * arch.d_head  # softmax and values: T
    feed_forward = 2 * arch.d_model + arch.d_ff
    functions = FUNCTION * 6  # two norms and q's, softmax, silu, rotation
    return arch.n_layers * (attention + feed_forward + functions) + 2 * arch.d_model + arch.vocab_size


def backward(arch, n_rows: int, n_columns: int) -> int:
    """Roundings in series of a weight's gradient: forward, back along the same products, and a sum over all tokens."""
    return 2 * forward(arch, n_columns) + n_rows * n_columns
