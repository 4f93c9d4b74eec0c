"""Are two numbers or expressions the same under the conventions: tolerance, units, percents, degrees, bases?

An arithmetic decides what is equal: exact.ExactArithmetic in the caller, symbolic.SymbolicArithmetic in a worker.
"""

from fractions import Fraction

from lte_jax.config import ConventionsConfig
from lte_jax.host.answers.exact import last_place, rational
from lte_jax.host.answers.series import is_dotted
from lte_jax.host.answers.syntax import Node, is_inexact, symbols, walk
from lte_jax.host.answers.units import is_modulus, modulus_of, units_conflict

_RADIANS_PER_DEGREE = Node("div", (Node("const", value="pi"), Node("num", value=Fraction(180))))


class Scalars:
    """Compares numbers and expressions."""

    def __init__(self, arithmetic, conventions: ConventionsConfig):
        self.arithmetic = arithmetic
        self.conventions = conventions

    def same(self, gold: Node, answer: Node) -> bool:
        """Raises Undecided or TooLarge where the arithmetic does."""
        (gold, gold_unit), (answer, answer_unit) = _strip_unit(gold), _strip_unit(answer)
        if units_conflict(gold_unit, answer_unit) or (
            not self.conventions.units_optional and bool(gold_unit) != bool(answer_unit)
        ):
            return False
        if is_modulus(gold_unit) and gold_unit == answer_unit:
            same = _congruent(gold, answer, gold_unit)
            return self.arithmetic.equal(gold, answer, 0.0) if same is None else same
        if is_dotted(gold) or is_dotted(answer):
            return gold.op == answer.op and gold.value == answer.value and self._parts(gold, answer)
        if gold.op == answer.op == "series" and gold.value == answer.value and self._parts(gold, answer):
            return True
        tolerance = self._tolerance(gold, answer)
        if gold.op == "pct" or answer.op == "pct":
            return self._percentages(gold, answer, tolerance)
        if gold.op == "base" or answer.op == "base":
            return self._bases(gold, answer, tolerance)
        if gold.op == "deg" or answer.op == "deg":
            return self._degrees(gold, answer, tolerance)
        if not tolerance and self._is_long_decimal(gold, answer):
            tolerance = last_place(answer.value) / abs(answer.value)
        return self.arithmetic.equal(gold, answer, tolerance)

    def _parts(self, gold: Node, answer: Node) -> bool:
        pairs = zip(gold.args, answer.args, strict=False)
        return len(gold.args) == len(answer.args) and all(one == other or self.same(one, other) for one, other in pairs)

    def holds(self, left: Node, right: Node) -> bool:
        """2 + 3 = 5, and 17 = 2 (mod 5)."""
        value, unit = _strip_unit(right)
        same = _congruent(left, value, unit) if is_modulus(unit) else None
        return self.arithmetic.equal(left, right, 0.0) if same is None else same

    def _tolerance(self, gold: Node, answer: Node) -> float | Fraction:
        """Relative to the gold. A gold of three digits or more with a decimal point is matched by what rounds to it at
        its own last digit: exact values, and decimals that are given two digits further. Beyond that
        `relative_tolerance` is a convention, and none for exact values: 17 is not 17.001."""
        if not is_inexact(gold):
            return 0.0
        relative = self.conventions.relative_tolerance
        value = rational(gold)
        place = last_place(value) if value and value.denominator > 1 else None
        if not place or not relative:
            return relative
        exact = None if symbols(answer) else rational(answer)
        is_written = exact is not None and is_inexact(answer)
        further = not is_written or last_place(exact) * 100 <= place
        rounding = place / 2 / abs(value) if abs(value / place) >= 100 and further else 0
        return max(rounding, relative) if exact is None or is_written else rounding

    def _is_long_decimal(self, gold: Node, answer: Node) -> bool:
        """1.4142135624 for sqrt(2); never a rounded form of a gold that has a finite decimal form itself."""
        wanted, value = self.conventions.decimal_digits, answer.value
        if not wanted or answer.op != "num" or not answer.inexact or value.denominator == 1:
            return False
        exact = rational(gold)
        if symbols(gold) or exact is not None and last_place(exact):
            return False
        return len(str(abs(value / last_place(value)))) >= wanted

    def _percentages(self, gold: Node, answer: Node, tolerance: float) -> bool:
        inner_gold = gold.args[0] if gold.op == "pct" else gold
        inner_answer = answer.args[0] if answer.op == "pct" else answer
        if self.arithmetic.equal(inner_gold, inner_answer, tolerance):
            return True
        as_decimal = self.conventions.percent_is_decimal and gold.op != answer.op
        return as_decimal and self.arithmetic.equal(gold, answer, tolerance)

    def _bases(self, gold: Node, answer: Node, tolerance: float) -> bool:
        """The question states the base: 52 matches 52_8, but 42 does not."""
        if gold.op == "base" and answer.op == "num":
            return answer.value.denominator == 1 and str(answer.value) == gold.value[0].lstrip("0")
        return self.arithmetic.equal(gold, answer, tolerance)

    def _degrees(self, gold: Node, answer: Node, tolerance: float) -> bool:
        one_sided = gold.op != answer.op
        plain = [side.args[0] if side.op == "deg" else side for side in (gold, answer)]
        if one_sided and any(part.value == "pi" for side in plain for part in walk(side)):
            radians = [
                side if side.op != "deg" else Node("mul", (side.args[0], _RADIANS_PER_DEGREE))
                for side in (gold, answer)
            ]
            return self.arithmetic.equal(*radians, tolerance)
        return (self.conventions.degrees_optional or not one_sided) and self.arithmetic.equal(*plain, tolerance)


def _congruent(left: Node, right: Node, modulus: str) -> bool | None:
    """2 and 7 modulo 5; None where they are not rational."""
    values, whole = (rational(left), rational(right)), modulus_of(modulus)
    if None in values or not whole:
        return None
    return ((values[0] - values[1]) / whole).denominator == 1


def _strip_unit(node: Node) -> tuple[Node, str]:
    unit = ""
    while node.op == "unit":
        node, unit = node.args[0], node.value
    return node, unit
