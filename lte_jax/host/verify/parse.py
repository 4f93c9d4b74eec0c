r"""A recursive-descent parser for short mathematical answers, in simple LaTeX or plain text.

    answer  := item ((',' | ';' | 'or' | 'and') item)*        item    := sum (relation sum)*
    sum     := [sign] product (sign product)*                 product := unary (('*' | '/' | nothing) unary)*
    power   := postfix ['^' argument]                         postfix := atom ('!' | '%' | degree | base)*

Nothing is evaluated: the result is a tree of `syntax.Node`. Depth, tokens and digits are capped (TooLarge).
"""

import re
from fractions import Fraction

from lte_jax.host.verify.conventions import MAX_DEPTH, MAX_HEIGHT, MAX_ITEMS
from lte_jax.host.verify.syntax import Node, TooLarge, Unreadable, height
from lte_jax.host.verify.tokens import FUNCTIONS, GREEK, Token, number_value, repeating_value, tokenise

_RELATIONS = {"=": "=", "<": "<", ">": ">", "le": "<=", "ge": ">=", "ne": "!=", "lt": "<", "gt": ">"}
_RELATIONS |= {"approx": "=", "equiv": "=", "colon": ":"}
_MATRICES = frozenset({"pmatrix", "bmatrix", "matrix", "vmatrix", "Bmatrix", "smallmatrix", "array"})
_ACCENTS = frozenset({"hat", "bar", "tilde", "dot", "ddot", "overline", "overrightarrow", "widehat", "underline"})
_SYMBOL_COMMANDS = GREEK | {"hbar", "ell", "odot", "angle", "triangle", "partial", "nabla", "mho", "star", "prime"}
_OPENING_COMMANDS = frozenset(
    {"frac", "sqrt", "binom", "begin", "lfloor", "lceil", "langle", "pi", "infty", "lbrace", "mathbb"}
    | {"emptyset", "text", "imath", "max", "min", "lvert"}
)
_STARTS_ATOM = _OPENING_COMMANDS | _SYMBOL_COMMANDS | _ACCENTS | frozenset(FUNCTIONS)
MINUS_ONE = Node("num", value=Fraction(-1))


def constant(name: str) -> Node:
    return Node("const", value=name)


class Parser:
    """One pass over the tokens of one answer."""

    def __init__(self, tokens: list[Token]):
        self.tokens = tokens
        self.at = 0
        self.depth = 0
        self.bars = 0  # open |absolute values|

    # tokens

    @property
    def next(self) -> Token:
        return self.tokens[self.at]

    def take(self) -> Token:
        token = self.tokens[self.at]
        self.at += token.kind != "end"
        return token

    def sees(self, *texts: str) -> bool:
        return self.next.kind in ("char", "cmd") and self.next.text in texts

    def accept(self, *texts: str) -> Token | None:
        return self.take() if self.sees(*texts) else None

    def expect(self, *texts: str) -> Token:
        if not self.sees(*texts):
            raise Unreadable(f"wanted {' or '.join(texts)}, got {self.next.text or 'the end'!r}")
        return self.take()

    def raw_group(self) -> str:
        """A braced group or one token as plain text: subscripts, accents, environment names."""
        if not self.accept("{"):
            return self.take().text
        parts, level = [], 1
        while level:
            token = self.take()
            if token.kind == "end":
                raise Unreadable("a brace is not closed")
            level += (token.text == "{") - (token.text == "}") if token.kind == "char" else 0
            parts.append(token.text)
        return "".join(parts[:-1])

    # lists and relations

    def whole(self) -> Node:
        node = self.list_of()
        if self.next.kind != "end":
            raise Unreadable(f"stopped at {self.next.text!r}")
        return node

    def _separator(self) -> bool:
        start = self.at
        while self._joins(self.next) or self.sees(",", ";", "or", "and", "vee", "lor"):
            self.take()
        return self.at > start

    @staticmethod
    def _joins(token: Token) -> bool:
        return token.kind == "text" and token.text.strip(" ,") in ("or", "and")

    def list_of(self) -> Node:
        items = [self.item()]
        while self._separator():
            items.append(self.item())
            if len(items) > MAX_ITEMS:
                raise TooLarge(f"more than {MAX_ITEMS} items")
        return items[0] if len(items) == 1 else Node("list", tuple(items))

    def item(self) -> Node:
        if self.sees("approx"):
            self.take()
        sides, relations = [self.union()], []
        while self.sees(*_RELATIONS):
            relations.append(_RELATIONS[self.take().text])
            sides.append(self.union())
        if self.accept("in"):
            sides[-1] = Node("in", (sides[-1], self.union()))
        if self.sees(":") and not relations:
            return self._ratio(sides[0])
        return Node("rel", tuple(sides), tuple(relations)) if relations else sides[0]

    def _ratio(self, first: Node) -> Node:
        parts = [first]
        while self.accept(":"):
            parts.append(self.sum())
        return Node("ratio", tuple(parts))

    def union(self) -> Node:
        parts = [self.sum()]
        while self.accept("cup"):
            parts.append(self.sum())
        return Node("union", tuple(parts)) if len(parts) > 1 else parts[0]

    # sums and products

    def sum(self) -> Node:
        terms = [self._signed(self.accept("+", "-", "pm", "mp"))]
        while sign := self.accept("+", "-", "pm", "mp"):
            terms.append(self._signed(sign))
        if len(terms) > 1 and not all(term.scalar or term.op == "matrix" for term in terms):
            raise Unreadable("a sum of things that are not numbers")
        return Node("add", tuple(terms)) if len(terms) > 1 else terms[0]

    def _signed(self, sign: Token | None) -> Node:
        minus = False
        while sign and sign.text in "+-" and self.sees("+", "-"):  # + -5
            minus ^= sign.text == "-"
            sign = self.take()
        term = self.product()
        if sign is not None and sign.text in ("pm", "mp"):
            term = Node("pm", (term,), sign.text)
        elif sign is not None and sign.text == "-":
            minus = not minus
        return self._negate(term) if minus else term

    @staticmethod
    def _negate(term: Node) -> Node:
        if term.op == "num":
            return Node("num", value=-term.value, inexact=term.inexact)
        if not term.scalar:
            return scale(Node("num", value=Fraction(-1)), term)
        return Node("neg", (term,))

    def _starts_atom(self) -> bool:
        token = self.next
        if token.kind in ("num", "repeating", "name"):
            return True
        if token.kind == "char":
            return token.text in "([{" or (token.text == "|" and not self.bars)
        return token.kind == "cmd" and token.text in _STARTS_ATOM

    def product(self) -> Node:
        node = self.power()
        while True:
            if self.next.kind == "text" and not self._joins(self.next):
                return self._unit(node)
            if self.accept("*", "cdot", "times"):
                node = scale(node, self._factor())
            elif self.accept("/", "div"):
                node = self._quotient(node, self._factor())
            elif self._starts_atom():
                node = self._adjacent(node)
            else:
                return node

    def _factor(self) -> Node:
        if sign := self.accept("+", "-"):
            factor = self.power()
            return self._negate(factor) if sign.text == "-" else factor
        return self.power()

    @staticmethod
    def _quotient(top: Node, bottom: Node) -> Node:
        if not bottom.scalar:
            raise Unreadable("a division by something that is not a number")
        if top.op == "matrix":
            return Node("matrix", tuple(Node("div", (part, bottom)) for part in top.args), top.value)
        if not top.scalar:
            raise Unreadable("a division of something that is not a number")
        return Node("div", (top, bottom))

    def _adjacent(self, node: Node) -> Node:
        """A product without a sign, or a mixed number: `1 1/2`, `1\\frac{1}{2}`."""
        token = self.next
        whole = node.op == "num" and node.value.denominator == 1 and not node.inexact
        if token.kind == "num" and self.tokens[self.at - 1].kind == "num":
            if not whole:
                raise Unreadable("two numbers side by side")
            top = self.power()
            self.expect("/")
            return self._mixed(node, Node("div", (top, self.power())))
        factor = self.power()
        if whole and token.text == "frac" and factor.op == "div":
            parts = factor.args
            if all(part.op == "num" for part in parts) and 0 < parts[0].value < parts[1].value:
                return self._mixed(node, factor)
        return scale(node, factor)

    @staticmethod
    def _mixed(whole: Node, fraction: Node) -> Node:
        return Node("add", (whole, fraction))

    def _unit(self, node: Node) -> Node:
        words = []
        while True:
            if self.next.kind == "text":
                words.append(self.take().text.strip(" ~,."))
            elif self.accept("^"):
                words.append("^" + self.raw_group())
            elif words and (mark := self.accept("/", "cdot", "times")):
                words.append("/" if mark.text == "/" else " ")
            else:
                name = "".join(words).strip()
                return Node("unit", (node,), name) if name else node

    # powers and atoms

    def power(self) -> Node:
        node = self.postfix(self.atom())
        while self.accept("^"):
            node = self.postfix(Node("pow", (self._scalar(node), self._scalar(self.exponent()))))
        return node

    @staticmethod
    def _scalar(node: Node) -> Node:
        if not node.scalar:
            raise Unreadable("a number was wanted")
        return node

    def exponent(self) -> Node:
        if sign := self.accept("-", "+"):
            inner = self.atom()
            return self._negate(inner) if sign.text == "-" else inner
        return self.atom()

    def postfix(self, node: Node) -> Node:
        while True:
            if self.accept("!"):
                node = Node("fn", (self._scalar(node),), "factorial")
            elif self.accept("%"):
                node = Node("pct", (node,))
            elif self.accept("degree"):
                node = Node("deg", (node,))
            elif self.sees("_") and node.op == "num":
                self.take()
                node = Node("base", value=(self.tokens[self.at - 2].text, int_or_unreadable(self.raw_group())))
            else:
                return node

    def group(self, closers: str) -> tuple[Node, str]:
        node = self.list_of()
        return node, self.expect(*closers).text

    def atom(self) -> Node:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise TooLarge(f"deeper than {MAX_DEPTH}")
        node = self._atom(self.take())
        self.depth -= 1
        return node

    def _atom(self, token: Token) -> Node:
        if token.kind == "num":
            return Node("num", value=number_value(token.text), inexact=any(mark in token.text for mark in ".eE"))
        if token.kind == "repeating":
            return Node("num", value=repeating_value(token.text))
        if token.kind == "name":
            return self._symbol(token.text)
        if token.kind == "text":
            return self._text_atom(token.text)
        if token.kind == "char":
            return self._bracket(token.text)
        if token.kind == "cmd":
            return self._command(token.text)
        raise Unreadable("something is missing at the end")

    def _text_atom(self, text: str) -> Node:
        name = text.strip(" .,")
        return self._symbol(name) if len(name) == 1 and name.isalpha() else Node("text", value=words_of(text))

    def _bracket(self, mark: str) -> Node:
        if mark == "{":
            return self.group("}")[0]
        if mark == "|":
            self.bars += 1
            inner = self.sum()
            self.bars -= 1
            self.expect("|")
            return Node("fn", (self._scalar(inner),), "abs")
        if mark not in "([":
            raise Unreadable(f"{mark!r} is out of place")
        bars, self.bars = self.bars, 0
        inner, close = self.group(")]")
        self.bars = bars
        if inner.op == "list":
            return Node("tuple", inner.args, mark + close)
        if mark + close in ("(]", "[)"):
            raise Unreadable("an interval with one end")
        return inner

    def _symbol(self, name: str) -> Node:
        while self.accept("'"):
            name += "'"
        if self.accept("_"):
            name += "_" + self.raw_group()
        if name in ("e", "i"):
            return constant(name)
        tokens = self.tokens[self.at : self.at + 3]
        if len(tokens) == 3 and tokens[0].text == "(" and tokens[1].kind == "name" and tokens[2].text == ")":
            if not tokens[0].spaced and tokens[1].text not in "ei":
                self.at += 3
                return Node("call", (Node("sym", value=tokens[1].text),), name)
        return Node("sym", value=name)

    def _command(self, name: str) -> Node:
        if name in FUNCTIONS and name != "sqrt":
            return self._function(FUNCTIONS[name])
        if name in ("pi", "infty", "imath"):
            return constant({"infty": "inf", "imath": "i"}.get(name, name))
        if name in _ACCENTS:
            return self._symbol(f"{name} {self.raw_group()}")
        if name in _SYMBOL_COMMANDS or name in ("max", "min"):
            return self._symbol(name)
        handler = {
            "frac": self._fraction, "sqrt": self._root, "binom": self._binomial, "begin": self._matrix,
            "lbrace": self._set, "lfloor": self._floor, "lceil": self._ceiling, "langle": self._angle,
            "lvert": self._lvert, "mathbb": self._number_set, "emptyset": lambda: Node("set"),
        }.get(name)  # fmt: skip
        if handler is None:
            raise Unreadable(f"\\{name} is not known")
        return handler()

    def argument(self) -> Node:
        """One LaTeX argument: a group, a command, or of a run of digits the first."""
        token = self.next
        if token.kind == "num" and len(token.text) > 1:
            self.tokens[self.at] = Token("num", token.text[1:])
            return Node("num", value=number_value(token.text[0]))
        return self._scalar(self.atom())

    def _fraction(self) -> Node:
        return Node("div", (self.argument(), self.argument()))

    def _binomial(self) -> Node:
        return Node("fn", (self.argument(), self.argument()), "binom")

    def _root(self) -> Node:
        index = None
        if self.accept("["):
            index = self._scalar(self.sum())
            self.expect("]")
        inner = self._scalar(self.postfix(self.atom()) if self.next.kind == "num" else self.atom())
        if index is None:
            return Node("fn", (inner,), "sqrt")
        return Node("pow", (inner, Node("div", (Node("num", value=Fraction(1)), index))))

    def _set(self) -> Node:
        if self.accept("rbrace"):
            return Node("set")
        inner = self.list_of()
        self.expect("rbrace")
        return Node("set", inner.args if inner.op == "list" else (inner,))

    def _fence(self, close: str, function: str) -> Node:
        inner = self.sum()
        self.expect(close)
        return Node("fn", (self._scalar(inner),), function)

    def _floor(self) -> Node:
        return self._fence("rfloor", "floor")

    def _ceiling(self) -> Node:
        return self._fence("rceil", "ceil")

    def _lvert(self) -> Node:
        return self._fence("rvert", "abs")

    def _angle(self) -> Node:
        inner = self.list_of()
        self.expect("rangle")
        return Node("tuple", inner.args if inner.op == "list" else (inner,), "()")

    def _number_set(self) -> Node:
        if self.raw_group() != "R":
            raise Unreadable("of the number sets only the reals are known")
        return Node("tuple", (Node("neg", (constant("inf"),)), constant("inf")), "()")

    def _matrix(self) -> Node:
        kind = self.raw_group()
        if kind not in _MATRICES:
            raise Unreadable(f"environment {kind!r} is not known")
        if kind == "array":
            self.raw_group()
        rows: list[list[Node]] = [[]]
        while not self.accept("end"):
            if self.accept("newline"):
                rows.append([])
                continue
            self.accept("&")
            if not self.sees("end", "newline"):
                rows[-1].append(self._scalar(self.sum()))
        self.raw_group()
        rows = [row for row in rows if row]
        if not rows or len({len(row) for row in rows}) > 1:
            raise Unreadable("a matrix with uneven rows")
        return Node("matrix", tuple(part for row in rows for part in row), (len(rows), len(rows[0])))

    def _function(self, name: str) -> Node:
        power = base = None
        while self.sees("^", "_"):
            if self.take().text == "^":
                power = self._scalar(self.exponent())
            else:
                base = self.argument()
        if self.sees("(", "{", "["):
            group = self.atom()
            arguments = group.args if group.op == "tuple" else (group,)
        else:
            arguments = (self._bare_argument(),)
        if not all(part.scalar for part in arguments) or len(arguments) != (2 if name == "binom" else 1):
            raise Unreadable(f"{name} has wrong arguments")
        if name == "log" and base is not None:
            node = Node("div", (Node("fn", arguments, "ln"), Node("fn", (base,), "ln")))
        elif power is not None and power == MINUS_ONE and f"a{name}" in FUNCTIONS.values():
            return Node("fn", arguments, f"a{name}")
        else:
            node = Node("fn", arguments, name)
        return node if power is None else Node("pow", (node, power))

    def _bare_argument(self) -> Node:
        r"""The argument of `\sin 2 \pi t`: factors up to a sign, a bracket or another function."""
        if self.accept("-"):
            return self._negate(self._scalar(self.power()))
        node = self._scalar(self.power())
        while self._starts_atom() and not self.sees("(", "[", "|", *FUNCTIONS) and self.next.kind != "text":
            node = self._scalar(self._adjacent(node))
        return node


def int_or_unreadable(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,2}", text) or not 2 <= int(text) <= 36:
        raise Unreadable(f"{text!r} is not a number base")
    return int(text)


def scale(left: Node, right: Node) -> Node:
    """A product; one factor may be a matrix, which is multiplied entry by entry."""
    if left.scalar and right.scalar:
        return Node("mul", (*left.args, right) if left.op == "mul" else (left, right))
    matrix, factor = (left, right) if left.op == "matrix" else (right, left)
    if matrix.op != "matrix" or not factor.scalar:
        raise Unreadable("a product of things that are not numbers")
    return Node("matrix", tuple(Node("mul", (factor, part)) for part in matrix.args), matrix.value)


def words_of(text: str) -> str:
    return " ".join(text.casefold().strip(" .,!").split())


_PLAIN_WORDS = re.compile(r"(?:\\text\s*\{)?\s*([A-Za-z][A-Za-z' \-]*[A-Za-z.])\s*\}?")
_LETTERS_ONLY = re.compile(r"[a-z]{2,3}")


def parse(text: str, thousands: bool = True) -> Node:
    """Read a normalised answer. Raises Unreadable or TooLarge."""
    if not text:
        raise Unreadable("it is empty")
    words = _PLAIN_WORDS.fullmatch(text)
    if words:
        content = words.group(1).strip()
        known = content in FUNCTIONS or content in GREEK or content in ("pi", "inf", "infinity")
        if "\\text" in text or (not known and (len(content) > 3 or (len(content) > 2 and content.isalpha()))):
            if not re.match(r"(?:sin|cos|tan|cot|sec|csc|ln|log|sqrt|exp)\b", content) and not _looks_symbolic(content):
                return Node("text", value=words_of(content))
    node = Parser(tokenise(text, thousands)).whole()
    if height(node) > MAX_HEIGHT:
        raise TooLarge(f"a tree higher than {MAX_HEIGHT}")
    return node


def _looks_symbolic(content: str) -> bool:
    """`x or y`, `a b c`: single letters and joining words are variables, not text."""
    return " " in content and all(len(word) == 1 or word in ("or", "and", "pi") for word in content.split())
