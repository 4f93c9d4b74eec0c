r"""Sums and products with an index, `\sum_{k=1}^{n} k^2`, and with dots, `1 + 2 + \cdots + 10`, `1, 3, \ldots, 99`.

What is a plain number gets its value here, once for each text and under caps; the rest stays, in one form.
"""

import re
from dataclasses import dataclass
from fractions import Fraction

from lte_jax.host.answers.exact import bits, rational
from lte_jax.host.answers.limits import MAX_BITS, MAX_ITEMS, MAX_PARTS
from lte_jax.host.answers.syntax import INDEX, Node, TooLarge, contains, is_inexact, replace, symbols, walk

DOTS = Node("sym", value="ldots")
_DOTTED = frozenset({"add", "mul", "list", "set", "tuple"})


def indexed(kind: str, name: str, first: Node, last: Node, body: Node) -> Node:
    """A sum (`kind` is "sum") or product ("prod") over `name` from first to last. Its index gets a name of its own, so
    that the letter does not matter."""
    n_inside = sum(part.op == "series" for part in walk(body))
    index = Node("sym", value=f"{INDEX}{n_inside}")
    return Node("series", (first, last, _with_index(body, name, index)), (kind, index.value))


def _with_index(body: Node, name: str, index: Node) -> Node:
    letter = re.compile(rf"(?<![A-Za-z]){re.escape(name)}(?![A-Za-z])")

    def swap(part: Node) -> Node | None:
        if part.op not in ("sym", "const"):
            return None
        if part.value == name:  # i and e were read as constants
            return index
        base, joint, below = part.value.partition("_")
        if joint and letter.search(below):
            return Node("sym", value=f"{base}_{letter.sub(index.value, below)}")
        return None

    return replace(body, swap)


def is_dotted(node: Node) -> bool:
    """Something is left out in it: it only equals what is written alike."""
    return any(part == DOTS for part in walk(node))


@dataclass
class Allowance:
    """How many parts of terms may still be written out."""

    left: int = MAX_PARTS

    def take(self, n: int) -> None:
        self.left -= n
        if self.left < 0:
            raise TooLarge(f"a sum or product of terms with more than {MAX_PARTS} parts")


def with_values(node: Node) -> Node:
    """The tree with the value in place of each sum or product of plain numbers. Raises TooLarge past the caps."""
    allowance = Allowance()

    def swap(part: Node) -> Node | None:
        if part.op == "series" and not is_inexact(part):
            value = _value(part, allowance)
            return None if value is None else Node("num", value=value)
        return _without_dots(part) if part.op in _DOTTED and DOTS in part.args else None

    return replace(node, swap) if contains(node, "series") or is_dotted(node) else node


def written_out(series: Node, allowance: Allowance) -> list[Node] | None:
    """The terms; None where the ends are no integers. Raises TooLarge where that takes too many."""
    first, last, body = series.args
    low, high = rational(first), rational(last)
    if low is None or high is None or low.denominator != 1 or high.denominator != 1:
        return None
    index = Node("sym", value=series.value[1])
    n_terms = max(0, int(high - low) + 1)
    allowance.take(n_terms * sum(1 for _ in walk(body)))
    return [_at(body, index, int(low) + step) for step in range(n_terms)]


def _at(body: Node, index: Node, place: int) -> Node:
    def swap(part: Node) -> Node | None:
        if part == index:
            return Node("num", value=Fraction(place))
        if part.op == "sym" and index.value in part.value:
            return Node("sym", value=part.value.replace(index.value, str(place)))
        return None

    return replace(body, swap)


def _value(series: Node, allowance: Allowance) -> Fraction | None:
    if symbols(series.args[2]) or contains(series.args[2], "const"):
        return None
    terms = written_out(series, allowance)
    if terms is None:
        return None
    values = []
    for term in terms:
        inner = replace(term, lambda part: _number(part, allowance)) if contains(term, "series") else term
        value = rational(inner)
        if value is None:
            return None
        values.append(value)
    return _total(series.value[0], values)


def _number(part: Node, allowance: Allowance) -> Node | None:
    value = _value(part, allowance) if part.op == "series" else None
    return None if value is None else Node("num", value=value)


def _total(kind: str, values: list[Fraction]) -> Fraction:
    total = Fraction(kind == "prod")
    for value in values:
        total = total * value if kind == "prod" else total + value
        if bits(total) > MAX_BITS:
            raise TooLarge(f"a number of more than {MAX_BITS} bits")
    return total


# dots


def _without_dots(node: Node) -> Node:
    """Of numbers in steps the whole list, the sum or the product; of letters the same with no more than two before the
    dots: 2, 4, 6, ..., 2n is 2, 4, ..., 2n."""
    at = node.args.index(DOTS)
    before, after = node.args[:at], node.args[at + 1 :]
    values = [rational(part) for part in before]
    if len(before) < 2 or None in values or any(map(is_inexact, before)) or DOTS in after:
        return node
    step = values[1] - values[0]
    in_steps = step != 0 and all(b - a == step for a, b in zip(values, values[1:], strict=False))
    last = rational(after[0]) if len(after) == 1 and not is_inexact(after[0]) else None
    if last is None:
        kept = before[: 3 if not after else 2] if in_steps else before
        return Node(node.op, (*kept, DOTS, *after), node.value)
    terms = _steps(values, step, last) if in_steps else _multiples(values, last)
    if terms is None or (len(terms) > MAX_ITEMS and node.op not in ("add", "mul")):
        return node
    if node.op in ("add", "mul"):
        return Node("num", value=_total("sum" if node.op == "add" else "prod", terms))
    return Node(node.op, tuple(Node("num", value=term) for term in terms), node.value)


def _steps(values: list[Fraction], step: Fraction, last: Fraction) -> list[Fraction] | None:
    """All of values[0], values[0] + step, ... up to last; None where last is not one of them or two before the dots go
    as well on as multiples: 1, 3, ..., 27."""
    n_steps = (last - values[0]) / step
    if n_steps.denominator != 1 or n_steps < len(values):
        return None
    if len(values) == 2 and step != 1 and values[0] and _multiples([*values, values[1] ** 2 / values[0]], last):
        return None
    if n_steps > MAX_PARTS:
        raise TooLarge(f"more than {MAX_PARTS} terms")
    return [values[0] + step * place for place in range(int(n_steps) + 1)]


def _multiples(values: list[Fraction], last: Fraction) -> list[Fraction] | None:
    """The same for 1, 2, 4, ..., 64."""
    if len(values) < 3 or 0 in values:
        return None
    ratio = values[1] / values[0]
    if abs(ratio) == 1 or any(b / a != ratio for a, b in zip(values, values[1:], strict=False)):
        return None
    terms = list(values)
    grows = abs(ratio) > 1
    while terms[-1] != last:
        terms.append(terms[-1] * ratio)
        if bits(terms[-1]) > MAX_BITS or (abs(terms[-1]) > abs(last) if grows else abs(terms[-1]) < abs(last)):
            return None
    return terms
