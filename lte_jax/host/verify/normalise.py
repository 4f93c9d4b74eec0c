r"""Bring an answer to one spelling before it is read: Unicode, LaTeX spacing, wrappers, currency, plain-word units.

All replacements are single passes with patterns that cannot backtrack far; the text is at most MAX_ANSWER_CHARS long.
"""

import re
import unicodedata

from lte_jax.host.verify.conventions import MAX_ANSWER_CHARS
from lte_jax.host.verify.syntax import TooLarge

_CHARACTERS = {
    **dict.fromkeys("−–—‒﹣－", "-"),
    **dict.fromkeys("\u200b\u200c\u200d\u2060\ufeff\u00ad\u200e\u200f", ""),
    **dict.fromkeys("×✕", r"\times "), "·": r"\cdot ", "⋅": r"\cdot ", "÷": r"\div ", "∕": "/", "⁄": "/",
    "√": r"\sqrt ", "∛": r"\sqrt[3] ", "π": r"\pi ", "∞": r"\infty ", "°": r"^\circ ", "±": r"\pm ", "∓": r"\mp ",
    "≤": r"\le ", "≥": r"\ge ", "≠": r"\ne ", "≈": r"\approx ", "∪": r"\cup ", "∩": r"\cap ", "∈": r"\in ",
    "∅": r"\emptyset ", "ℝ": r"\mathbb{R}", "⌊": r"\lfloor ", "⌋": r"\rfloor ", "⌈": r"\lceil ", "⌉": r"\rceil ",
    "θ": r"\theta ", "α": r"\alpha ", "β": r"\beta ", "λ": r"\lambda ", "ω": r"\omega ", "μ": r"\mu ", "σ": r"\sigma ",
    "½": r"\frac{1}{2}", "⅓": r"\frac{1}{3}", "⅔": r"\frac{2}{3}", "¼": r"\frac{1}{4}", "¾": r"\frac{3}{4}",
    "′": "'", "’": "'", "“": '"', "”": '"', "€": "", "£": "", "\u00a0": " ",
}  # fmt: skip
_SUPERSCRIPTS = "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻"
_CHARACTERS |= {char: f"^{{{plain}}}" for char, plain in zip(_SUPERSCRIPTS, "0123456789+-", strict=True)}
_CHARACTERS |= {char: f"_{{{digit}}}" for digit, char in enumerate("₀₁₂₃₄₅₆₇₈₉")}
_TABLE = str.maketrans(_CHARACTERS)

_THOUSANDS = re.compile(r"(?<=[0-9])(?:\{,\}|,\\!|\\,|\{\\,\})\s*(?=[0-9]{3}(?![0-9]))")
_SPACES = re.compile(
    r"(?<!\\)\\(?:[!,;:> ]|quad\b|qquad\b|displaystyle\b|textstyle\b|limits\b|[bB]ig+[lr]?(?![a-z])"
    r"|(?:left|right)(?![a-z])\.?|phantom\{[^{}]*\})|~"
)
_SPELLINGS = [
    (re.compile(r"\\[dtc]frac(?![a-z])"), r"\\frac"),
    (re.compile(r"\\[dt]binom(?![a-z])"), r"\\binom"),
    (re.compile(r"\\(?:text(?:bf|it|rm|normal|sf)|[mh]box|math(?:rm|sf|it)|operatorname\*?|rm)(?=\s*\{)"), r"\\text"),
    (re.compile(r"\\(?:mathbf|boldsymbol|bm|mathcal|vec)(?![a-z])"), ""),
    (re.compile(r"\\(?:leqslant|leq)(?![a-z])"), r"\\le"),
    (re.compile(r"\\(?:geqslant|geq)(?![a-z])"), r"\\ge"),
    (re.compile(r"\\neq(?![a-z])"), r"\\ne"),
    (re.compile(r"\\varnothing"), r"\\emptyset"),
    (re.compile(r"\\var(?=phi|epsilon|theta)"), r"\\"),
    (re.compile(r"\^\s*\{\s*\\circ\s*\}|\^\s*\\circ|\\degree(?![a-z])"), r"\\degree "),
    (re.compile(r"\\text\{\s*degrees?\s*\}|(?<=[0-9])\s*degrees?\b"), r"\\degree "),
    (re.compile(r"\\%|\\text\{\s*(?:percent|%|\\%)\s*\}|(?<=[0-9}])\s*percent\b"), "%"),
    (re.compile(r"\\\$|\bUSD\b|\\pounds(?![a-z])|\\euro(?![a-z])"), ""),
    (re.compile(r"\$|\\\(|\\\)|\\\[|\\\]|\*\*"), ""),
    (re.compile(r"(?<=[\])])\s*U\s*(?=[\[(])"), r"\\cup "),
    (re.compile(r"\b(?:np|math|numpy)\.(?=[a-z])"), ""),
    (re.compile(r"(?<=:[0-9]{2})\s*(?:\\text\{\s*)?([aApP])\.?\s?[mM]?\b\.*\s*\}?"), r"\\text{\1m}"),
    (re.compile(r"\^\s*\\prime(?![a-z])|\^\s*\{\s*\\prime\s*\}"), "'"),
    (re.compile(r"<="), r"\\le "),
    (re.compile(r">="), r"\\ge "),
    (re.compile(r"!="), r"\\ne "),
]  # fmt: skip
_WORD_UNIT = re.compile(r"(?<=[0-9}\])!])\s+([A-Za-z]{2,}(?:[ /][A-Za-z]+){0,3}(?:\s*\^\s*\{?[23]\}?)?)\s*\Z")
_GLUED_UNIT = re.compile(r"(?<=[0-9])((?:cm|mm|km|kg|mg|mph|ft|lbs?|hrs?|min|sec|mL|ml)(?:\s*\^\s*\{?[23]\}?)?)\s*\Z")
_SHORT_UNIT = re.compile(r"(?<=[0-9])\s+([mgshLNJWVKAC](?:/[smh])?(?:\s*\^\s*\{?[23]\}?)?)\s*\Z")
_NOT_A_UNIT = re.compile(r"\b(?:or|and|pi|sqrt|sin|cos|tan|ln|log|exp|e|i|x|y|is|to|union|mod|not|over|if)\b")
_LOOSE_SPACE = re.compile(r"\s+(?![A-Za-z0-9])|(?<![A-Za-z0-9])\s+")


def _ascii_digit(char: str) -> str:
    digit = unicodedata.decimal(char, None)
    return char if digit is None else str(digit)


def _mark_unit(text: str) -> str:
    """Plain words behind a number become a \\text unit, which the parser may drop."""
    for pattern in (_WORD_UNIT, _GLUED_UNIT, _SHORT_UNIT):
        match = pattern.search(text[-60:])
        if match and not _NOT_A_UNIT.search(match.group(1)):
            words, _, power = match.group(1).partition("^")
            begin = len(text) - len(text[-60:]) + match.start()
            return f"{text[:begin]}\\text{{{words}}}" + (f"^{power.strip()}" if power else "")
    return text


def normalise(answer: str) -> str:
    """One spelling for one answer. Raises TooLarge where it is too long to be one."""
    if len(answer) > MAX_ANSWER_CHARS:
        raise TooLarge(f"an answer of {len(answer)} characters; at most {MAX_ANSWER_CHARS} are read")
    text = answer.translate(_TABLE)
    if not answer.isascii():
        text = text.replace("}^{", "").replace("}_{", "")  # 10⁻⁶ was translated one character at a time
        text = "".join(map(_ascii_digit, unicodedata.normalize("NFKC", text)))
    if "\\" in text or "~" in text:
        text = _THOUSANDS.sub("", text)
        text = _SPACES.sub(" ", text)
    text = re.sub(r"(?<=[0-9])\{,\}\s*(?=[0-9]{3}(?![0-9]))", "", text)
    for pattern, spelling in _SPELLINGS:
        text = pattern.sub(spelling, text)
    text = text.strip().rstrip(".,;: ").strip()
    return _mark_unit(text)


def squeeze(text: str) -> str:
    """The text without spaces that cannot matter; `1 1/2` keeps its own."""
    return _LOOSE_SPACE.sub("", text)
