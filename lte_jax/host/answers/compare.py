"""Are two parsed answers the same? Decides forms (lists, intervals, equations …); leaves scalars to an arithmetic.

The same code runs in the caller, with exact.ExactArithmetic, and in a worker, with symbolic.SymbolicArithmetic.
"""

from lte_jax.config import ConventionsConfig
from lte_jax.host.answers.equations import bound_name, is_definition, is_equation, is_inequality, is_name, names
from lte_jax.host.answers.exact import last_place, rational
from lte_jax.host.answers.families import counted_anew, only_integer, rename, same_integers, same_residues
from lte_jax.host.answers.limits import MAX_COMPARISONS
from lte_jax.host.answers.normal_form import normal_form
from lte_jax.host.answers.scalars import Scalars
from lte_jax.host.answers.syntax import Node, TooLarge, replace, symbols

_OF_PARTS = frozenset({"list", "set", "union", "rel", "given", "num"})  # none, or looked at one by one


class Comparison:
    """Are two parsed answers the same under the conventions?"""

    def __init__(self, arithmetic, conventions: ConventionsConfig):
        self.arithmetic = arithmetic
        self.conventions = conventions
        self._scalars = Scalars(arithmetic, conventions)
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
        forms = same_integers(*same_residues(normal_form(gold), normal_form(answer)))
        if (is_inequality(gold) or is_inequality(answer)) and "list" in (forms[0].op, forms[1].op):
            return False  # 1 < x < 2 is not 1, 2
        return self._by_form(*forms) or self._shifted(*forms)

    def _shifted(self, gold: Node, answer: Node) -> bool:
        """2 k pi for any integer k is 2 (k + 1) pi, and k pi is -k pi: the same set with its members counted anew.

        Only where the letter is bound: both ends of an interval move together.
        """
        if self._is_within or gold.op in _OF_PARTS:
            return False
        integer = only_integer(gold)
        if integer is None or integer != only_integer(answer):
            return False
        self._is_within = True
        try:
            return any(self._by_form(gold, replace(answer, {integer: place}.get)) for place in counted_anew(integer))
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
            return self._scalars.same(gold, answer)
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
            if is_name(answer.args[0]) or not self._scalars.holds(*answer.args):
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
                if len(left.args) != len(right.args):
                    return False
                renamed = rename(answer.args[1], right.args, left.args)
                return self.same(gold.args[1], renamed)
            if left.op == right.op and left.op in ("tuple", "ratio"):
                return self._reordered(gold, answer)
            if {left.op, right.op} == {"call", "sym"} and {left.value, right.value} == {"f", "y"}:
                return self.same(gold.args[1], answer.args[1])  # y = 2x, f(x) = 2x
            if not (symbols(gold.args[1]) or symbols(answer.args[1])):
                return False  # x = 5 is not y = 5
        if not all(side.scalar for side in (*gold.args, *answer.args)):
            return self._in_order(gold.args, answer.args)
        return self.arithmetic.proportional(_difference(gold), _difference(answer))

    def _reordered(self, gold: Node, answer: Node) -> bool:
        """(x, y) = (1, 2) is (y, x) = (2, 1), and A : B = 1 : 2 is B : A = 2 : 1."""
        if gold.args[1].op != gold.args[0].op or answer.args[1].op != answer.args[0].op:
            return False
        names, values = answer.args[0].args, answer.args[1].args
        wanted = gold.args[0].args
        if set(names) != set(wanted) or len(names) != len(values) or len(set(names)) < len(names):
            return False
        return self._in_order(gold.args[1].args, tuple(values[names.index(name)] for name in wanted))


def _rows(cases: Node) -> tuple[Node, ...]:
    """Each row of a definition by cases as a tuple."""
    width = cases.value[1]
    return tuple(Node("tuple", cases.args[at : at + width], "row") for at in range(0, len(cases.args), width))


def _spellings(node: Node) -> tuple[Node, ...]:
    return (*_spellings(node.args[0]), node.args[1]) if node.op == "approx" else (node,)


def _difference(equation: Node) -> Node:
    return Node("add", (equation.args[0], Node("neg", (equation.args[1],))))
