r"""A recursive-descent parser for short mathematical answers, in simple LaTeX or plain text.

    answer  := item ((',' | ';' | 'or' | 'and') item)*        item    := union (relation union)*
    union   := sum (('cup' | 'setminus') sum)*                sum     := [sign] product (sign product)*
    product := power (('*' | '/' | nothing) power)*           power   := postfix ['^' argument]
    postfix := atom ('!' | '%' | degree | base)*              atom    := number | name | bracket | command

What a LaTeX command or a known word leads to stands in the table that a parser is given: commands.py, which imports
this module and not the other way round; parse.py puts the two together. Nothing is evaluated: the result is a tree of
`syntax.Node`. Depth, tokens and digits are capped (TooLarge).
"""

from collections.abc import Callable, Mapping

from lte_jax.host.answers.limits import MAX_DEPTH, MAX_ITEMS
from lte_jax.host.answers.names import joins, symbol, with_unit
from lte_jax.host.answers.numerals import in_base, number_value, repeating_value
from lte_jax.host.answers.products import is_proper, matrix_power, mixed, negate, norm, quotient, scale, total
from lte_jax.host.answers.stream import Stream
from lte_jax.host.answers.syntax import REALS, Node, TooLarge, Unreadable, scalar
from lte_jax.host.answers.tokens import Token
from lte_jax.host.answers.words import meaning

_RELATIONS = {"=": "=", "<": "<", ">": ">", "le": "<=", "ge": ">=", "ne": "!=", "lt": "<", "gt": ">", "equiv": "="}
_OR = frozenset({"or", "vee", "lor"})
_SEPARATORS = (",", ";", "or", "and", "vee", "lor", "wedge", "land")


Handler = Callable[["Parser"], Node]  # called when the parser stands just behind its command


class Parser:
    """One pass over the tokens of one answer. `handlers`: by the name of a command what it leads to."""

    def __init__(self, tokens: list[Token], handlers: Mapping[str, Handler]):
        self.stream = Stream(tokens)
        self._handlers = handlers
        self.depth = 0
        self.bars = 0  # open |absolute values|, or a set whose condition a bar begins

    def whole(self) -> Node:
        node = self.list_of()
        if self.stream.next.kind != "end":
            raise Unreadable(f"stopped at {self.stream.next.text!r}")
        return node

    # lists, relations, sets

    def list_of(self) -> Node:
        items, joints = [self.item()], set()
        groups = [items[:]]  # by semicolons and "or": p = 1, q = 2; p = 3, q = 4
        while joint := self._separator():
            joints |= joint
            items.append(self.item())
            groups += [[]] if joint & _OR or ";" in joint else []
            groups[-1].append(items[-1])
            if len(items) > MAX_ITEMS:
                raise TooLarge(f"more than {MAX_ITEMS} items")
        if len(items) == 1:
            return items[0]
        if len(groups := [group for group in groups if group]) > 1 and any(map(_is_system, groups)):
            items = [Node("list", tuple(group)) if len(group) > 1 else group[0] for group in groups]
        return Node("list", tuple(items), "or" if joints & _OR else None)

    def _separator(self) -> set[str]:
        """The signs and words that stand between two items."""
        found = set()
        while joins(self.stream.next) or self.stream.sees(*_SEPARATORS):
            token = self.stream.take()
            found.add(token.text if token.kind != "text" else token.text.strip(" ,;") or ",")
        return found if self.stream.next.kind != "end" else set()

    def item(self) -> Node:
        """`a = b < c`, `x in S`, `3:2`; of `a = b approx c` both the exact and the rounded value."""
        self.stream.accept("approx")
        if self.stream.accept("given"):
            domain = self.atom() if self.stream.sees("mathbb") else REALS
            node = self._relation()
            return Node("in", (node, domain)) if node.op == "sym" else node
        node = self._relation()
        while self.stream.accept("approx"):
            node = Node("approx", (node, self._relation()))
        return node

    def _relation(self) -> Node:
        sides, relations = [self.union()], []
        while self.stream.sees(*_RELATIONS):
            relations.append(_RELATIONS[self.stream.take().text])
            sides.append(self.union())
        if self.stream.accept("in"):
            sides[-1] = Node("in", (sides[-1], self.union()))
        if self.stream.sees(":") and not relations:
            ratio = self._ratio(sides[0])
            named = self.stream.accept("=")
            return Node("rel", (ratio, self._ratio(self.sum())), ("=",)) if named else ratio
        return Node("rel", tuple(sides), tuple(relations)) if relations else sides[0]

    def _ratio(self, first: Node) -> Node:
        parts = [first]
        while self.stream.accept(":"):
            parts.append(self.sum())
        return Node("ratio", tuple(parts))

    def union(self) -> Node:
        parts = [self._difference()]
        while self.stream.accept("cup"):
            parts.append(self._difference())
        return Node("union", tuple(parts)) if len(parts) > 1 else parts[0]

    def _intersection(self) -> Node:
        parts = [self.sum()]
        while self.stream.accept("cap"):
            parts.append(self.sum())
        return Node("inter", tuple(parts)) if len(parts) > 1 else parts[0]

    def _difference(self) -> Node:
        node = self._intersection()
        return Node("minus", (node, self.sum())) if self.stream.accept("setminus") else node

    # sums and products

    def sum(self) -> Node:
        terms = [self._signed(self.stream.accept("+", "-", "pm", "mp"))]
        while sign := self.stream.accept("+", "-", "pm", "mp"):
            terms.append(self._signed(sign))
        node = total(terms)
        if self.stream.accept("modulo"):
            if len(terms) > 1:
                raise Unreadable("a remainder of a sum without brackets")
            return Node("fn", (scalar(node), scalar(self.product())), "mod")
        if mark := self.stream.accept("over", "choose"):
            parts = scalar(node), scalar(self.sum())
            return Node("div", parts) if mark.text == "over" else Node("fn", parts, "binom")
        return node

    def _signed(self, sign: Token | None) -> Node:
        minus = False
        while sign and sign.text in "+-" and self.stream.sees("+", "-"):  # + -5
            minus ^= sign.text == "-"
            sign = self.stream.take()
        term = self.product()
        if sign is not None and sign.text in ("pm", "mp"):
            term = Node("pm", (term,), sign.text)
        elif sign is not None and sign.text == "-":
            minus = not minus
        return negate(term) if minus else term

    def product(self) -> Node:
        node = self.power()
        while True:
            if self.stream.next.kind == "text" and not joins(self.stream.next):
                return self._measure(with_unit(self.stream, node))
            if self.stream.accept("*", "cdot", "times"):
                node = scale(node, self._factor())
            elif self.stream.accept("/", "div"):
                node = quotient(node, self._factor())
            elif self.starts_factor():
                node = self.adjacent(node)
            else:
                return node

    def _factor(self) -> Node:
        if sign := self.stream.accept("+", "-"):
            factor = self.power()
            return negate(factor) if sign.text == "-" else factor
        return self.power()

    def adjacent(self, node: Node) -> Node:
        """A product without a sign, a mixed number (`1 1/2`, `1\\frac{1}{2}`) or a point with its name, `A(1, 2)`."""
        token = self.stream.next
        whole = node.op == "num" and node.value.denominator == 1 and not node.inexact
        if token.kind == "num" and self.stream.previous.kind == "num":
            if node.op == "pow" or (node.op == "mul" and node.args[-1].op == "pow"):
                return scale(node, self.power())  # 2^6 3^5
            if not whole:
                raise Unreadable("two numbers side by side")
            top = self.power()
            self.stream.expect("/")
            return mixed(node, Node("div", (top, self.power())))
        factor = self.power()
        if factor.op == "tuple" and node.op == "sym" and node.value[0].isupper():
            return factor
        if whole and token.text == "frac" and is_proper(factor):
            return mixed(node, factor)
        return scale(node, factor)

    def _measure(self, first: Node) -> Node:
        """A number with its unit, and the smaller ones that follow: 2 hours 30 minutes."""
        if first.op != "unit" or self.stream.next.kind != "num":
            return first
        rest = self.product()
        parts = rest.args if rest.op == "compound" else (rest,)
        if any(part.op != "unit" for part in parts):
            raise Unreadable("a number behind a unit")
        return Node("compound", (first, *parts))

    # powers and atoms

    def power(self) -> Node:
        node = self.postfix(self.atom())
        while self.stream.accept("^"):
            if not node.scalar:
                node = matrix_power(node, self.stream.raw_group())
                continue
            node = self.postfix(Node("pow", (scalar(node), scalar(self.exponent()))))
        return node

    def exponent(self) -> Node:
        if sign := self.stream.accept("-", "+"):
            inner = self.atom()
            return negate(inner) if sign.text == "-" else inner
        return self.atom()

    def postfix(self, node: Node) -> Node:
        while True:
            if self.stream.accept("!"):
                double = self.stream.sees("!") and not self.stream.next.spaced and self.stream.take()
                node = Node("fn", (scalar(node),), "double factorial" if double else "factorial")
            elif self.stream.accept("%"):
                node = Node("pct", (scalar(node),))
            elif self.stream.accept("degree"):
                node = Node("deg", (scalar(node),))
            elif self.stream.sees("_") and node.op == "num":
                written = self.stream.previous.text
                digits = str(node.value) if written == ")" else written
                self.stream.take()
                node = in_base(digits, self.stream.raw_group())
            else:
                return node

    def atom(self) -> Node:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise TooLarge(f"deeper than {MAX_DEPTH}")
        node = self._atom(self.stream.take())
        self.depth -= 1
        return node

    def _atom(self, token: Token) -> Node:
        if token.kind == "num":
            return Node("num", value=number_value(token.text), inexact=any(mark in token.text for mark in ".eE"))
        if token.kind == "repeating":
            return Node("num", value=repeating_value(token.text))
        if token.kind == "based":
            self.stream.expect("_")
            return in_base(token.text, self.stream.raw_group())
        if token.kind == "name":
            return symbol(self.stream, token.text)
        if token.kind == "text":
            name = token.text.strip(" .,")
            return symbol(self.stream, name) if len(name) == 1 and name.isalpha() else meaning(token.text)
        if token.kind == "char":
            return self._bracket(token.text)
        if token.kind == "cmd":
            return self._command(token.text)
        raise Unreadable("something is missing at the end")

    def _command(self, name: str) -> Node:
        if name not in self._handlers:
            raise Unreadable(f"\\{name} is not known")
        return self._handlers[name](self)

    def starts_factor(self) -> bool:
        """Could the next token begin a factor?"""
        token = self.stream.next
        if token.kind in ("num", "repeating", "based", "name"):
            return True
        if token.text in ("|", "vert") and self.bars:
            return False
        return token.text in "([{|" if token.kind == "char" else token.kind == "cmd" and token.text in self._handlers

    def _bracket(self, mark: str) -> Node:
        if mark == "{":
            inner = self.list_of()
            self.stream.expect("}")
            return inner
        if mark == "|":
            self.bars += 1
            inner = self.sum()
            self.bars -= 1
            self.stream.expect("|")
            return norm(inner, "|")
        if mark not in "([":
            raise Unreadable(f"{mark!r} is out of place")
        bars, self.bars = self.bars, 0
        inner = self.list_of()
        close = self.stream.expect(")", "]").text
        self.bars = bars
        if inner.op == "list":
            return Node("tuple", inner.args, mark + close)
        if mark + close in ("(]", "[)"):
            raise Unreadable("an interval with one end")
        return inner

    def argument(self) -> Node:
        """One LaTeX argument: a group, a command, or of a run of digits the first."""
        token = self.stream.next
        if token.kind == "num" and len(token.text) > 1:
            self.stream.take()
            self.stream.put_back(Token("num", token.text[1:]))
            return Node("num", value=number_value(token.text[0]))
        return scalar(self.atom())


def _is_system(group: list[Node]) -> bool:
    """x = 1, y = 2: equations for several names."""
    given = [
        part.args[0].value for part in group if part.op == "rel" and part.value == ("=",) and part.args[0].op == "sym"
    ]
    return len(given) == len(group) == len(set(given)) > 1
