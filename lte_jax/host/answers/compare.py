"""Are two parsed answers the same? Decides forms (lists, intervals, equations …); leaves scalars to an arithmetic.

The same code runs in the caller, with exact.ExactArithmetic, and in a worker, with symbolic.SymbolicArithmetic.
"""

from collections.abc import Iterator
from fractions import Fraction

from lte_jax.config import ConventionsConfig
from lte_jax.host.answers.exact import last_place, rational
from lte_jax.host.answers.limits import MAX_COMPARISONS
from lte_jax.host.answers.normal_form import (
    INTEGER_LETTERS,
    bound_name,
    is_definition,
    is_equation,
    is_inequality,
    is_name,
    names,
    normal_form,
    residues,
)
from lte_jax.host.answers.series import is_dotted
from lte_jax.host.answers.syntax import DUMMY, Node, TooLarge, is_inexact, replace, symbols, walk
from lte_jax.host.answers.units import is_modulus, modulus_of, units_conflict

_MAX_SHIFT = 6  # of the letter in 2 k pi and 2 (k + 1) pi
_OF_PARTS = frozenset({"list", "set", "union", "rel", "given"})  # whose parts are looked at one by one
_RADIANS_PER_DEGREE = Node("div", (Node("const", value="pi"), Node("num", value=Fraction(180))))


class Comparison:
    """Are two parsed answers the same under the conventions?"""

    def __init__(self, arithmetic, conventions: ConventionsConfig):
        self.arithmetic = arithmetic
        self.conventions = conventions
        self.n_comparisons = 0
        self._is_within = False  # among parts that share their letters

    def same(self, gold: Node, answer: Node) -> bool:
        """Raises Undecided or TooLarge where the arithmetic does."""
        if gold == answer:
            return True
        self.n_comparisons += 1
        if self.n_comparisons > MAX_COMPARISONS:
            raise TooLarge(f"more than {MAX_COMPARISONS} comparisons of parts")
        if "approx" in (gold.op, answer.op):
            return self._alternatives(gold, answer)
        bound = bound_name(gold), bound_name(answer)
        if None not in bound and bound[0] != bound[1]:
            return False  # x > 2 is not y > 2
        if "list" in (gold.op, answer.op):
            given = names(gold), names(answer)
            if None not in given and given[0] != given[1]:
                return False  # x = 1 or x = 2 is not x = 1, y = 2
        forms = _same_dummies(*_same_residues(normal_form(gold), normal_form(answer)))
        if (is_inequality(gold) or is_inequality(answer)) and "list" in (forms[0].op, forms[1].op):
            return False  # 1 < x < 2 is not 1, 2
        return self._by_form(*forms) or self._shifted(*forms)

    def _shifted(self, gold: Node, answer: Node) -> bool:
        """2 k pi for any integer k is 2 (k + 1) pi, and k pi is -k pi: the same set with its members counted anew.

        Only where the letter is bound: both ends of an interval move together.
        """
        integer = _only_integer(gold)
        if integer is None or self._is_within or integer != _only_integer(answer) or gold.op in _OF_PARTS:
            return False
        self._is_within = True
        try:
            return any(self._by_form(gold, replace(answer, {integer: place}.get)) for place in _places(integer))
        finally:
            self._is_within = False

    def _alternatives(self, gold: Node, answer: Node) -> bool:
        """Of `sqrt(2) = 1.41…` rounded, either value will do; nothing of `5 = 6` rounded."""
        values, other_values = _spellings(gold), _spellings(answer)
        if not all(self._is_rounded(*pair) for pair in zip(other_values, other_values[1:], strict=False)):
            return False
        return any(self.same(left, right) for left in values for right in other_values)

    def _is_rounded(self, exact: Node, rounded: Node) -> bool:
        """Do they differ by less than one in the last digit? Where neither is a finite decimal, nobody can tell."""
        exact, rounded = ((part.args[1] if is_equation(part) else part) for part in (exact, rounded))
        if not (exact.scalar and rounded.scalar) or symbols(exact) or symbols(rounded):
            return True
        value = rational(rounded)
        place = last_place(value) if value else None
        return not place or self.arithmetic.equal(rounded, exact, 0.99 * float(place / abs(value)))

    def _by_form(self, gold: Node, answer: Node) -> bool:
        if "given" in (gold.op, answer.op):
            return self._given(gold, answer)
        if is_equation(gold) or is_equation(answer):
            return self._equations(gold, answer)
        if "ratio" in (gold.op, answer.op):
            return self._ratios(gold, answer)
        if gold.op == "set" and len(gold.args) == 1 and answer.op != "set":
            gold = gold.args[0]
        if answer.op == "set" and len(answer.args) == 1 and gold.op not in ("set", "union"):
            answer = answer.args[0]
        if gold.op == "text" or answer.op == "text":
            return gold.op == answer.op and gold.value == answer.value
        if gold.scalar and answer.scalar:
            return self._scalars(gold, answer)
        if gold.op in ("list", "set") or answer.op in ("list", "set"):
            return self._collections(gold, answer)
        if "matrix" in (gold.op, answer.op):
            return self._matrices(gold, answer)
        if gold.op != answer.op:
            return False
        if gold.op == "tuple":
            brackets_agree = gold.value == answer.value or len(gold.args) != 2
            return brackets_agree and self._in_order(gold.args, answer.args)
        if gold.op == "union":
            return self._any_order(gold.args, answer.args)
        if gold.op == "cases":
            return self._any_order(_rows(gold), _rows(answer))
        if gold.op == "rel":
            return gold.value == answer.value and self._inequalities(gold, answer)
        return gold.value == answer.value and self._in_order(gold.args, answer.args)  # in, minus, where, compound

    def _given(self, gold: Node, answer: Node) -> bool:
        """f(x) = 1/x for x != 0: what is given may be left out; where both say it, one says no more than the other."""
        (gold, *wanted), (answer, *stated) = (side.args if side.op == "given" else (side,) for side in (gold, answer))
        shorter, longer = sorted((wanted, stated), key=len)
        agree = all(any(self.same(one, other) for other in longer) for one in shorter)
        return agree and self.same(gold, answer)

    def _inequalities(self, gold: Node, answer: Node) -> bool:
        if len(gold.args) == len(answer.args) == 2 and all(side.scalar for side in (*gold.args, *answer.args)):
            return self.arithmetic.equal(_difference(gold), _difference(answer), 0.0)
        return self._in_order(gold.args, answer.args)

    def _ratios(self, gold: Node, answer: Node) -> bool:
        """3:2 is 3:2 and 3/2; a time such as 4:30 is no ratio, so nothing is reduced."""
        if gold.op == answer.op:
            return self._in_order(gold.args, answer.args)
        ratio, other = (gold, answer) if gold.op == "ratio" else (answer, gold)
        if len(ratio.args) != 2 or other.op != "div":
            return False
        quotient = Node("div", ratio.args)
        return self.same(quotient, other) if ratio is gold else self.same(other, quotient)

    def _in_order(self, gold: tuple[Node, ...], answer: tuple[Node, ...]) -> bool:
        was_within, self._is_within = self._is_within, True
        try:
            return len(gold) == len(answer) and all(map(self.same, gold, answer))
        finally:
            self._is_within = was_within

    def _any_order(self, gold: tuple[Node, ...], answer: tuple[Node, ...]) -> bool:
        if len(gold) != len(answer):
            return False
        left = list(answer)
        for part in gold:
            match = next((at for at, other in enumerate(left) if self.same(part, other)), None)
            if match is None:
                return False
            del left[match]
        return True

    def _collections(self, gold: Node, answer: Node) -> bool:
        """A bare list matches a tuple in order and a set in any order; a set never matches a tuple."""
        ops = {gold.op, answer.op}
        if ops == {"list", "tuple"} or (ops == {"list"} and not self.conventions.list_is_unordered):
            brackets = [side.value for side in (gold, answer) if side.op == "tuple"]
            return set(brackets) <= {"()", "[]"} and self._in_order(gold.args, answer.args)
        if ops == {"list", "matrix"}:
            return self._matrices(gold, answer)
        return ops <= {"list", "set"} and self._any_order(gold.args, answer.args)

    def _matrices(self, gold: Node, answer: Node) -> bool:
        matrix, other = (gold, answer) if gold.op == "matrix" else (answer, gold)
        if other.op == "matrix":
            return gold.value == answer.value and self._in_order(gold.args, answer.args)
        is_vector = 1 in matrix.value and (other.op == "list" or other.op == "tuple" and other.value in ("()", "[]"))
        return is_vector and self._in_order(gold.args, answer.args)

    # equations

    def _equations(self, gold: Node, answer: Node) -> bool:
        if is_equation(gold) and is_equation(answer):
            return self._both_equations(gold, answer)
        equation, other = (gold, answer) if is_equation(gold) else (answer, gold)
        if self.conventions.equation_gives_value and is_definition(equation):
            right = equation.args[1]
        elif equation is answer and all(side.scalar for side in answer.args):
            if is_name(answer.args[0]) or not self._holds(*answer.args):
                return False
            right = answer.args[1]  # an identity such as 2 + 3 = 5 gives its right side
        else:
            return False
        return self.same(right, other) if equation is gold else self.same(other, right)

    def _holds(self, left: Node, right: Node) -> bool:
        """2 + 3 = 5, and 17 = 2 (mod 5)."""
        value, unit = _strip_unit(right)
        same = _congruent(left, value, unit) if is_modulus(unit) else None
        return self.arithmetic.equal(left, right, 0.0) if same is None else same

    def _both_equations(self, gold: Node, answer: Node) -> bool:
        if is_definition(gold) and is_definition(answer):
            left, right = gold.args[0], answer.args[0]
            if left == right:
                return self.same(gold.args[1], answer.args[1])
            if left.op == right.op == "call" and left.value == right.value:
                if len(left.args) != len(right.args):
                    return False
                renamed = _rename(answer.args[1], right.args, left.args)
                return self.same(gold.args[1], renamed)
            if left.op == right.op == "tuple":
                return self._reordered(gold, answer)
            if {left.op, right.op} == {"call", "sym"} and {left.value, right.value} == {"f", "y"}:
                return self.same(gold.args[1], answer.args[1])  # y = 2x, f(x) = 2x
            if not (symbols(gold.args[1]) or symbols(answer.args[1])):
                return False  # x = 5 is not y = 5
        if not all(side.scalar for side in (*gold.args, *answer.args)):
            return self._in_order(gold.args, answer.args)
        return self.arithmetic.proportional(_difference(gold), _difference(answer))

    def _reordered(self, gold: Node, answer: Node) -> bool:
        """(x, y) = (1, 2) is (y, x) = (2, 1)."""
        names, values = answer.args[0].args, answer.args[1].args
        wanted = gold.args[0].args
        if set(names) != set(wanted) or len(names) != len(values) or len(set(names)) < len(names):
            return False
        return self._in_order(gold.args[1].args, tuple(values[names.index(name)] for name in wanted))

    # scalars

    def _scalars(self, gold: Node, answer: Node) -> bool:
        (gold, gold_unit), (answer, answer_unit) = _strip_unit(gold), _strip_unit(answer)
        if units_conflict(gold_unit, answer_unit) or (
            not self.conventions.units_optional and bool(gold_unit) != bool(answer_unit)
        ):
            return False
        if is_modulus(gold_unit) and gold_unit == answer_unit:
            same = _congruent(gold, answer, gold_unit)
            return self.arithmetic.equal(gold, answer, 0.0) if same is None else same
        if is_dotted(gold) or is_dotted(answer):
            return gold.op == answer.op and gold.value == answer.value and self._in_order(gold.args, answer.args)
        if gold.op == answer.op == "series" and gold.value == answer.value and self._in_order(gold.args, answer.args):
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


def _rows(cases: Node) -> tuple[Node, ...]:
    """Each row of a definition by cases as a tuple."""
    width = cases.value[1]
    return tuple(Node("tuple", cases.args[at : at + width], "row") for at in range(0, len(cases.args), width))


def _same_residues(gold: Node, answer: Node) -> tuple[Node, Node]:
    """Where one side says 2 (mod 5) and the other 5 k + 2, both in the second form."""
    for side, other in ((gold, answer), (answer, gold)):
        moduli = [part for part in walk(side) if part.op == "unit" and is_modulus(part.value)]
        free = symbols(other) - symbols(side)
        if moduli and any(name.startswith(DUMMY) or name in INTEGER_LETTERS for name in free):
            return (residues(gold), answer) if side is gold else (gold, residues(answer))
    return gold, answer


def _only_integer(node: Node) -> Node | None:
    """The letter that is any integer, where there is exactly one."""
    own = {name for name in symbols(node) if name.startswith(DUMMY)}
    return Node("sym", value=own.pop()) if len(own) == 1 and f"{DUMMY}Z 0" in own else None


def _places(integer: Node) -> Iterator[Node]:
    """k + 1, k - 1, ... and -k, -k + 1, ..."""
    for first in (integer, Node("neg", (integer,))):
        for shift in range(-_MAX_SHIFT, _MAX_SHIFT + 1):
            if shift or first is not integer:
                yield Node("add", (first, Node("num", value=Fraction(shift))))


def _same_dummies(gold: Node, answer: Node) -> tuple[Node, Node]:
    """Where one side says which name is an integer and the other does not, the other's k, m or n is that name."""
    for known, other in ((gold, answer), (answer, gold)):
        own = [name for name in symbols(known) if name.startswith(DUMMY)]
        free = symbols(other) - symbols(known)
        if len(own) == 1 and len(free) == 1 and free <= INTEGER_LETTERS and own[0] not in symbols(other):
            renamed = _rename(other, (Node("sym", value=free.pop()),), (Node("sym", value=own[0]),))
            return (gold, renamed) if known is gold else (renamed, answer)
    return gold, answer


def _spellings(node: Node) -> tuple[Node, ...]:
    return (*_spellings(node.args[0]), node.args[1]) if node.op == "approx" else (node,)


def _difference(equation: Node) -> Node:
    return Node("add", (equation.args[0], Node("neg", (equation.args[1],))))


def _rename(node: Node, old: tuple[Node, ...], new: tuple[Node, ...]) -> Node:
    """The names `old` as `new`, all at once."""
    return replace(node, dict(zip(old, new, strict=True)).get)


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
