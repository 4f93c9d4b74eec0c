"""Compare the shapes of two answers (lists, tuples, intervals, equations …) and leave scalars to an arithmetic.

The same code runs in the caller, with exact.ExactArithmetic, and in a worker, with symbolic.SymbolicArithmetic.
"""

from fractions import Fraction

from lte_jax.host.verify.conventions import Conventions
from lte_jax.host.verify.syntax import Node, contains, is_inexact, replace, symbols
from lte_jax.host.verify.units import units_conflict

_FLIPPED = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "=": "=", "!=": "!="}
INFINITY = Node("const", value="inf")
MINUS_INFINITY = Node("neg", (INFINITY,))
RADIANS_PER_DEGREE = Node("div", (Node("const", value="pi"), Node("num", value=Fraction(180))))


def signs(node: Node) -> tuple[Node, ...]:
    """The values of an answer with plus-minus signs; one choice of sign for the whole answer."""
    if not contains(node, "pm"):
        return (node,)

    def choose(upper: bool):
        def swap(part: Node) -> Node | None:
            if part.op != "pm":
                return None
            return part.args[0] if (part.value == "pm") == upper else Node("neg", part.args)

        return swap

    return replace(node, choose(True)), replace(node, choose(False))


def is_name(node: Node) -> bool:
    """Something that an equation may define: x, f(x), (x, y) or a word."""
    if node.op == "tuple":
        return all(part.op == "sym" for part in node.args)
    return node.op in ("sym", "call", "text")


def oriented(node: Node) -> Node:
    """An equation with the name on the left; of a chain a = b = c the two ends."""
    if node.op != "rel" or set(node.value) != {"="}:
        return node
    left, right = node.args[0], node.args[-1]
    if is_name(right) and not is_name(left) and not symbols(left):
        left, right = right, left
    return Node("rel", (left, right), ("=",))


def is_equation(node: Node) -> bool:
    return node.op == "rel" and node.value == ("=",)


def is_definition(node: Node) -> bool:
    return is_equation(node) and is_name(node.args[0]) and not symbols(node.args[0]) & _own(node)


def _own(node: Node) -> set[str]:
    """Symbols of the right side, less the variable of a function on the left."""
    left, right = node.args
    return symbols(right) - ({part.value for part in left.args} if left.op == "call" else set())


def interval(node: Node) -> Node:
    """An inequality in one name with plain ends as an interval; anything else as it is."""
    if node.op == "in" and is_name(node.args[0]):
        return node.args[1]
    if node.op != "rel" or "=" in node.value:
        return node
    sides, relations = node.args, node.value
    if len(sides) == 2:
        if not is_name(sides[0]) and is_name(sides[1]):
            sides, relations = sides[::-1], (_FLIPPED[relations[0]],)
        if not is_name(sides[0]):
            return node
        return _half_line(relations[0], sides[1])
    if len(sides) == 3 and is_name(sides[1]):
        if relations[0] in (">", ">="):
            sides, relations = sides[::-1], (_FLIPPED[relations[1]], _FLIPPED[relations[0]])
        if all(relation in ("<", "<=") for relation in relations):
            brackets = ("[" if relations[0] == "<=" else "(") + ("]" if relations[1] == "<=" else ")")
            return Node("tuple", (sides[0], sides[2]), brackets)
    return node


def _half_line(relation: str, end: Node) -> Node:
    below, above = (MINUS_INFINITY, end), (end, INFINITY)
    if relation == "!=":
        return Node("union", (Node("tuple", below, "()"), Node("tuple", above, "()")))
    if relation in ("<", "<="):
        return Node("tuple", below, "(]" if relation == "<=" else "()")
    return Node("tuple", above, "[)" if relation == ">=" else "()")


def shape(node: Node) -> Node:
    """The answer with plus-minus written out, inequalities as intervals, equations oriented."""
    if node.op in ("list", "set"):
        parts = [value for part in node.args for value in signs(part)]
        parts = [shape(part) for part in parts]
        ranges = [part for part in parts if part.op == "tuple" or part.op == "union"]
        originals = [part for part in node.args if part.op == "rel" and "=" not in part.value]
        if node.op == "list" and len(ranges) == len(parts) == len(originals) > 1:
            return Node("union", tuple(parts))  # x < 1 or x > 2
        return Node(node.op, tuple(parts))
    values = signs(node)
    if len(values) > 1:
        return Node("list", tuple(shape(value) for value in values))
    if node.op == "rel" and len(node.args) == 2 and node.value == ("=",) and node.args[1].op == "list":
        return shape(node.args[1])
    return interval(oriented(node))


class Comparison:
    """Are two parsed answers the same under the conventions?"""

    def __init__(self, arithmetic, conventions: Conventions):
        self.arithmetic = arithmetic
        self.conventions = conventions

    def same(self, gold: Node, answer: Node) -> bool:
        """Raises Undecided or TooLarge where the arithmetic does."""
        return gold == answer or self._shaped(shape(gold), shape(answer))

    def _shaped(self, gold: Node, answer: Node) -> bool:
        if is_equation(gold) or is_equation(answer):
            return self._equations(gold, answer)
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
        if gold.op == "rel":
            return gold.value == answer.value and self._in_order(gold.args, answer.args)
        return self._in_order(gold.args, answer.args)  # ratio, in

    def _in_order(self, gold: tuple[Node, ...], answer: tuple[Node, ...]) -> bool:
        return len(gold) == len(answer) and all(map(self.same, gold, answer))

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
            brackets = gold.value or answer.value
            return brackets in (None, "()", "[]") and self._in_order(gold.args, answer.args)
        if ops == {"list", "matrix"}:
            return self._matrices(gold, answer)
        return ops <= {"list", "set"} and self._any_order(gold.args, answer.args)

    def _matrices(self, gold: Node, answer: Node) -> bool:
        matrix, other = (gold, answer) if gold.op == "matrix" else (answer, gold)
        if other.op == "matrix":
            return gold.value == answer.value and self._in_order(gold.args, answer.args)
        is_vector = 1 in matrix.value and other.op in ("tuple", "list") and other.value in (None, "()", "[]")
        return is_vector and self._in_order(gold.args, answer.args)

    # equations

    def _equations(self, gold: Node, answer: Node) -> bool:
        if is_equation(gold) and is_equation(answer):
            return self._both_equations(gold, answer)
        equation, other = (gold, answer) if is_equation(gold) else (answer, gold)
        if self.conventions.equation_gives_value and is_definition(equation):
            right = equation.args[1]
        elif equation is answer and all(side.scalar for side in answer.args):
            if is_name(answer.args[0]) or not self.arithmetic.equal(*answer.args, 0.0):
                return False
            right = answer.args[1]  # an identity such as 2 + 3 = 5 gives its right side
        else:
            return False
        return self.same(right, other) if equation is gold else self.same(other, right)

    def _both_equations(self, gold: Node, answer: Node) -> bool:
        if is_definition(gold) and is_definition(answer):
            left, right = gold.args[0], answer.args[0]
            if left == right:
                return self.same(gold.args[1], answer.args[1])
            if left.op == right.op == "call" and left.value == right.value:
                renamed = _rename(answer.args[1], right.args[0].value, left.args[0].value)
                return self.same(gold.args[1], renamed)
            if not (symbols(gold.args[1]) or symbols(answer.args[1])):
                return False  # x = 5 is not y = 5
        if not all(side.scalar for side in (*gold.args, *answer.args)):
            return self._in_order(gold.args, answer.args)
        return self.arithmetic.proportional(_difference(gold), _difference(answer))

    # scalars

    def _scalars(self, gold: Node, answer: Node) -> bool:
        (gold, gold_unit), (answer, answer_unit) = _strip_unit(gold), _strip_unit(answer)
        if units_conflict(gold_unit, answer_unit) or (
            not self.conventions.units_optional and bool(gold_unit) != bool(answer_unit)
        ):
            return False
        tolerance = self.conventions.relative_tolerance if is_inexact(gold) else 0.0
        if gold.op == "pct" or answer.op == "pct":
            return self._percentages(gold, answer, tolerance)
        if gold.op == "base" or answer.op == "base":
            return self._bases(gold, answer, tolerance)
        if gold.op == "deg" or answer.op == "deg":
            return self._degrees(gold, answer, tolerance)
        return self.arithmetic.equal(gold, answer, tolerance)

    def _percentages(self, gold: Node, answer: Node, tolerance: float) -> bool:
        inner_gold = gold.args[0] if gold.op == "pct" else gold
        inner_answer = answer.args[0] if answer.op == "pct" else answer
        if self.arithmetic.equal(inner_gold, inner_answer, tolerance):
            return True
        as_decimal = self.conventions.percent_is_decimal and gold.op == "pct" and answer.op != "pct"
        return as_decimal and self.arithmetic.equal(gold, answer, tolerance)

    def _bases(self, gold: Node, answer: Node, tolerance: float) -> bool:
        """The question states the base: 52 matches 52_8, but 42 does not."""
        if gold.op == "base" and answer.op == "num":
            return answer.value.denominator == 1 and str(answer.value) == gold.value[0].lstrip("0")
        return self.arithmetic.equal(gold, answer, tolerance)

    def _degrees(self, gold: Node, answer: Node, tolerance: float) -> bool:
        one_sided = gold.op != answer.op
        plain = [side.args[0] if side.op == "deg" else side for side in (gold, answer)]
        if one_sided and any(part.value == "pi" for side in plain for part in _leaves(side)):
            radians = [side if side.op != "deg" else _mul(side.args[0], RADIANS_PER_DEGREE) for side in (gold, answer)]
            return self.arithmetic.equal(*radians, tolerance)
        return (self.conventions.degrees_optional or not one_sided) and self.arithmetic.equal(*plain, tolerance)


def _leaves(node: Node) -> list[Node]:
    return [node] if not node.args else [leaf for part in node.args for leaf in _leaves(part)]


def _mul(left: Node, right: Node) -> Node:
    return Node("mul", (left, right))


def _difference(equation: Node) -> Node:
    return Node("add", (equation.args[0], Node("neg", (equation.args[1],))))


def _rename(node: Node, old: str, new: str) -> Node:
    return replace(node, lambda part: Node("sym", value=new) if part == Node("sym", value=old) else None)


def _strip_unit(node: Node) -> tuple[Node, str]:
    unit = ""
    while node.op == "unit":
        node, unit = node.args[0], node.value
    return node, unit
