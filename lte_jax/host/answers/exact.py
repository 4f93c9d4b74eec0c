"""Exact arithmetic with bounded size: what the caller can decide without sympy.

`ExactArithmetic` and `symbolic.SymbolicArithmetic` answer the same three questions about scalars; this one raises
Undecided where it cannot.
"""

from fractions import Fraction
from math import comb, factorial, gcd, isqrt, lcm, prod

from lte_jax.host.answers.limits import MAX_BITS, MAX_FACTORIAL
from lte_jax.host.answers.syntax import Node, TooLarge, Undecided, contains


def bits(value: Fraction) -> int:
    return max(value.numerator.bit_length(), value.denominator.bit_length())


def power(base: Fraction, exponent: Fraction) -> Fraction | None:
    """`base ** exponent` where it is rational and easy to see; None elsewhere. Raises TooLarge before it computes."""
    if base in (0, 1) and exponent > 0:
        return base
    if exponent.denominator == 2:
        root = square_root(base)
        return None if root is None else power(root, Fraction(exponent.numerator))
    if exponent.denominator != 1 or (base == 0 and exponent <= 0):
        return None
    if base != -1 and abs(exponent) * bits(base) > MAX_BITS:
        raise TooLarge(f"a power of more than {MAX_BITS} bits")
    return base ** int(exponent % 2 if base == -1 else exponent)


def square_root(value: Fraction) -> Fraction | None:
    """The exact root of a square, None elsewhere."""
    if value < 0:
        return None
    top, bottom = isqrt(value.numerator), isqrt(value.denominator)
    return Fraction(top, bottom) if (top * top, bottom * bottom) == (value.numerator, value.denominator) else None


def _function(name: str, values: list[Fraction]) -> Fraction | None:
    first = values[0]
    if name == "sqrt":
        return square_root(first)
    if name == "abs":
        return abs(first)
    if name in ("floor", "ceil"):
        return Fraction(first.__floor__() if name == "floor" else first.__ceil__())
    if name in ("max", "min"):
        return max(values) if name == "max" else min(values)
    if name == "mod":
        whole = all(value.denominator == 1 for value in values) and values[1] > 0
        return first % values[1] if whole else None
    if name in ("gcd", "lcm"):
        whole = all(value.denominator == 1 for value in values)
        return Fraction((gcd if name == "gcd" else lcm)(*map(int, values))) if whole else None
    if name == "double factorial":
        if first.denominator != 1 or not 0 <= first <= MAX_FACTORIAL:
            return None
        return Fraction(prod(range(int(first), 0, -2)))
    if name in ("factorial", "binom"):
        if any(value.denominator != 1 or value < 0 for value in values):
            return None
        if any(value > MAX_FACTORIAL for value in values):
            raise TooLarge(f"{name} of more than {MAX_FACTORIAL}")
        return Fraction(factorial(int(first)) if name == "factorial" else comb(int(first), int(values[1])))
    return None


def rational(node: Node) -> Fraction | None:
    """The exact value of a scalar that is plainly rational, else None. Raises TooLarge past MAX_BITS."""
    if node.op == "num":
        return node.value
    if node.op == "base":
        return base_value(*node.value)
    if node.op not in ("add", "mul", "div", "neg", "pow", "fn", "pct", "unit"):
        return None
    if (node.op, node.value) == ("fn", "mod") and node.args[0].op == "pow":
        return _power_modulo(*map(rational, (*node.args[0].args, node.args[1])))
    values = [rational(part) for part in node.args]
    if any(value is None for value in values):
        return None
    result = _combine(node, values)
    if result is not None and bits(result) > MAX_BITS:
        raise TooLarge(f"a number of more than {MAX_BITS} bits")
    return result


def _power_modulo(base: Fraction | None, exponent: Fraction | None, modulus: Fraction | None) -> Fraction | None:
    """7^2023 mod 1000, without the power."""
    parts = base, exponent, modulus
    if None in parts or any(part.denominator != 1 for part in parts) or exponent < 0 or modulus <= 0:
        return None
    return Fraction(pow(int(base), int(exponent), int(modulus)))


def _combine(node: Node, values: list[Fraction]) -> Fraction | None:
    first = values[0]
    if node.op == "add":
        return sum(values, Fraction(0))
    if node.op == "mul":
        for value in values[1:]:
            if bits(first) > MAX_BITS:
                raise TooLarge(f"a product of more than {MAX_BITS} bits")
            first *= value
        return first
    if node.op == "div":
        return first / values[1] if values[1] else None
    if node.op == "neg":
        return -first
    if node.op == "pow":
        return power(first, values[1])
    if node.op == "pct":
        return first / 100
    return first if node.op == "unit" else _function(node.value, values)


def base_value(digits: str, base: int) -> Fraction | None:
    try:
        return Fraction(int(digits, base))
    except ValueError:
        return None


def last_place(value: Fraction) -> Fraction:
    """1/1000 for 0.125: the place of the last digit of a finite decimal; 0 where there is no such form."""
    rest, twos, fives = value.denominator, 0, 0
    while rest % 2 == 0:
        rest, twos = rest // 2, twos + 1
    while rest % 5 == 0:
        rest, fives = rest // 5, fives + 1
    return Fraction(1, 10 ** max(twos, fives)) if rest == 1 else Fraction(0)


def infinity(node: Node) -> int:
    """1 for infinity, -1 for minus infinity, 0 for anything else."""
    if node.op == "neg":
        return -infinity(node.args[0])
    return int(node.op == "const" and node.value == "inf")


def close(gold: Fraction, answer: Fraction, tolerance: float) -> bool:
    return gold == answer or (tolerance > 0 and abs(gold - answer) <= Fraction(tolerance) * abs(gold))


class ExactArithmetic:
    """Decides what is structurally equal or rational."""

    def equal(self, gold: Node, answer: Node, tolerance: float) -> bool:
        if gold == answer:
            return True
        if (left := infinity(gold)) | (right := infinity(answer)):
            if left and right or contains(answer if left else gold, "num"):
                return left == right
        left_value, right_value = rational(gold), rational(answer)
        if left_value is None or right_value is None:
            raise Undecided
        return close(left_value, right_value, tolerance)

    def proportional(self, gold: Node, answer: Node) -> bool:
        """Are the two equal up to a constant factor?"""
        if gold == answer:
            return True
        raise Undecided
