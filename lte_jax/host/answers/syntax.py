"""What the parser makes of an answer: a plain tree, compared in the caller where exact arithmetic will do.

Every `op` that occurs is listed here, so that the builders in exact.py and symbolic.py are closed tables.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from lte_jax.host.answers.limits import MAX_ENTRY_PARTS

# Numbers: num sym const add mul div neg pow call fn deg pct unit base pm series
DUMMY = "integer "  # begins the name of a letter that stands for any member of a set: `integer Z 0`
INDEX = "index "  # begins the name of what a sum or product runs over
_NO_NUMBERS = frozenset(
    "tuple set list matrix union minus rel in ratio text approx cases where inter given compound".split()
)


class Unreadable(ValueError):
    """The text is not an answer of a form that we know."""


class TooLarge(ValueError):
    """A cap on length, depth, nodes or digits was met. Does not depend on load."""


class Undecided(Exception):
    """The cheap arithmetic cannot tell: a worker with sympy must."""


@dataclass(frozen=True, slots=True)
class Node:
    """One node. `value`: Fraction of num; name of sym, const, fn, call, unit; brackets of tuple; operators of
    rel; (kind, index) of series."""

    op: str
    args: tuple["Node", ...] = ()
    value: Any = None
    inexact: bool = False  # num only: written with a decimal point or an exponent

    @property
    def scalar(self) -> bool:
        return self.op not in _NO_NUMBERS


def scalar(node: Node) -> Node:
    """The node itself. Raises Unreadable where it is no number."""
    if not node.scalar:
        raise Unreadable("a number was wanted")
    return node


def walk(node: Node) -> Iterator[Node]:
    """All nodes of a tree."""
    stack = [node]
    while stack:
        top = stack.pop()
        yield top
        stack.extend(top.args)


def bounded(node: Node) -> Node:
    """The node itself. Raises TooLarge past MAX_ENTRY_PARTS, which a few products of matrices are."""
    if sum(1 for _ in islice(walk(node), MAX_ENTRY_PARTS + 1)) > MAX_ENTRY_PARTS:
        raise TooLarge(f"more than {MAX_ENTRY_PARTS} parts")
    return node


def height(root: Node) -> int:
    """Of the tree, without recursion."""
    level, rows = [root], 0
    while level:
        level = [part for node in level for part in node.args]
        rows += 1
    return rows


def contains(node: Node, *ops: str) -> bool:
    return any(part.op in ops for part in walk(node))


def is_inexact(node: Node) -> bool:
    return any(part.inexact for part in walk(node))


def symbols(node: Node) -> set[str]:
    """Names of the variables; a call such as f(x) counts as the product of both letters, an index not at all."""
    return {part.value for part in walk(node) if part.op in ("sym", "call") and not part.value.startswith(INDEX)}


def replace(node: Node, swap) -> Node:
    """The tree with `swap(node)` in place of each node for which it is not None, bottom up."""
    rebuilt = Node(node.op, tuple(replace(part, swap) for part in node.args), node.value, node.inexact)
    swapped = swap(rebuilt)
    return rebuilt if swapped is None else swapped


INFINITY = Node("const", value="inf")
MINUS_INFINITY = Node("neg", (INFINITY,))
REALS = Node("tuple", (MINUS_INFINITY, INFINITY), "()")
