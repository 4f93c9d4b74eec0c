"""Scalars in sympy: nodes from an allow-list, equal by structure, by exact arithmetic, then at random points.

Runs in workers only: whatever hangs or grows here is killed there. No string is ever handed to sympy.
"""

from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction

import sympy

from lte_jax.host.answers.exact import ExactArithmetic, base_value, infinity, power, rational
from lte_jax.host.answers.limits import MAX_EXPONENT, MAX_FACTORIAL, MAX_TOWER
from lte_jax.host.answers.numeric import MAX_DIGITS, evaluate, is_on_one_branch, near, points_for, spread
from lte_jax.host.answers.polynomials import same_zeros
from lte_jax.host.answers.series import Allowance, written_out
from lte_jax.host.answers.syntax import Node, TooLarge, Undecided, Unreadable, replace, walk

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
_TRIGONOMETRIC = frozenset("sin cos tan cot sec csc cis".split())
_INTEGER_FUNCTIONS = frozenset({"factorial", "double factorial", "binom", "mod"})
_STEPS = frozenset({"floor", "ceil"})
_INTEGER_NAMES = frozenset("ijklmnpqNMK")  # by custom: of a floor of n/2 only whole n count
_DIGITS = 60  # of a numerical comparison, and twice the digits by which the parts of the answers differ in size
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
        names = [part.value for part in node.args]
        if len(names) > 1:
            return sympy.Symbol(f"{node.value}({', '.join(names)})")
        return sympy.Mul(sympy.Symbol(node.value), sympy.Symbol(names[0]))
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
    """Written out where its ends are numbers, else as sympy has it, for `numeric.evaluate` to write out at a point."""
    if infinity(node.args[0]) or infinity(node.args[1]):
        raise TooLarge("an endless sum or product, which equals only one that is written alike")
    terms = written_out(node, Allowance())
    if terms is not None:
        return (sympy.Add if node.value[0] == "sum" else sympy.Mul)(*(build(term, degrees) for term in terms))
    first, last, body = (build(part, degrees) for part in node.args)
    series_of = sympy.Sum if node.value[0] == "sum" else sympy.Product
    return series_of(body, (sympy.Symbol(node.value[1]), first, last))


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
        self.digits = _DIGITS + 2 * spread(left, right)
        if self.digits > MAX_DIGITS:
            return False
        n_points, n_wanted = 0, _ENOUGH_POINTS if left.free_symbols | right.free_symbols else 1
        for a, b in self._values(gold, answer, left, right):
            if not near(a, b, tolerance, self.digits):
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
        self.digits = _DIGITS + 2 * spread(left, right)
        if self.digits > MAX_DIGITS:
            return False
        first, n_points = None, 0
        for a, b in self._values(gold, answer, left, right):
            if b == 0:
                continue
            first = a / b if first is None else first
            if not near(first, a / b, 0.0, self.digits):
                return False
            n_points += 1
        return n_points >= _ENOUGH_POINTS and not near(first, sympy.Float(0), 0.0, self.digits)

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
        for point in points_for(names, whole, highest=9 if series else 30) if names else [{}]:
            pair = evaluate(left, point, self.digits), evaluate(right, point, self.digits)
            if None in pair:
                continue
            if any(value < 0 for value in point.values()) and not all(
                is_on_one_branch(side, point) for side in (left, right)
            ):
                continue
            yield pair


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
