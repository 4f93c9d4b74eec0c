"""Scalars in sympy: nodes from an allow-list, equal by structure, by exact arithmetic, then at random points.

Runs in workers only: whatever hangs or grows here is killed there. No string is ever handed to sympy.
"""

import math
import random
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction

import sympy

from lte_jax.host.answers.exact import ExactArithmetic, base_value, infinity, power, rational
from lte_jax.host.answers.limits import MAX_EXPONENT, MAX_FACTORIAL, MAX_TOWER
from lte_jax.host.answers.polynomials import same_zeros
from lte_jax.host.answers.series import Allowance, written_out
from lte_jax.host.answers.syntax import DUMMY, Node, TooLarge, Undecided, Unreadable, replace, walk

_CONSTANTS = {"pi": sympy.pi, "e": sympy.E, "i": sympy.I, "inf": sympy.oo}
_FUNCTIONS = {
    "sin": sympy.sin, "cos": sympy.cos, "tan": sympy.tan, "cot": sympy.cot, "sec": sympy.sec, "csc": sympy.csc,
    "asin": sympy.asin, "acos": sympy.acos, "atan": sympy.atan, "acot": sympy.acot, "asec": sympy.asec,
    "acsc": sympy.acsc, "sinh": sympy.sinh, "cosh": sympy.cosh, "tanh": sympy.tanh, "coth": sympy.coth,
    "asinh": sympy.asinh, "acosh": sympy.acosh, "atanh": sympy.atanh, "exp": sympy.exp, "ln": sympy.log,
    "log": sympy.log, "log10": lambda x: sympy.log(x) / sympy.log(10), "floor": sympy.floor, "ceil": sympy.ceiling,
    "abs": sympy.Abs, "sqrt": sympy.sqrt, "cbrt": sympy.cbrt, "factorial": sympy.factorial, "binom": sympy.binomial,
    "max": sympy.Max, "min": sympy.Min, "gcd": sympy.Function("gcd"), "lcm": sympy.Function("lcm"),
    "double factorial": sympy.factorial2, "mod": sympy.Mod, "cis": lambda x: sympy.exp(sympy.I * x),
}  # fmt: skip
_SERIES = {"sum": sympy.Sum, "prod": sympy.Product}
_TRIGONOMETRIC = frozenset("sin cos tan cot sec csc cis".split())
_INTEGER_FUNCTIONS = frozenset({"factorial", "double factorial", "binom", "mod"})
_STEPS = frozenset({"floor", "ceil"})
_INTEGER_NAMES = frozenset("ijklmnpqNMK")  # by custom: of a floor of n/2 only whole n count
_DIGITS = 60  # of a numerical comparison, and twice the digits by which the parts of the answers differ in size
_MAX_DIGITS = 20_000  # beyond it two values that no rule makes equal are held to be different
_MAX_TERMS, _MAX_OPERATIONS = 200, 20_000  # of a sum or product that is written out at a point
_POINTS = 6
_ENOUGH_POINTS = 3


def _tower(node: Node) -> int:
    """How deep exponents stand in exponents."""
    here = max(map(_tower, node.args), default=0)
    if node.op == "pow":
        return max(_tower(node.args[0]), 1 + _tower(node.args[1]))
    return 1 + here if node.op == "fn" and node.value in ("exp", "factorial", "double factorial") else here


def build(node: Node, degrees: bool = False) -> sympy.Expr:
    """The sympy expression of a scalar. `degrees`: inside a trigonometric function, where a degree sign counts."""
    if node.op == "num":
        return sympy.Rational(node.value.numerator, node.value.denominator)
    if node.op == "const":
        return _CONSTANTS[node.value]
    if node.op == "sym":
        return sympy.Symbol(node.value)
    if node.op == "call":
        return sympy.Mul(sympy.Symbol(node.value), *(sympy.Symbol(part.value) for part in node.args))
    if node.op == "base":
        value = base_value(*node.value)
        if value is None:
            raise Unreadable("digits that the base does not have")
        return sympy.Integer(int(value))
    if node.op == "series":
        return _series(node, degrees)
    inside = degrees or (node.op == "fn" and node.value in _TRIGONOMETRIC)
    return _combine(node, [build(part, inside) for part in node.args], degrees)


def _combine(node: Node, parts: list[sympy.Expr], degrees: bool) -> sympy.Expr:
    if node.op == "add":
        return sympy.Add(*parts)
    if node.op == "mul":
        return sympy.Mul(*parts)
    if node.op == "div":
        return parts[0] / parts[1]
    if node.op == "neg":
        return -parts[0]
    if node.op == "pow":
        return _power(*parts)
    if node.op == "fn":
        return _call(node.value, parts)
    if node.op == "deg":
        return parts[0] * sympy.pi / 180 if degrees else parts[0]
    if node.op == "pct":
        return parts[0] / 100
    if node.op == "unit":
        return parts[0]
    raise Unreadable(f"{node.op} is not a number")


def _series(node: Node, degrees: bool) -> sympy.Expr:
    """Written out where its ends are numbers, else as sympy has it, for `_evaluate` to write out at a point."""
    if infinity(node.args[0]) or infinity(node.args[1]):
        raise TooLarge("an endless sum or product, which equals only one that is written alike")
    terms = written_out(node, Allowance())
    if terms is not None:
        return (sympy.Add if node.value[0] == "sum" else sympy.Mul)(*(build(term, degrees) for term in terms))
    first, last, body = (build(part, degrees) for part in node.args)
    return _SERIES[node.value[0]](body, (sympy.Symbol(node.value[1]), first, last))


def _power(base: sympy.Expr, exponent: sympy.Expr) -> sympy.Expr:
    if base.is_Rational and exponent.is_Rational:
        if base == exponent == 0:
            return sympy.nan  # sympy has 1
        if base < 0 and exponent.q % 2 and exponent.q > 1:
            return (-1) ** exponent.p * sympy.Pow(-base, exponent)  # the real root: (-8)^(1/3) is -2
        power(Fraction(base.p, base.q), Fraction(exponent.p, exponent.q))  # raises TooLarge
    if exponent.is_number:
        size = sympy.Abs(exponent.evalf(6))
        if not size.is_Float or size > MAX_EXPONENT:
            if size != 0:
                raise TooLarge("an exponent that is too large")
    return sympy.Pow(base, exponent)


def _call(name: str, parts: list[sympy.Expr]) -> sympy.Expr:
    if name in ("factorial", "double factorial", "binom", "exp", "sinh", "cosh"):
        limit = MAX_FACTORIAL if name in ("factorial", "double factorial", "binom") else MAX_EXPONENT
        for part in parts:
            if part.is_number and not abs(complex(part.evalf(6))) <= limit:
                raise TooLarge(f"{name} of something too large")
    if name == "binom" and parts[1].is_number and not parts[1].is_integer:
        raise TooLarge("a binomial coefficient whose lower number is no integer")  # sympy takes minutes
    return _FUNCTIONS[name](*parts)


def _expandable(expression: sympy.Expr) -> bool:
    """Small enough to multiply out."""
    powers = (part for part in expression.atoms(sympy.Pow) if part.base.is_Add and part.exp.is_Integer)
    return expression.count_ops() < 200 and all(abs(part.exp) <= 8 for part in powers)


class SymbolicArithmetic:
    """Decides any two scalars, given time."""

    def __init__(self):
        self.digits = _DIGITS

    def equal(self, gold: Node, answer: Node, tolerance: float) -> bool:
        with suppress(Undecided):
            return ExactArithmetic().equal(gold, answer, tolerance)
        return any(self._equal(left, right, tolerance) for left, right in _readings(gold, answer))

    def _equal(self, gold: Node, answer: Node, tolerance: float) -> bool:
        left, right = self._build(gold), self._build(answer)
        if left == right:
            return True
        if not tolerance and _expandable(left) and _expandable(right) and sympy.expand(left - right) == 0:
            return True
        self.digits = _DIGITS + 2 * _spread(left, right)
        if self.digits > _MAX_DIGITS:
            return False
        n_points, n_wanted = 0, _ENOUGH_POINTS if left.free_symbols | right.free_symbols else 1
        for a, b in self._values(gold, answer, left, right):
            if not _near(a, b, tolerance, self.digits):
                return False
            n_points += 1
        return n_points >= n_wanted

    def proportional(self, gold: Node, answer: Node) -> bool:
        """Do both vanish at the same places? Exactly for polynomials and their quotients, see polynomials.py; of other
        expressions whether one is the other times a constant, at random points."""
        left, right = self._build(gold), self._build(answer)
        if left.free_symbols != right.free_symbols:
            return False
        if left == right:
            return True
        if (same := same_zeros(left, right)) is not None:
            return same
        self.digits = _DIGITS + 2 * _spread(left, right)
        if self.digits > _MAX_DIGITS:
            return False
        first, n_points = None, 0
        for a, b in self._values(gold, answer, left, right):
            if b == 0:
                continue
            first = a / b if first is None else first
            if not _near(first, a / b, 0.0, self.digits):
                return False
            n_points += 1
        return n_points >= _ENOUGH_POINTS and not _near(first, sympy.Float(0), 0.0, self.digits)

    def _build(self, node: Node) -> sympy.Expr:
        if _tower(node) > MAX_TOWER:
            raise TooLarge(f"more than {MAX_TOWER} exponents inside exponents")
        if (value := rational(node)) is not None:
            return sympy.Rational(value.numerator, value.denominator)
        try:
            return build(node)
        except (TooLarge, Unreadable):
            raise
        except (ArithmeticError, ValueError, TypeError, NotImplementedError) as error:
            raise TooLarge(f"sympy cannot hold it: {error}") from error  # such as 4300 digits of a floor

    def _values(self, gold: Node, answer: Node, left: sympy.Expr, right: sympy.Expr) -> Iterator[tuple]:
        """Values of both at the same points, where both are defined: so one that differs saves the others."""
        names = sorted(left.free_symbols | right.free_symbols, key=str)
        parts = [part for side in (gold, answer) for part in walk(side)]
        functions = {part.value for part in parts if part.op == "fn"}
        counted = functions & _STEPS and all(name.name in _INTEGER_NAMES for name in names)
        series = any(part.op == "series" for part in parts)
        whole = bool(series or functions & _INTEGER_FUNCTIONS or counted)
        for point in _points(names, whole, highest=9 if series else 30) if names else [{}]:
            pair = _evaluate(left, point, self.digits), _evaluate(right, point, self.digits)
            if None in pair:
                continue
            if any(value < 0 for value in point.values()) and not all(
                _one_branch(side, point) for side in (left, right)
            ):
                continue
            yield pair


def _spread(*expressions: sympy.Expr) -> int:
    """By how many decimal digits numbers, powers and functions in the answers are larger or smaller than one, all told:
    no sum of their products that is not zero is closer to zero than about that."""
    total = 0.0
    for part in set().union(*(sympy.preorder_traversal(expression) for expression in expressions)):
        if part.is_Rational:
            total += abs(_log10(abs(part.p)) - _log10(part.q))
        elif (part.is_Pow or part.is_Function) and not part.free_symbols:
            size = abs(part.evalf(8, maxn=_MAX_DIGITS))
            if size.is_Float and size > 0:
                total += abs(float(sympy.log(size, 10).evalf(6)))
    return math.ceil(total)


def _log10(value: int) -> float:
    return value.bit_length() * math.log10(2) if value > 1 else 0.0


def _points(names: list[sympy.Symbol], whole: bool, highest: int) -> list[dict]:
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


def _one_branch(expression: sympy.Expr, point: dict) -> bool:
    """No root or logarithm of a negative number, where the branch is a matter of taste, and a real value."""
    inner = [part.base for part in expression.atoms(sympy.Pow) if not part.exp.is_Integer]
    inner += [part.args[0] for part in expression.atoms(sympy.log)]
    values = [part.evalf(6, subs=point) for part in (*inner, expression)]
    return all(value.is_real for value in values) and all(value > 0 for value in values[:-1])


def _evaluate(expression: sympy.Expr, point: dict, digits: int) -> sympy.Expr | None:
    """A finite number, or None where there is none or getting there would take too long."""
    try:
        if expression.has(*_SERIES.values()):
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
    while found := expression.atoms(*_SERIES.values()):
        outer = max(found, key=lambda part: part.count_ops())
        index, first, last = outer.limits[0]
        if not (first.is_Integer and last.is_Integer) or last - first >= _MAX_TERMS:
            return None
        terms = [outer.function.subs(index, place) for place in range(int(first), int(last) + 1)]
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


def _near(left: sympy.Expr, right: sympy.Expr, tolerance: float, digits: int) -> bool:
    """Equal to `tolerance` relative to the left, or to nearly all digits; what is below all digits is zero."""
    size = max(abs(left), abs(right))
    allowed = tolerance * abs(left) if tolerance else size * sympy.Float(10, digits) ** (20 - digits)
    return bool(abs(left - right) <= allowed) or bool(size <= sympy.Float(10, digits) ** (20 - digits))


def _readings(gold: Node, answer: Node) -> list[tuple[Node, Node]]:
    r"""A log without a base may be natural or decimal: either will do, if it is the same in both."""
    readings = [(gold, answer)]
    if any(part.op == "fn" and part.value == "log" for side in (gold, answer) for part in walk(side)):
        readings.append((_decimal_log(gold), _decimal_log(answer)))
    return readings


def _decimal_log(node: Node) -> Node:
    def swap(part: Node) -> Node | None:
        return Node("fn", part.args, "log10") if (part.op, part.value) == ("fn", "log") else None

    return replace(node, swap)
