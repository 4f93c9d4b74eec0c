"""Values of sympy expressions at fixed random points, to as many digits as their parts need. Runs in workers only."""

import math
import random

import sympy

from lte_jax.host.answers.limits import MAX_EXPONENT, MAX_FACTORIAL
from lte_jax.host.answers.syntax import DUMMY

MAX_DIGITS = 20_000  # beyond it two values that no rule makes equal are held to be different
_SERIES = (sympy.Sum, sympy.Product)
_MAX_TERMS, _MAX_OPERATIONS = 200, 20_000  # of a sum or product that is written out at a point
_POINTS = 6


def spread(*expressions: sympy.Expr) -> int:
    """By how many decimal digits numbers, powers and functions in the answers are larger or smaller than one, all told:
    no sum of their products that is not zero is closer to zero than about that."""
    total = 0.0
    for part in set().union(*(sympy.preorder_traversal(expression) for expression in expressions)):
        if part.is_Rational:
            total += abs(_log10(abs(part.p)) - _log10(part.q))
        elif (part.is_Pow or part.is_Function) and not part.free_symbols:
            size = abs(part.evalf(8, maxn=MAX_DIGITS))
            if size.is_Float and size > 0:
                total += abs(float(sympy.log(size, 10).evalf(6)))
    return math.ceil(total)


def _log10(value: int) -> float:
    return value.bit_length() * math.log10(2) if value > 1 else 0.0


def points_for(names: list[sympy.Symbol], whole: bool, highest: int) -> list[dict]:
    """Fixed random points: positive ones, some negative where there is one variable, integers up to `highest`
    where steps occur."""
    source = random.Random(20251126)
    if whole:
        return [{name: sympy.Integer(source.randint(2, highest)) for name in names} for _ in range(2 * _POINTS)]
    counted = [name for name in names if name.name.startswith((f"{DUMMY}Z", f"{DUMMY}N"))]
    points = [{name: sympy.Rational(source.randint(300, 2900), 1009) for name in names} for _ in range(_POINTS)]
    for at in range(_POINTS // 2):  # each name is negative somewhere, and so is their product: |ab| is not ab
        signs = [-1 if at == 0 or (at + place) % 2 else 1 for place in range(len(names))]
        values = [sympy.Rational(sign * source.randint(300, 2900), 1009) for sign in signs]
        points.append(dict(zip(names, values, strict=True)))
    whole_places = [{name: sympy.Integer(2 * source.randint(1, 15) + at % 2) for name in counted} for at in range(9)]
    return [point | places for point, places in zip(points, whole_places, strict=True)]


def is_on_one_branch(expression: sympy.Expr, point: dict) -> bool:
    """No root or logarithm of a negative number, where the branch is a matter of taste, and a real value."""
    inner = [part.base for part in expression.atoms(sympy.Pow) if not part.exp.is_Integer]
    inner += [part.args[0] for part in expression.atoms(sympy.log)]
    values = [part.evalf(6, subs=point) for part in (*inner, expression)]
    return all(value.is_real for value in values) and all(value > 0 for value in values[:-1])


def evaluate(expression: sympy.Expr, point: dict, digits: int) -> sympy.Expr | None:
    """A finite number, or None where there is none or getting there would take too long."""
    try:
        if expression.has(*_SERIES):
            expression = _without_series(expression.subs(point))
        if expression is None or not _bounded(expression, point):
            return None
        value = expression.evalf(digits, subs=point, maxn=4 * digits)
        parts = value.as_real_imag()
    except (ArithmeticError, ValueError, TypeError, NotImplementedError):
        return None  # sympy's ways of saying that there is no number here
    return value if all(part.is_Float or part.is_Rational for part in parts) and value.is_finite else None


def _without_series(expression: sympy.Expr) -> sympy.Expr | None:
    """Inner sums and products are written out where an outer one has been; None where one has too many terms."""
    while found := expression.atoms(*_SERIES):
        outer = next((part for part in found if all(end.is_Integer for end in part.limits[-1][1:])), None)
        if outer is None:
            return None
        *inner, (index, first, last) = outer.limits  # sympy joins a sum of sums into one
        body = outer.func(outer.function, *inner) if inner else outer.function
        if last - first >= _MAX_TERMS:
            return None
        terms = [body.subs(index, place) for place in range(int(first), int(last) + 1)]
        total = sympy.Add(*terms) if isinstance(outer, sympy.Sum) else sympy.Mul(*terms)
        expression = expression.xreplace({outer: total})
        if expression.count_ops() > _MAX_OPERATIONS:
            return None
    return expression


def _bounded(expression: sympy.Expr, point: dict) -> bool:
    """Are all exponents and factorials small at this point? Inner ones are looked at first."""
    steep = expression.atoms(sympy.Pow, sympy.exp, sympy.factorial, sympy.factorial2, sympy.binomial)
    for part in sorted(steep, key=lambda part: part.count_ops()):
        is_power = isinstance(part, (sympy.Pow, sympy.exp))
        limit = MAX_EXPONENT if is_power else MAX_FACTORIAL
        for size in (part.exp,) if is_power else part.args:
            if not size.is_Rational and not abs(complex(size.evalf(6, subs=point))) <= limit:
                return False
    return True


def near(left: sympy.Expr, right: sympy.Expr, tolerance: float, digits: int) -> bool:
    """Equal to `tolerance` relative to the left, or to nearly all digits; what is below all digits is zero."""
    size = max(abs(left), abs(right))
    allowed = tolerance * abs(left) if tolerance else size * sympy.Float(10, digits) ** (20 - digits)
    return bool(abs(left - right) <= allowed) or bool(size <= sympy.Float(10, digits) ** (20 - digits))
