r"""Bring an answer to one spelling before it is read: Unicode, LaTeX spacing, wrappers, currency, plain-word units.

All replacements are single passes in about linear time (tests/test_patterns.py) over at most MAX_ANSWER_CHARS. Runs of
space become one space first and after each replacement, so patterns say ` ?` and never meet a second one.
"""

import re
import unicodedata
from fractions import Fraction
from functools import lru_cache

from lte_jax.host.answers.limits import MAX_ANSWER_CHARS
from lte_jax.host.answers.numerals import word_value
from lte_jax.host.answers.syntax import TooLarge
from lte_jax.host.answers.tokens import GREEK
from lte_jax.host.answers.units import is_word, known_units

_CHARACTERS = {
    **dict.fromkeys("−–—‒﹣－", "-"),
    **dict.fromkeys("\u200b\u200c\u200d\u2060\ufeff\u00ad\u200e\u200f", ""),
    **dict.fromkeys("×✕", r"\times "), "·": r"\cdot ", "⋅": r"\cdot ", "∙": r"\cdot ", "•": r"\cdot ", "∗": "*",
    "÷": r"\div ", "∕": "/", "⁄": "/", "∶": ":",
    "√": r"\sqrt ", "∛": r"\sqrt[3] ", "π": r"\pi ", "∞": r"\infty ", "°": r"^\circ ", "±": r"\pm ", "∓": r"\mp ",
    "≤": r"\le ", "≥": r"\ge ", "≠": r"\ne ", "≈": r"\approx ", "∪": r"\cup ", "∩": r"\cap ", "∈": r"\in ",
    "∅": r"\emptyset ", "ℝ": r"\mathbb{R}", "ℤ": r"\mathbb{Z}", "∖": r"\setminus ", "∠": r"\angle ", "△": r"\triangle ",
    "⌊": r"\lfloor ", "⌋": r"\rfloor ", "⌈": r"\lceil ", "⌉": r"\rceil ", "⟨": r"\langle ", "⟩": r"\rangle ",
    "º": r"^\circ ", "˚": r"^\circ ", "℃": r"^\circ C", "℉": r"^\circ F", "、": ",", "。": ".", "⋯": "...", "∣": "|",
    "ℏ": r"\hbar ", "ℓ": r"\ell ", "ℕ": r"\mathbb{N}", "ℚ": r"\mathbb{Q}", "ℂ": r"\mathbb{C}", "∜": r"\sqrt[4] ",
    "∑": r"\sum ", "∏": r"\prod ", "≡": r"\equiv ", "∧": r"\land ", "∨": r"\lor ", "⊤": r"\top ", "ϵ": r"\epsilon ",
    "ϕ": r"\phi ", "ϑ": r"\theta ", "ς": r"\sigma ", "µ": r"\mu ", "Ω": r"\Omega ", "∆": r"\Delta ",
    "′": "'", "’": "'", "“": '"', "”": '"', "€": "", "£": "", "¥": "", "₹": "", "￥": "", "¢": r"\text{cent}", "\u00a0": " ", "…": "...",
}  # fmt: skip
_FRACTIONS = {char: Fraction(unicodedata.numeric(char)).limit_denominator(10) for char in "½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅐⅛⅜⅝⅞⅑⅒"}
_CHARACTERS |= {char: rf"\frac{{{part.numerator}}}{{{part.denominator}}}" for char, part in _FRACTIONS.items()}
for _char in map(chr, [*range(0x391, 0x3AA), *range(0x3B1, 0x3CA)]):  # from GREEK CAPITAL LETTER ALPHA
    _words = unicodedata.name(_char, "").lower().replace("lamda", "lambda").split()
    _name = _words[-1].capitalize() if "capital" in _words else "".join(_words[-1:])
    if _name in GREEK:
        _CHARACTERS.setdefault(_char, rf"\{_name} ")
_SUPERSCRIPTS = "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻"
_CHARACTERS |= {char: f"^{{{plain}}}" for char, plain in zip(_SUPERSCRIPTS, "0123456789+-", strict=True)}
_CHARACTERS |= {char: f"_{{{digit}}}" for digit, char in enumerate("₀₁₂₃₄₅₆₇₈₉")}
_TABLE = str.maketrans(_CHARACTERS)

_SPACE = re.compile(r"\s+")
_SCALES = {"hundred": 2, "thousand": 3, "million": 6, "billion": 9, "trillion": 12}
_TEXTS = r"\\(?:text(?:bf|it|rm|normal|sf|sc|tt|up|md)?|[mh]box|math(?:rm|sf|it|tt)|operatorname\*?|rm|emph)(?= ?\{)"
_THOUSANDS = re.compile(r"(?<=[0-9])(?:\{,\}|,?\\[!,;: ]|\{\\,\}) ?(?=[0-9]{3}(?![0-9]))")
# Braces keep TeX from setting a comma as one between items: 3{,}5 is 3.5, but 3{,}500 is 3500
_DECIMAL_COMMA = re.compile(r"(?<=[0-9])\{,\}(?=(?:[0-9]{1,2}|[0-9]{4,30})(?![0-9]))|(?<=\b0)\{,\}(?=[0-9])")
_SPACES = re.compile(
    r"(?<!\\)\\(?:[!,;:> ]|(?:q?quad|displaystyle|textstyle|scriptstyle|limits|[bB]ig+[lr]?)(?![a-z])"
    r"|(?:left|right)(?![a-z])\.?|h?phantom\{[^{}]*\}|tag\{[^{}]*\}|hspace\{[^{}]*\}"
    r"|(?:text)?color\{[A-Za-z]*\}|(?:underline|boxed|fbox|mathbf|boldsymbol|bm|bold|mathcal|vec)(?![a-z])"
    r"|(?:bf|rm|it|sf|tt|cal|tiny|scriptsize|footnotesize|small|normalsize|large|Large|LARGE|huge|Huge)(?![a-zA-Z])"
    r"|(?:mathord|mathop|mathstrut|strut|hfill|enspace|thinspace|medspace|thickspace|negthinspace|nobreak|allowbreak"
    r"|nonumber|notag|hline|smash|ensuremath)(?![a-zA-Z])|mathbb(?= ?\{ ?[0-9])|mathrm\{~?\}|checkmark(?![a-z])|(?:black)?square(?![a-z])|qed(?![a-z])|pounds(?![a-z])|euro(?![a-z]))|~"
)
_LATEX = [
    (re.compile(r"(?:\b(?:US|CA|AU|C|A))?\\\$"), ""),
    (re.compile(r"(?<![\\\]}A-Za-z^_])\{ ?\}"), ""),
    (re.compile(r"\\cr(?:cr)?(?![a-z])|\\tabularnewline|(?<=\\\\)\[ ?[0-9.]{1,5} ?(?:pt|ex|em|mm|cm)\]"), r"\\\\"),
    (re.compile(r"\\(?:dots[cbmio]?|cdots|hdots|textellipsis)(?![a-z])"), r"\\ldots "),
    (re.compile(r"\\in ?(?:\\mathbb)? ?\{? ?([ZNQRC]) ?\}?(?![A-Za-z])"), r"\\in \\mathbb{\1}"),
    (re.compile(r"\\text ?\{ ?(?:is|are)(?: an?| any| all)?((?: positive| negative| non-?negative)? integers?|(?: a)? natural numbers?) ?\}"),
     lambda m: r"\in " + _integers(m[1])),
    (re.compile(r"\\text ?\{ ?([,;:]) ?\}"), r"\1"),
    (re.compile(r"\\text ?\{ ?(\([a-h]\)|\([ivx]{1,4}\))? ?\}"), r"\1 "),
    (re.compile(r"\\(?:[dtc]|nice|s|x|flat)frac(?![a-z])"), r"\\frac"),
    (re.compile(r"\\[dt]binom(?![a-z])"), r"\\binom"),
    (re.compile(r"\{([^{}]*)\\choose(?![a-z])([^{}]*)\}"), r"\\binom{\1}{\2}"),
    (re.compile(r"\\(?:mathrm|operatorname) ?\{ ?([ei]) ?\}"), r"\1 "),
    (re.compile(_TEXTS), r"\\text"),
    (re.compile(r"\\text ?\{ ?(a?r?c?(?:sin|cos|tan)h?|cot|sec|csc|ln|log|exp|cis|gcd|lcm|max) ?\}"), r"\\\1 "),
    (re.compile(r"(?<![0-9])\\text ?\{ ?min ?\}"), r"\\min "),
    (re.compile(r"\\text ?\{ ?([-+]?[0-9][^{}]*|[A-Z](?:(?: ?, ?| and | or )[A-Z])+)\}"), r" \1 "),
    (re.compile(r"\{:\}"), ":"),
    (re.compile(r"\\frac ?\{ ?\\text ?\{([^{}]*)\} ?\} ?\{ ?\\text ?\{([^{}]*)\} ?\}"), r"\\text{\1/\2}"),
    (re.compile(r"\\(?:leqslant|leq|leqq)(?![a-z])"), r"\\le"),
    (re.compile(r"\\(?:geqslant|geq|geqq)(?![a-z])"), r"\\ge"),
    (re.compile(r"\\neq(?![a-z])|\\not ?="), r"\\ne"),
    (re.compile(r"\\varnothing(?![a-z])"), r"\\emptyset"),
    (re.compile(r"\\var(?=phi|epsilon|theta)"), r"\\"),
    (re.compile(r"\\(?:simeq|thickapprox|doteq)(?![a-z])"), r"\\approx"),
    (re.compile(r"\\[lr]?Vert(?![a-z])"), r"\\|"),
    (re.compile(r"\\(?:backslash|smallsetminus)(?![a-z])|(?<=\\mathbb\{R\}) ?-(?= ?\\\{)"), r"\\setminus "),
    (re.compile(r"\\(?:lvert|rvert|vert|mid)(?![a-z])(?=[^{}]{0,99}\\[lr]?vert)|\\[lr]?vert(?![a-z])"), "|"),
    (re.compile(r"\\measuredangle(?![a-z])"), r"\\angle"),
    (re.compile(r"\^ ?\{ ?\\circ ?\}|\^ ?\\circ(?![a-z])|\\degrees?(?![a-z])"), r"\\degree "),
    (re.compile(r"\\text ?\{ ?degrees? ?\}"), r"\\degree "),
    (re.compile(r"\\%|\\text ?\{ ?(?:percent|per cent|pct\.?|%|\\%) ?\}"), "%"),
    (re.compile(r"\$|\\\(|\\\)|\\\[|\\\]"), ""),
    (re.compile(r"\^ ?\\prime(?![a-z])|\^ ?\{ ?\\prime ?\}"), "'"),
]  # fmt: skip
_NATURAL = re.compile("integer|natural")


def _integers(words: str) -> str:
    """The set that words such as `positive integer` name."""
    if "natural" in words:
        return r"\mathbb{N}"
    if "negative" in words:
        return r"\mathbb{N}_0" if "non" in words else r"\mathbb{Z}^-"
    return r"\mathbb{Z}^+" if "positive" in words else r"\mathbb{Z}"


def _given(match: re.Match) -> str:
    """`for any real x` as `, \given x`, `where the positive integer k` as `, \given \mathbb{Z}^+ k`."""
    return r", \given " + (_integers(match[1]) + " " if _NATURAL.search(match[1]) else "")


_LONE = re.compile(r"(?<![A-Za-z\\])[b-z](?![A-Za-z])")
_GIVEN = re.compile(
    r"[,;]? ?\(?\\text ?\{[ ,(]{0,2}(?:for|where|with|when|if|provided that|such that)((?: (?:all|any|every|some|each|an?|real"
    r"|positive|negative|non-?negative|non-?zero|arbitrary|fixed|integers?|constants?|numbers?|natural|values?|of)){0,6})"
    r"[ ,]{0,2}\} ?"
)
_IN_BRACKETS = re.compile(
    r"(?<=[A-Za-z0-9)\]}]) ?\(([^()]{1,60}?(?:\\in|\\ne|\\le|\\ge|[<>])(?![a-z])[^()]{1,60})\) ?\.?\Z"
)
_DOUBLED = re.compile(
    r"\\\\(?:begin|[dt]?frac|sqrt|text|pi|left|cdot|times|infty|theta|alpha|le|ge|in|cup|pm|circ)(?![a-z])"
)
_SINGLE = re.compile(r"(?<!\\)\\[A-Za-z]")
_ALIGNED = re.compile(r"\\(?:begin|end)\{(?:align(?:ed)?|equation|gather(?:ed)?|split|displaymath|math)\*?\}")
_DEGREE_SCALE = re.compile(r"(?<=\\degree ) ?(?:\\text ?\{ ?[CF] ?\}|[CF]\b)")
_OF_A_QUESTION = r"\b(?i:find|such|that|let|suppose|if|solve|when|where|given|determine|compute|prove)\b"
_PLAIN = [
    (re.compile(r"(?<=[,+*/(\[-]) ?\.{2,}(?= ?[,+)\]\\*/-]|\Z| )|(?<=[,+]) ?\.{3,}|(?<=\\cdot) ?\.{3,}|(?<=\\times) ?\.{3,}"), r"\\ldots "),
    (re.compile(r"\( ?\\approx ?([^()]{1,40})\)(?= ?[.,]?\Z)"), r"\\approx \1"),
    (re.compile(r"\\text ?\{ ?(?:,|or|which is|i\.e\.)? ?(?:about|approximately|approx\.?|roughly) ?\}(?=.)"), r"\\approx "),
    (re.compile(r"(?:\\text ?\{ ?)?(?i:(?:the )?(?:set of )?all real(?: number)?s?(?: [a-z])?,? except(?: for| when)?) ?\}?"
                r" ?(?:[a-z] ?= ?)?([^{}]{1,60})\Z"), r"\\mathbb{R} \\setminus \\{\1\\}"),
    (re.compile(r"(?<=[)\]}]) ?,? ?(?:\\text ?\{ ?)?except(?: for| at)? ?\}? ?(?:[a-z] ?= ?)?([^{}]{1,60})\Z"), r"\\setminus \\{\1\\}"),
    (re.compile(r"(?<=[\w)\]}])(?:\*\*(?=[\w({\\-])| \*\* (?=[\w({\\-]))"), "^"),
    (re.compile(r"\*\*|`|\""), ""),
    (re.compile(r"(?<=[0-9]) ?degrees?\b"), r"\\degree "),
    (re.compile(r"(?<=[0-9}]) ?(?:percent|per cent|pct)\b\.?"), "%"),
    (re.compile(r"(?<=[0-9A-Za-z)}!]) ?(?:\\b?mod|(?<![A-Za-z\\])mod|\\text ?\{ ?mod ?\})(?![A-Za-z]) ?(?=[0-9({A-Za-z\\])"),
     lambda m: m.group() if r"\equiv" in m.string else r" \modulo "),
    (re.compile(r"\(?(?:\\text ?\{)?[ (]{0,3}\\?[pb]?mod(?:[ {(}]|\\text ?\{){0,6}([0-9]{1,9})[ )}]{0,6}"), r"\\text{mod \1}"),
    (re.compile(r"\bUSD\b|^ ?Rs\.?(?= ?[0-9])"), ""),
    (re.compile(r"(?<=[\])]) ?U ?(?=[\[(])"), r"\\cup "),
    (re.compile(r"(?<=[0-9]) ?(?:\\text ?\{ ?)?(hours?|hrs?|h|minutes?|mins?|days?|weeks?|years?|months?|feet|foot|ft|pounds?|lbs?) ?\}?,?"
                r" ?(?:\\text ?\{ ?and ?\}|and)? ?(?=[0-9])"), r"\\text{\1} "),
    (re.compile(r"\b(?:np|math|numpy|sympy)\.(?=[a-z])"), ""),
    (re.compile(r"(?<![\w.,])[1-9][0-9]{0,2}(?: [0-9]{3})+(?![\w,]| ?/)"), lambda m: m.group().replace(" ", "")),
    (re.compile(r"(?<![\w.,])[0-9]{1,3}(?:\.[0-9]{3}){2,}(?![\w.,])"), lambda m: m.group().replace(".", "")),
    (re.compile(r"(?<=[0-9]) ?(?:\\text ?\{ ?)?(hundred|thousand|million|billion|trillion)\b(?! ?\})"
                r"|(?<=[0-9]) ?\\text ?\{ ?(hundred|thousand|million|billion|trillion) ?\}"),
     lambda m: rf" \times 10^{{{_SCALES[m[1] or m[2]]}}} " + r"\text{" * ("{" in m[0] and not m[2])),
    (re.compile(r"(?<=[0-9])(?: ?\^ ?\{? ?\\text ?\{ ?(?:st|nd|rd|th) ?\} ?\}?|\^\{(?:st|nd|rd|th)\}"
                r"| ?\\text ?\{ ?(?:st|nd|rd|th) ?\}|(?:st|nd|rd|th)\b)"), ""),
    (re.compile(r"(?<![\w:.])([0-9]{1,2}) ?(?:\\text ?\{ ?)?([aApP])\.? ?[mM]\b\.? ?\}?"), r"\1:00\\text{\2m}"),
    (re.compile(r"(?<=:[0-9]{2}) ?(?:\\text ?\{ ?)?([aApP])\.? ?[mM]?\b\.* ?\}?"), r"\\text{\1m}"),
    (re.compile(r"\A ?([0-9]{1,9}) ?(?:\\text ?\{ ?(?:out of|in) ?\}|out of|in) ?([0-9]{1,9})(?![0-9.,/^!%])"),
     lambda m: rf"\frac{{{m[1]}}}{{{m[2]}}}" if int(m[1]) <= int(m[2]) else m.group()),
    (re.compile(r"(?<=[0-9]) ?(?:\\text ?\{ ?to ?\}|\bto\b) ?(?=[0-9])"), ":"),
    (re.compile(r"\A ?\\text ?\{ ?(?i:(?:the )?(?:final )?answer(?: is)? ?:?|option|choice) ([^{}]*)\}"), r"\1"),
    (re.compile(r"\A ?(?:[Oo]ption|[Cc]hoice|[Aa]nswer) ?:? (?=\(?[A-J]\b)"), ""),
    (re.compile(r"\A ?(?:=>|->|⇒|→|∴|\\(?:Rightarrow|implies|therefore|rightarrow|to)(?![a-z]))+"), ""),
    (re.compile(r"(?<![0-9])([0-9]{1,4}) ?\(([A-Za-z][A-Za-z -]{2,30})\) ?\Z"),
     lambda m: m[1] if word_value(m[2].casefold()) == int(m[1]) else rf"{m[1]}\text{{{m[2]}}}"),
    (re.compile(r"\A ?(?:approximately|approx\.?|about|roughly|exactly) "), ""),
    (re.compile(rf"\A ?((?![^=]{{0,200}}{_OF_A_QUESTION})(?:[A-Za-z]+ ){{0,4}}(?!sqrt|sin|cos|tan|log|exp|arc)(?=[A-Za-z]*[aeiouAEIOU])[A-Za-z]{{4,}}"
                r"(?: [A-Za-z]+)?) ?=(?!=)"), r"\\text{\1}="),
    (re.compile(r"\A ?\\text ?\{(?=[^{}]{0,80}[A-Za-z]{2})[^{}]{0,80}\b(?:is|are|:) ?\} ?:? ?"), ""),
    (re.compile(r"[,;]? ?(?:\\text ?\{)?[ ,(]{0,3}\b(?:where|for)\b([^=<>{}]{0,60}\binteger[^=<>{}]{0,30}\}?"
                r"[^=<>]{0,20})\Z"), lambda m: "".join(rf", {name} \in {_integers(m[1])}" for name in _LONE.findall(m[1])[:1])),
    (re.compile(r"<="), r"\\le "),
    (re.compile(r">="), r"\\ge "),
    (re.compile(r"!="), r"\\ne "),
    (re.compile(r"=="), "="),
]  # fmt: skip
_OPEN_ENDS = re.compile(r" ?([\[\]])([^\[\](),;]+[,;][^\[\](),;]+)([\[\]]) ?")
_WORD_UNIT = re.compile(r"(?<=[0-9}\])!]) ([A-Za-z]{2,}\.?(?:[ /]\.?[A-Za-z]+\.?){0,3}(?: ?\^ ?\{?[23]\}?)?) ?\Z")
_GLUED_UNIT = re.compile(r"(?<=[0-9])((?:cm|mm|km|kg|mg|mph|ft|lbs?|hrs?|min|sec|mL|ml)(?: ?\^ ?\{?[23]\}?)?) ?\Z")
_GLUED_WORD = re.compile(r"(?<=[0-9])([A-Za-z]{3,20}) ?\Z")
_SHORT_UNIT = re.compile(r"(?<=[0-9]) ([mgshLNJWVKAC](?:/[smh])?(?: ?\^ ?\{?[23]\}?)?) ?\Z")
_NOT_A_UNIT = re.compile(
    r"\b(?:or|and|pi|sqrt|sin|cos|tan|ln|log|exp|e|i|x|y|is|to|union|mod|not|over|if|inf|infinity)\b"
)
_LONE_ARGUMENT = re.compile(r"([_^])\{(\w)\}(?!\w)")
_LETTERED = re.compile(r"\(?[A-J][).:] ")  # (B) an ellipse
_ENDLESS = re.compile(r"\.[0-9]+ ?\.{3,}\Z")
_LOOSE_SPACE = re.compile(r" (?![A-Za-z0-9])|(?<![A-Za-z0-9]) ")


def _ascii_digit(char: str) -> str:
    digit = unicodedata.decimal(char, None)
    return char if digit is None else str(digit)


def _mark_unit(text: str) -> str:
    """Plain words behind a number become a \\text unit, which the parser may drop."""
    if _LETTERED.match(text):
        return text
    for pattern in (_WORD_UNIT, _GLUED_UNIT, _SHORT_UNIT):
        match = pattern.search(text[-60:])
        if match is None and pattern is _GLUED_UNIT and (match := _GLUED_WORD.search(text[-60:])):
            match = match if known_units(match.group(1)) else None
        if match and pattern is _WORD_UNIT and not is_word(re.match("[A-Za-z]+", match.group(1))[0]):
            continue  # 3 ab, 6 xyz
        if match and not _NOT_A_UNIT.search(match.group(1)):
            words, _, power = match.group(1).partition("^")
            begin = len(text) - len(text[-60:]) + match.start()
            return f"{text[:begin]}\\text{{{words}}}" + (f"^{power.strip()}" if power else "")
    return text


def _round_ends(text: str) -> str:
    """`]1, 2[` as `(1, 2)`."""
    stripped = text.strip()
    if not (stripped.startswith("]") or stripped.endswith("[")):
        return text
    parts = [_OPEN_ENDS.fullmatch(part) for part in text.split(r"\cup")]
    if None in parts:
        return text
    ends = [("[" if p[1] == "[" else "(", "]" if p[3] == "]" else ")") for p in parts]
    return r"\cup ".join(f"{left}{p[2]}{right}" for p, (left, right) in zip(parts, ends, strict=True))


def _check_length(text: str) -> None:
    if len(text) > MAX_ANSWER_CHARS:
        raise TooLarge(f"an answer of {len(text)} characters; at most {MAX_ANSWER_CHARS} are read")


def _one_space(text: str) -> str:
    """A single space for each run of whitespace."""
    return _SPACE.sub(" ", text)


def _replaced(text: str, spellings: list) -> str:
    for pattern, spelling in spellings:
        text = pattern.sub(spelling, text)
        if "  " in text:
            text = _SPACE.sub(" ", text)
    return text


@lru_cache(maxsize=4_096)  # a gold is compared with itself when it is checked, and then with each response
def normalise(answer: str) -> str:
    """One spelling for one answer. Raises TooLarge where it is too long to be one."""
    _check_length(answer)
    text = _one_space(answer.translate(_TABLE))
    if not answer.isascii():
        text = text.replace("}^{", "").replace("}_{", "")  # 10⁻⁶ was translated one character at a time
        text = _one_space("".join(map(_ascii_digit, unicodedata.normalize("NFKC", text))))
        _check_length(text)
    if "\\" in text or "~" in text or "{" in text:
        text = _THOUSANDS.sub("", _DECIMAL_COMMA.sub(".", text))
        if _ALIGNED.search(text):
            text = _ALIGNED.sub("", text).replace("&", "")
        if _DOUBLED.search(text) and not _SINGLE.search(text):
            text = text.replace("\\\\", "\\")  # escaped once too often, as in JSON
        text = _one_space(_SPACES.sub(" ", text))
        text = _replaced(text, _LATEX)
        text = _DEGREE_SCALE.sub("", text)
        text = _GIVEN.sub(_given, text, count=1)
        text = _IN_BRACKETS.sub(r", \1", text)
    text = _replaced(text.replace("$", ""), _PLAIN)
    text = text.strip().rstrip("\\ ").lstrip("=: ")
    text = text if _ENDLESS.search(text) else text.rstrip(".,;: ").strip()
    return _mark_unit(_round_ends(_unwrapped(text)))


def _unwrapped(text: str) -> str:
    """Without braces around the whole."""
    while text.startswith("{") and text.endswith("}") and "{" not in text[1:-1] and "}" not in text[1:-1]:
        text = text[1:-1].strip()
    return text


def squeeze(text: str) -> str:
    """The text without spaces and braces that cannot matter: x^{2} is x^2, but `1 1/2` keeps its space."""
    return _LOOSE_SPACE.sub("", _LONE_ARGUMENT.sub(r"\1\2", text))
