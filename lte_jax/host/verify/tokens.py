"""Split a normalised answer into tokens: numbers, LaTeX commands, names, text groups and single characters."""

import re
from dataclasses import dataclass
from fractions import Fraction

from lte_jax.host.verify.conventions import MAX_DIGITS, MAX_TOKENS
from lte_jax.host.verify.syntax import TooLarge, Unreadable

GREEK = frozenset(
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi rho sigma tau upsilon phi chi psi omega "
    "Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega".split()
)
FUNCTIONS = {
    **{name: name for name in "sin cos tan cot sec csc sinh cosh tanh coth exp ln log floor ceil abs".split()},
    **{f"arc{name}": f"a{name}" for name in "sin cos tan cot sec csc".split()},
    **{f"a{name}": f"a{name}" for name in "sin cos tan sinh cosh tanh".split()},
    **{f"ar{name}": f"a{name}" for name in "sinh cosh tanh".split()},
    "lg": "log10", "sqrt": "sqrt", "cbrt": "cbrt", "factorial": "factorial", "binomial": "binom",
}  # fmt: skip
WORDS = {"pi": "pi", "inf": "infty", "infinity": "infty", "oo": "infty", "or": "or", "and": "and"}


@dataclass(frozen=True, slots=True)
class Token:
    """`kind`: num, cmd, name, text, char or end. `spaced`: a space stands before it."""

    kind: str
    text: str
    spaced: bool = False


_TOKEN = re.compile(
    r"(?P<space>\s+)"
    r"|(?P<repeating>[0-9]*\.[0-9]*(?:\\(?:overline|bar|dot)\s*\{[0-9]+\}|\([0-9]+\)))"
    r"|(?P<num>(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])(?:\.[0-9]*)?|[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)"
    r"|\\text\s*\{(?P<text>[^{}]*)\}"
    r"|\\(?P<cmd>[A-Za-z]+\*?|[{}|\\])"
    r"|(?P<name>[A-Za-z]+)"
    r"|(?P<char>[-+*/^_=<>()\[\]{}|,;:!%&'])"
)
_ESCAPES = {"{": "lbrace", "}": "rbrace", "\\": "newline", "|": "vert"}
_GROUPED = re.compile(r"[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]*)?\Z")


def _names(run: str, spaced: bool) -> list[Token]:
    """A run of letters: a known word, or one variable for each letter."""
    if run in FUNCTIONS or run in WORDS or run in GREEK:
        return [Token("cmd", WORDS.get(run, run), spaced)]
    return [Token("name", letter, spaced and at == 0) for at, letter in enumerate(run)]


def _number(text: str, spaced: bool, thousands: bool) -> list[Token]:
    """A number; commas are thousands separators or, in the other reading and inside brackets, separate items."""
    if "," not in text:
        return [Token("num", text, spaced)]
    if thousands and _GROUPED.match(text):
        return [Token("num", text.replace(",", ""), spaced)]
    found = []
    for part in text.split(","):
        found += [Token("char", ","), Token("num", part)]
    return [Token("num", found[1].text, spaced), *found[2:]]


def tokenise(text: str, thousands: bool) -> list[Token]:
    """Tokens of a normalised answer. `thousands`: read 1,234 outside brackets as one number, not as a list."""
    tokens: list[Token] = []
    at, spaced, depth = 0, False, 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise Unreadable(f"cannot read {text[at : at + 10]!r}")
        at = match.end()
        kind, content = match.lastgroup, match.group(match.lastgroup)
        if kind == "space":
            spaced = True
            continue
        if kind == "num":
            tokens += _number(content, spaced, thousands and depth == 0)
        elif kind == "name":
            tokens += _names(content, spaced)
        else:
            depth += (content in "([") - (content in ")]") if kind == "char" else 0
            if kind == "cmd":
                content = _ESCAPES.get(content, content)
                depth += (content == "lbrace") - (content == "rbrace")
            tokens.append(Token(kind, content, spaced))
        if len(tokens) > MAX_TOKENS:
            raise TooLarge(f"more than {MAX_TOKENS} tokens")
        spaced = False
    return [*tokens, Token("end", "")]


def number_value(text: str) -> Fraction:
    """The exact value of a number as written. Raises TooLarge past MAX_DIGITS digits or decimal exponent."""
    mantissa, _, exponent = text.lower().partition("e")
    if len(mantissa) > MAX_DIGITS or len(exponent) > 6 or abs(int(exponent or 0)) > MAX_DIGITS:
        raise TooLarge(f"a number of more than {MAX_DIGITS} digits")
    whole, _, decimals = mantissa.partition(".")
    value = Fraction(int((whole + decimals) or 0), 10 ** len(decimals))
    return value * Fraction(10) ** int(exponent or 0)


def repeating_value(text: str) -> Fraction:
    r"""The exact value of `0.1\overline{6}`, `0.1\bar{6}`, `0.1\dot{6}` or `0.1(6)`."""
    plain, repeated = re.findall(r"[0-9]*\.[0-9]*|(?<=[({])[0-9]+", text)
    if len(text) > MAX_DIGITS:
        raise TooLarge(f"a number of more than {MAX_DIGITS} digits")
    decimals = len(plain.partition(".")[2])
    return number_value(plain) + Fraction(int(repeated), (10 ** len(repeated) - 1) * 10**decimals)
