"""Counts the floating-point operations of a traced program's matrix products, before any compiler.

Compilers rewrite products (a TPU's become convolutions, a GPU's calls of cuBLAS) but keep their number; the trace has
them in one form, what the backward pass recomputes included. A scan's body counts as often as it turns; a loop whose
end depends on data counts once, and of branches the largest.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple


class Flops(NamedTuple):
    """Of the whole program over all devices, a multiply-add being two."""

    dense: float
    attention: float  # products batched over rows and heads: of queries with keys, and of scores with values

    def __add__(self, other: "Flops") -> "Flops":
        return Flops(self.dense + other.dense, self.attention + other.attention)

    def times(self, n: int) -> "Flops":
        return Flops(self.dense * n, self.attention * n)


NOTHING = Flops(0.0, 0.0)


def matrix_flops(closed_jaxpr) -> Flops:
    """Products in a (closed) jaxpr, in all that it calls too."""
    jaxpr = getattr(closed_jaxpr, "jaxpr", closed_jaxpr)
    return sum((_of_equation(equation) for equation in jaxpr.eqns), NOTHING)


def _of_equation(equation) -> Flops:
    name, params = equation.primitive.name, equation.params
    if name == "dot_general":
        return _of_product(equation)
    if name == "ragged_dot_general":
        return _of_ragged_product(equation)
    if name == "cond":
        return max((matrix_flops(branch) for branch in params["branches"]), key=sum)
    n = params["length"] if name == "scan" else params["mesh"].size if name == "shard_map" else 1
    return sum((matrix_flops(inner) for inner in _called(params)), NOTHING).times(n)


def _called(params: dict) -> Iterator:
    """The jaxprs that an equation runs; of a custom derivative rule only the function itself is one."""
    for value in params.values():
        if hasattr(value, "eqns") or hasattr(value, "jaxpr"):
            yield value


def _of_product(equation) -> Flops:
    (contracted, _), (batch, _) = equation.params["dimension_numbers"]
    shape = equation.invars[0].aval.shape
    n = 2.0 * math.prod(equation.outvars[0].aval.shape) * math.prod(shape[axis] for axis in contracted)
    return Flops(0.0, n) if len(batch) > 1 else Flops(n, 0.0)


def _of_ragged_product(equation) -> Flops:
    """Each row times the matrix of its group; rows of no group are counted too."""
    numbers = equation.params["ragged_dot_dimension_numbers"]
    (contracted, _), _ = numbers.dot_dimension_numbers
    left, right = (value.aval.shape for value in equation.invars[:2])
    groups = math.prod(right[axis] for axis in numbers.rhs_group_dimensions)
    columns = math.prod(right) / groups / math.prod(left[axis] for axis in contracted)
    return Flops(2.0 * math.prod(left) * columns, 0.0)
