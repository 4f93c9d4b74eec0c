"""Split a normalised answer into tokens: numbers, LaTeX commands, names, text groups and single characters."""

import re
from dataclasses import dataclass

from lte_jax.host.answers.limits import MAX_TOKENS
from lte_jax.host.answers.syntax import TooLarge, Unreadable

GREEK = frozenset(
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi rho sigma tau upsilon phi chi psi omega "
    "Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega".split()
)
FUNCTIONS = {
    **{name: name for name in "sin cos tan cot sec csc sinh cosh tanh coth exp ln log floor ceil abs".split()},
    **{f"arc{name}": f"a{name}" for name in "sin cos tan cot sec csc".split()},
    **{f"a{name}": f"a{name}" for name in "sin cos tan sinh cosh tanh".split()},
    **{f"ar{name}": f"a{name}" for name in "sinh cosh tanh".split()},
    "lg": "log10", "sqrt": "sqrt", "cbrt": "cbrt", "cis": "cis", "factorial": "factorial", "binomial": "binom",
}  # fmt: skip
WORDS = {"pi": "pi", "inf": "infty", "infinity": "infty", "oo": "infty", "or": "or", "and": "and", "in": "in"}


@dataclass(frozen=True, slots=True)
class Token:
    """`kind`: num, repeating, based, cmd, name, text, char or end. `spaced`: a space stands before it."""

    kind: str
    text: str
    spaced: bool = False


_TOKEN = re.compile(
    r"(?P<space>\s+)"
    r"|(?P<repeating>[0-9]*\.[0-9]*(?:\\(?:overline|bar|dot)\s*\{[0-9]+\}|\([0-9]+\))"
    r"|[0-9]*\.[0-9]+\s*(?:\.{3,}|\\[lc]?dots(?![a-z])))"
    r"|(?P<based>[0-9][0-9A-Fa-f]{0,40}(?=_\{?1[1-6]\b))"
    r"|(?P<num>(?:[0-9]{1,3}(?:,[0-9]{3}){1,40}(?![0-9])(?:\.[0-9]*)?|[0-9]+(?:\.[0-9]*)?|\.[0-9]+)"
    r"(?:[eE][+-]?[0-9]+)?)"
    r"|\\text\s*\{(?P<text>(?:[^{}]|\{[^{}]*\})*)\}"
    r"|\\(?P<cmd>[A-Za-z]+\*?|[{}|\\])"
    r"|(?P<name>[A-Za-z]+)"
    r"|(?P<char>[-+*/^_=<>()\[\]{}|,;:!%&'])"
)
_ESCAPES = {"{": "lbrace", "}": "rbrace", "\\": "newline", "|": "vert"}
_GLUED = re.compile(r"arc(?:sin|cos|tan)|(?:sin|cos|tan)h?|cot|sec|csc|sqrt|exp|log|ln")


def _known(word: str) -> bool:
    return word in FUNCTIONS or word in WORDS or word in GREEK


def _names(run: str, spaced: bool) -> list[Token]:
    """A run of letters: a known word, a function with its neighbours (`xsinx`), or one variable for each letter."""
    function = _GLUED.search(run)
    parts = [run[: function.start()], function.group(), run[function.end() :]] if function else [run]
    tokens = []
    for part in [run] if _known(run) else filter(None, parts):
        if _known(part):
            tokens.append(Token("cmd", WORDS.get(part, part)))
        else:
            tokens += [Token("name", letter) for letter in part]
    return [Token(tokens[0].kind, tokens[0].text, spaced), *tokens[1:]]


def _number(text: str, spaced: bool, thousands: bool) -> list[Token]:
    """A number; commas are thousands separators or, in the other reading and inside brackets, separate items."""
    if "," not in text:
        return [Token("num", text, spaced)]
    if thousands and "e" not in text.lower():
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
