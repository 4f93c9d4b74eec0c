r"""What the parser does at a LaTeX command or a known word: fractions, roots, functions, sets, matrices, accents.

`HANDLERS` is the whole table: each takes the parser, which stands just behind the command, and returns a node.
"""

from collections.abc import Callable
from fractions import Fraction
from functools import partial

from lte_jax.host.answers.grammar import Handler, Parser
from lte_jax.host.answers.names import symbol
from lte_jax.host.answers.products import determinant, norm, rows_of, scale
from lte_jax.host.answers.series import indexed
from lte_jax.host.answers.syntax import INFINITY, REALS, Node, Unreadable, scalar
from lte_jax.host.answers.tokens import FUNCTIONS, GREEK

_MATRICES = frozenset("pmatrix bmatrix matrix vmatrix Bmatrix smallmatrix array".split())
_OF_SEVERAL = frozenset("max min gcd lcm".split())
_ACCENTS = frozenset("hat bar tilde dot ddot overline overrightarrow widehat".split())
_NAMES = GREEK | frozenset(
    "hbar ell odot angle triangle partial nabla mho star prime max min gcd lcm dots ldots cdots Re Im".split()
)
_SAME_SETS = {
    **dict.fromkeys(("N", "Z_+", "Z_>0", "Z^>0", "Z_ge1", "N^+", "N_+", "N^*", "N_>0"), "Z^+"),
    **dict.fromkeys(("Z_ge0", "Z^ge0", "N^0", "N_ge0"), "N_0"),
}
_INVERSES = {name: f"a{name}" for name in ("sin", "cos", "tan", "cot", "sec", "csc", "sinh", "cosh", "tanh")}
_MINUS_ONE = Node("num", value=Fraction(-1))


def _fraction(parser: Parser) -> Node:
    return Node("div", (parser.argument(), parser.argument()))


def _binomial(parser: Parser) -> Node:
    return Node("fn", (parser.argument(), parser.argument()), "binom")


def _root(parser: Parser) -> Node:
    index = None
    if parser.stream.accept("["):
        index = scalar(parser.sum())
        parser.stream.expect("]")
    atom = parser.atom
    inner = scalar(parser.postfix(atom()) if parser.stream.next.kind == "num" else atom())
    if index is None:
        return Node("fn", (inner,), "sqrt")
    return Node("pow", (inner, Node("div", (Node("num", value=Fraction(1)), index))))


def _set(parser: Parser) -> Node:
    r"""`\{1, 2\}`, or what a condition says of a name: `\{x \mid x > 2\}` is `x > 2`."""
    stream = parser.stream
    if stream.accept("rbrace"):
        return Node("set")
    inside = stream.until("rbrace")
    n_bars = sum(token.text == "|" for token in inside)
    if any(token.text in ("mid", ":") for token in inside) or n_bars % 2:
        return _conditional(parser)
    inner = parser.list_of()
    stream.expect("rbrace")
    return Node("set", inner.args if inner.op == "list" else (inner,))


def _conditional(parser: Parser) -> Node:
    parser.bars += 1  # a bar ends the head
    head = parser.union()
    if parser.stream.accept("in"):
        domain = parser.sum()
        head = head if domain == REALS else Node("in", (head, domain))
    parser.bars -= 1
    parser.stream.expect("mid", "|", ":")
    condition = parser.list_of()
    parser.stream.expect("rbrace")
    return condition if head.op == "sym" else Node("where", (head, condition))


def _name(name: str, parser: Parser) -> Node:
    return symbol(parser.stream, name)


def _of_several(name: str, parser: Parser) -> Node:
    r"""`\max(a, b)`, `\max\{a, b\}`, `\gcd(12, 18)`; without a bracket only a name."""
    if not parser.stream.sees("(", "{", "lbrace"):
        return symbol(parser.stream, name)
    group = parser.atom()
    parts = group.args if group.op in ("tuple", "list", "set") else (group,)
    return Node("fn", tuple(sorted(map(scalar, parts), key=repr)), name)


def _series(kind: str, parser: Parser) -> Node:
    r"""`\sum_{k=1}^{n}` and the product behind it; what stands behind a further sign is not in it."""
    stream, name, first, last = parser.stream, "", None, None
    while mark := stream.accept("_", "^"):
        if mark.text == "^":
            last = scalar(parser.exponent())
            continue
        stream.expect("{")
        if stream.next.kind != "name":
            raise Unreadable("a letter was wanted below the sign")
        name = stream.take().text
        stream.expect("=")
        first = scalar(parser.sum())
        stream.expect("}")
    if first is None or last is None:
        raise Unreadable(f"\\{kind} without its first or last index")
    return indexed(kind, name, first, last, scalar(parser.product()))


def _fence(close: str, function: str) -> Callable[[Parser], Node]:
    def handler(parser: Parser) -> Node:
        inner = parser.sum()
        parser.stream.expect(close)
        return Node("fn", (scalar(inner),), function)

    return handler


def _determinant(parser: Parser) -> Node:
    """Of a matrix that is written out; `det A` is a product of names."""
    if parser.stream.sees("(", "begin"):
        inner = parser.power()
        if inner.op == "matrix":
            return determinant(rows_of(inner))
        return scale(Node("sym", value="det"), inner)
    return symbol(parser.stream, "det")


def _norm(parser: Parser) -> Node:
    parser.bars += 1
    inner = parser.sum()
    parser.bars -= 1
    parser.stream.expect("vert")
    return norm(inner, "||")


def _angle_brackets(parser: Parser) -> Node:
    inner = parser.list_of()
    parser.stream.expect("rangle")
    return Node("tuple", inner.args if inner.op == "list" else (inner,), "()")


def _number_set(parser: Parser) -> Node:
    name = parser.stream.raw_group()
    if name not in ("R", "Z", "N", "Q", "C"):
        raise Unreadable(f"{name!r} is no set of numbers")
    while mark := parser.stream.accept("^", "_"):
        name += mark.text + parser.stream.raw_group()
    return REALS if name == "R" else Node("text", value=f"the set {_SAME_SETS.get(name, name)}")


def _environment(parser: Parser) -> Node:
    kind = parser.stream.raw_group()
    if kind not in _MATRICES and kind != "cases":
        raise Unreadable(f"environment {kind!r} is not known")
    if kind == "array":
        parser.stream.raw_group()
    rows = _rows(parser, parser.item if kind == "cases" else lambda: scalar(parser.sum()))
    parser.stream.raw_group()
    if not rows or len({len(row) for row in rows}) > 1:
        raise Unreadable("a matrix with uneven rows")
    if kind == "cases" and len(rows[0]) == 1:
        return Node("list", tuple(row[0] for row in rows))
    if kind == "vmatrix":
        return determinant(rows)
    parts = tuple(part for row in rows for part in row)
    return Node("cases" if kind == "cases" else "matrix", parts, (len(rows), len(rows[0])))


def _rows(parser: Parser, entry: Callable[[], Node]) -> list[list[Node]]:
    rows: list[list[Node]] = [[]]
    while not parser.stream.accept("end"):
        if parser.stream.accept("newline"):
            rows.append([])
        elif parser.stream.next.kind == "text" and parser.stream.next.text.strip(" ,") in ("if", "when", "for"):
            parser.stream.take()
        elif not parser.stream.accept("&", ","):
            rows[-1].append(entry())
    return [row for row in rows if row]


def _function(name: str, parser: Parser) -> Node:
    power = base = None
    while parser.stream.sees("^", "_"):
        if parser.stream.take().text == "^":
            power = scalar(parser.exponent())
        else:
            base = parser.argument()
    if name == "log" and base is None and power is None:
        base = _python_base(parser)
    if parser.stream.sees("(", "{", "["):
        group = parser.atom()
        arguments = group.args if group.op == "tuple" else (group,)
    else:
        arguments = (_bare_argument(parser),)
    if not all(part.scalar for part in arguments) or len(arguments) != (2 if name == "binom" else 1):
        raise Unreadable(f"{name} has wrong arguments")
    if name == "log" and base is not None:
        node = Node("div", (Node("fn", arguments, "ln"), Node("fn", (base,), "ln")))
    elif power == _MINUS_ONE and name in _INVERSES:
        return Node("fn", arguments, _INVERSES[name])
    else:
        node = Node("fn", arguments, name)
    return node if power is None else Node("pow", (node, power))


def _python_base(parser: Parser) -> Node | None:
    """The 2 of `log2(8)`."""
    number, bracket = (parser.stream.ahead(2) + [parser.stream.next])[:2]
    if number.kind != "num" or number.text not in ("2", "10") or number.spaced or bracket.text != "(":
        return None
    return Node("num", value=Fraction(parser.stream.take().text))


def _bare_argument(parser: Parser) -> Node:
    r"""The argument of `\sin 2 \pi t`: factors up to a sign, a bracket or another function."""
    if parser.stream.accept("-"):
        inner = scalar(parser.power())
        return Node("neg", (inner,))
    node = scalar(parser.power())
    while parser.starts_factor() and not parser.stream.sees("(", "[", "|", *FUNCTIONS):
        node = scalar(parser.adjacent(node))
    return node


def _accented(name: str, parser: Parser) -> Node:
    return symbol(parser.stream, f"{name} {parser.stream.raw_group()}")


HANDLERS: dict[str, Handler] = {
    **{name: partial(_name, name) for name in _NAMES},
    **{name: partial(_accented, name) for name in _ACCENTS},
    **{name: partial(_function, function) for name, function in FUNCTIONS.items()},
    **{name: partial(_of_several, name) for name in _OF_SEVERAL},
    "frac": _fraction,
    "sqrt": _root,
    "binom": _binomial,
    "begin": _environment,
    "lbrace": _set,
    "lfloor": _fence("rfloor", "floor"),
    "lceil": _fence("rceil", "ceil"),
    "lvert": _fence("rvert", "abs"),
    "sum": partial(_series, "sum"),
    "prod": partial(_series, "prod"),
    "det": _determinant,
    "vert": _norm,
    "langle": _angle_brackets,
    "mathbb": _number_set,
    "emptyset": lambda parser: Node("set"),
    "pi": lambda parser: Node("const", value="pi"),
    "infty": lambda parser: INFINITY,
    "imath": lambda parser: Node("const", value="i"),
}
