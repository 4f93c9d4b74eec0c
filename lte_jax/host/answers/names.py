r"""What stands around a name or a number: the subscript and arguments of a name, the unit of a number."""

from lte_jax.host.answers.stream import Stream
from lte_jax.host.answers.syntax import Node, Unreadable
from lte_jax.host.answers.tokens import Token
from lte_jax.host.answers.units import changes_the_number

_POINTS_AND_SETS = frozenset("ABCDMOST")  # A(1, 2) is a point, no value of a function


def symbol(stream: Stream, name: str) -> Node:
    r"""A variable with its primes and subscript, or a call such as `f(x)`; e and i are constants."""
    while stream.accept("'"):
        name += "'"
    if stream.accept("_"):
        name += "_" + stream.raw_group()
    if name in ("e", "i"):
        return Node("const", value=name)
    if name not in _POINTS_AND_SETS and (arguments := _arguments(stream)):
        return Node("call", arguments, name)
    ahead = stream.ahead(3)
    if len(ahead) == 3 and ahead[0].text == "(" and ahead[1].kind == "name" and ahead[2].text == ")":
        if not ahead[0].spaced and ahead[1].text not in "ei":
            stream.skip(3)
            return Node("call", (Node("sym", value=ahead[1].text),), name)
    return Node("sym", value=name)


def _arguments(stream: Stream) -> tuple[Node, ...]:
    """The names of `f(x, y)`, taken; of anything else nothing."""
    ahead = stream.ahead(9)
    close = next((at for at, token in enumerate(ahead) if token.text == ")"), 0)
    names, commas = ahead[1:close:2], ahead[2:close:2]
    if len(names) < 2 or ahead[0].text != "(" or ahead[0].spaced or len(commas) != len(names) - 1:
        return ()
    if any(token.kind != "name" for token in names) or any(token.text != "," for token in commas):
        return ()
    stream.skip(close + 1)
    return tuple(Node("sym", value=token.text) for token in names)


def with_unit(stream: Stream, node: Node) -> Node:
    """The node with the unit that stands behind it: texts, powers and quotients of them.

    Raises Unreadable for words that are none.
    """
    words = []
    while True:
        if stream.next.kind == "text" and not joins(stream.next):
            words.append(stream.take().text.strip(" ~,.()"))
            if changes_the_number(words[-1]) or any(word.startswith("mod ") for word in words[:-1]):
                raise Unreadable(f"{words[-1]!r} is no unit")
        elif stream.accept("^"):
            words.append("^" + stream.raw_group())
        elif words and (mark := stream.accept("/", "cdot", "times")):
            words.append("/" if mark.text == "/" else " ")
        else:
            name = "".join(words).strip()
            return Node("unit", (node,), name) if name else node


def joins(token: Token) -> bool:
    """Is it a text that stands between two items: `\\text{ or }`?"""
    return token.kind == "text" and token.text.strip(" ,;") in ("or", "and", "")
