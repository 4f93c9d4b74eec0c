"""Answers with a letter that stands for any integer, `2 k pi, k in Z`, and what holds modulo a number, `2 (mod 5)`."""

from collections.abc import Iterator
from fractions import Fraction

from lte_jax.host.answers.equations import is_equation, is_inequality
from lte_jax.host.answers.syntax import DUMMY, REALS, Node, replace, symbols, walk
from lte_jax.host.answers.units import is_modulus, modulus_of

INTEGER_LETTERS = frozenset("kmnlprt")  # which an answer need not say of them
_MAX_SHIFT = 6  # of the letter in 2 k pi and 2 (k + 1) pi


def family(node: Node) -> tuple[list[Node], list[Node]] | None:
    """Of an answer with what is said of its letters, `2 k pi, k in Z`, `1/x, x != 0`: its parts and its conditions.

    A letter that is any integer becomes a dummy with a name of its own, and so does one that would be an integer if
    nothing were said of it; only other conditions stay. None where nothing is said, or of an inequality.
    """
    main = [part for part in node.args if not is_domain(part)]
    conditions = [part for part in node.args if is_domain(part)]
    while len(main) > 1 and _is_condition(main[-1], main[0]):
        conditions.insert(0, main.pop())
    if not main or all(part.op == "sym" for part in conditions) or any(map(is_inequality, main)):
        return None
    kept, dummies = [], {}
    for part in conditions:
        if is_domain(part):
            name = "R" if part.args[1] == REALS else part.args[1].value.removeprefix("the set ")
            if name.startswith(("Z", "N")) or (name == "R" and part.args[0].value in INTEGER_LETTERS):
                dummies[part.args[0]] = Node("sym", value=f"{DUMMY}{name} {len(dummies)}")
        elif part.op != "sym":
            kept.append(part)
    main = [replace(part, dummies.get) for part in main]
    unclear = kept or not dummies
    return None if unclear and (len(main) > 1 or node.value == "or" and not kept) else (main, kept)


def _is_condition(node: Node, main: Node) -> bool:
    if node.op == "sym":
        return node.value in symbols(main)
    about = node.args[0] if node.op in ("in", "rel") else None
    if main.op == "rel" and main.args[0] == about:
        return False  # x = 1, x > 2
    if about is None or not (node.op == "in" or is_inequality(node)):
        return False
    return about.op == "sym" and (is_domain(node) or about.value in symbols(main))


def is_domain(node: Node) -> bool:
    """`k in Z`: says what a parameter is, not what the answer is."""
    return node.op == "in" and node.args[0].op == "sym" and (node.args[1].op == "text" or node.args[1] == REALS)


def share_modulus(parts: list[Node]) -> list[Node]:
    """n = 1, 3 (mod 4): the modulus stands behind the last one and is said of all."""
    last = parts[-1] if parts else Node("set")
    if last.op != "unit" or not is_modulus(last.value):
        return parts
    return [_modulo(part, last.value) for part in parts]


def _modulo(node: Node, modulus: str) -> Node:
    if is_equation(node):
        return Node("rel", (node.args[0], _modulo(node.args[1], modulus)), node.value)
    return Node("unit", (node,), modulus) if node.scalar and node.op != "unit" else node


def residues(node: Node) -> Node:
    """2 (mod 5) as 2 + 5 k for any integer k."""
    integer = Node("sym", value=f"{DUMMY}Z 0")

    def swap(part: Node) -> Node | None:
        if part.op != "unit" or not is_modulus(part.value):
            return None
        step = Node("num", value=Fraction(modulus_of(part.value)))
        return Node("add", (*part.args, Node("mul", (step, integer))))

    return replace(node, swap)


def same_residues(gold: Node, answer: Node) -> tuple[Node, Node]:
    """Where one side says 2 (mod 5) and the other 5 k + 2, both in the second form."""
    for side, other in ((gold, answer), (answer, gold)):
        if not any(part.op == "unit" and is_modulus(part.value) for part in walk(side)):
            continue
        free = symbols(other) - symbols(side)
        if any(name.startswith(DUMMY) or name in INTEGER_LETTERS for name in free):
            return (residues(gold), answer) if side is gold else (gold, residues(answer))
    return gold, answer


def only_integer(node: Node) -> Node | None:
    """The letter that is any integer, where there is exactly one."""
    own = {name for name in symbols(node) if name.startswith(DUMMY)}
    return Node("sym", value=own.pop()) if len(own) == 1 and f"{DUMMY}Z 0" in own else None


def counted_anew(integer: Node) -> Iterator[Node]:
    """k + 1, k - 1, ... and -k, -k + 1, ..."""
    for first in (integer, Node("neg", (integer,))):
        for shift in range(-_MAX_SHIFT, _MAX_SHIFT + 1):
            if shift or first is not integer:
                yield Node("add", (first, Node("num", value=Fraction(shift))))


def same_integers(gold: Node, answer: Node) -> tuple[Node, Node]:
    """Where one side says which name is an integer and the other does not, the other's k, m or n is that name."""
    for known, other in ((gold, answer), (answer, gold)):
        own = [name for name in symbols(known) if name.startswith(DUMMY)]
        free = symbols(other) - symbols(known)
        if len(own) == 1 and len(free) == 1 and free <= INTEGER_LETTERS and own[0] not in symbols(other):
            renamed = rename(other, (Node("sym", value=free.pop()),), (Node("sym", value=own[0]),))
            return (gold, renamed) if known is gold else (renamed, answer)
    return gold, answer


def rename(node: Node, old: tuple[Node, ...], new: tuple[Node, ...]) -> Node:
    """The names `old` as `new`, all at once."""
    return replace(node, dict(zip(old, new, strict=True)).get)
