r"""Tables of spellings: what is written in many ways, and the one way in which the grammar reads it.

Each rule is a pattern, what replaces it, and an example. The rules of a table are applied in order, each once, to a
text whose runs of space are one space, so patterns say ` ?` and never meet a second one. All are linear
(tests/test_patterns.py).
"""

import re
from collections.abc import Callable

from lte_jax.host.answers.numerals import word_value

Rule = tuple[re.Pattern, str | Callable[[re.Match], str]]

_INVISIBLE = (
    "quad qquad displaystyle textstyle scriptstyle limits underline boxed fbox mathbf boldsymbol bm bold mathcal "
    "vec bf rm it sf tt cal tiny scriptsize footnotesize small normalsize large Large LARGE huge Huge mathord "
    "mathop mathstrut strut hfill enspace thinspace medspace thickspace negthinspace nobreak allowbreak nonumber "
    "notag hline smash ensuremath checkmark square blacksquare qed pounds euro"
).split()
SPACES = re.compile(  # commands of spacing, size and font, which change nothing
    rf"(?<!\\)\\(?:[!,;:> ]|(?:{'|'.join(_INVISIBLE)}|[bB]ig+[lr]?)(?![a-zA-Z])|(?:left|right)(?![a-z])\.?"
    r"|(?:h?phantom|tag|hspace)\{[^{}]*\}|(?:text)?color\{[A-Za-z]*\}|mathbb(?= ?\{ ?[0-9])|mathrm\{~?\})|~"
)
THOUSANDS = re.compile(r"(?<=[0-9])(?:\{,\}|,?\\[!,;: ]|\{\\,\}) ?(?=[0-9]{3}(?![0-9]))")
# Braces keep TeX from setting a comma as one between items: 3{,}5 is 3.5, but 3{,}500 is 3500
DECIMAL_COMMA = re.compile(r"(?<=[0-9])\{,\}(?=(?:[0-9]{1,2}|[0-9]{4,30})(?![0-9]))|(?<=\b0)\{,\}(?=[0-9])")

_NATURAL = re.compile("integer|natural")
_LONE_LETTER = re.compile(r"(?<![A-Za-z\\])[b-z](?![A-Za-z])")


def integers(words: str) -> str:
    """The set that words such as `positive integer` name."""
    if "natural" in words:
        return r"\mathbb{N}"
    if "negative" in words:
        return r"\mathbb{N}_0" if "non" in words else r"\mathbb{Z}^-"
    return r"\mathbb{Z}^+" if "positive" in words else r"\mathbb{Z}"


def given(match: re.Match) -> str:
    """`for any real x` as `, \\given x`, `where the positive integer k` as `, \\given \\mathbb{Z}^+ k`."""
    return r", \given " + (integers(match[1]) + " " if _NATURAL.search(match[1]) else "")


_TEXTS = r"\\(?:text(?:bf|it|rm|normal|sf|sc|tt|up|md)?|[mh]box|math(?:rm|sf|it|tt)|operatorname\*?|rm|emph)(?= ?\{)"
_IS_AN_INTEGER = (
    r"\\text ?\{ ?(?:is|are)(?: an?| any| all)?"
    r"((?: positive| negative| non-?negative)? integers?|(?: a)? natural numbers?) ?\}"
)
_FUNCTION_AS_TEXT = r"\\text ?\{ ?(a?r?c?(?:sin|cos|tan)h?|cot|sec|csc|ln|log|exp|cis|gcd|lcm|max) ?\}"
_RULES_OF_LATEX = [
    (r"(?:\b(?:US|CA|AU|C|A))?\\\$", ""),  # \$5
    (r"(?<![\\\]}A-Za-z^_])\{ ?\}", ""),  # {}8
    (r"\\cr(?:cr)?(?![a-z])|\\tabularnewline|(?<=\\\\)\[ ?[0-9.]{1,5} ?(?:pt|ex|em|mm|cm)\]", r"\\\\"),  # \\[3pt]
    (r"\\(?:dots[cbmio]?|cdots|hdots|textellipsis)(?![a-z])", r"\\ldots "),
    (r"\\in ?(?:\\mathbb)? ?\{? ?([ZNQRC]) ?\}?(?![A-Za-z])", r"\\in \\mathbb{\1}"),  # k \in Z
    (_IS_AN_INTEGER, lambda m: r"\in " + integers(m[1])),  # k \text{ is an integer}
    (r"\\text ?\{ ?([,;:]) ?\}", r"\1"),
    (r"\\text ?\{ ?(\([a-h]\)|\([ivx]{1,4}\))? ?\}", r"\1 "),  # \text{(a) }
    (r"\\(?:[dtc]|nice|s|x|flat)frac(?![a-z])", r"\\frac"),
    (r"\\[dt]binom(?![a-z])", r"\\binom"),
    (r"\{([^{}]*)\\choose(?![a-z])([^{}]*)\}", r"\\binom{\1}{\2}"),
    (r"\\(?:mathrm|operatorname) ?\{ ?([ei]) ?\}", r"\1 "),
    (_TEXTS, r"\\text"),
    (_FUNCTION_AS_TEXT, r"\\\1 "),  # \operatorname{arctan}
    (r"(?<![0-9])\\text ?\{ ?min ?\}", r"\\min "),  # 5\text{ min} is a time
    (r"\\text ?\{ ?([-+]?[0-9][^{}]*|[A-Z](?:(?: ?, ?| and | or )[A-Z])+)\}", r" \1 "),  # \text{12 cm}, \text{A, C}
    (r"\{:\}", ":"),
    (r"\\frac ?\{ ?\\text ?\{([^{}]*)\} ?\} ?\{ ?\\text ?\{([^{}]*)\} ?\}", r"\\text{\1/\2}"),  # m over s
    (r"\\(?:leqslant|leq|leqq)(?![a-z])", r"\\le"),
    (r"\\(?:geqslant|geq|geqq)(?![a-z])", r"\\ge"),
    (r"\\neq(?![a-z])|\\not ?=", r"\\ne"),
    (r"\\varnothing(?![a-z])", r"\\emptyset"),
    (r"\\var(?=phi|epsilon|theta)", r"\\"),
    (r"\\(?:simeq|thickapprox|doteq)(?![a-z])", r"\\approx"),
    (r"\\[lr]?Vert(?![a-z])", r"\\|"),
    (r"\\(?:backslash|smallsetminus)(?![a-z])|(?<=\\mathbb\{R\}) ?-(?= ?\\\{)", r"\\setminus "),
    (r"\\(?:lvert|rvert|vert|mid)(?![a-z])(?=[^{}]{0,99}\\[lr]?vert)|\\[lr]?vert(?![a-z])", "|"),
    (r"\\measuredangle(?![a-z])", r"\\angle"),
    (r"\^ ?\{ ?\\circ ?\}|\^ ?\\circ(?![a-z])|\\degrees?(?![a-z])", r"\\degree "),
    (r"\\text ?\{ ?degrees? ?\}", r"\\degree "),
    (r"\\%|\\text ?\{ ?(?:percent|per cent|pct\.?|%|\\%) ?\}", "%"),
    (r"\$|\\\(|\\\)|\\\[|\\\]", ""),
    (r" ?\( ?\\text ?\{ ?(?:since|because|as) ?\}[^()]{0,80}\) ?\Z", ""),  # x = 3 (\text{since } x > 0)
    (r"\^ ?\\prime(?![a-z])|\^ ?\{ ?\\prime ?\}", "'"),
]
LATEX: list[Rule] = [(re.compile(pattern), spelling) for pattern, spelling in _RULES_OF_LATEX]
DEGREE_SCALE = re.compile(r"(?<=\\degree ) ?(?:\\text ?\{ ?[CF] ?\}|[CF]\b)")  # 20 degrees C
GIVEN = re.compile(  # f(x) = 3x \text{ for all real } x
    r"[,;]? ?\(?\\text ?\{[ ,(]{0,2}(?:for|where|with|when|if|provided that|such that)"
    r"((?: (?:all|any|every|some|each|an?|real|positive|negative|non-?negative|non-?zero|arbitrary|fixed|integers?"
    r"|constants?|numbers?|natural|values?|of)){0,6})[ ,]{0,2}\} ?"
)
CONDITION_IN_BRACKETS = re.compile(  # 1/x (x \ne 0)
    r"(?<=[A-Za-z0-9)\]}]) ?\(([^()]{1,60}?(?:\\in|\\ne|\\le|\\ge|[<>])(?![a-z])[^()]{1,60})\) ?\.?\Z"
)

_DOTS = r"(?<=[,+*/(\[-]) ?\.{2,}(?= ?[,+)\]\\*/-]|\Z| )|(?<=[,+]) ?\.{3,}|(?<=\\cdot) ?\.{3,}|(?<=\\times) ?\.{3,}"
_ABOUT = r"\\text ?\{ ?(?:,|or|which is|i\.e\.)? ?(?:about|approximately|approx\.?|roughly) ?\}(?=.)"
_REALS_EXCEPT = (
    r"(?:\\text ?\{ ?)?(?i:(?:the )?(?:set of )?all real(?: number)?s?(?: [a-z])?,? except(?: for| when)?) ?\}?"
    r" ?(?:[a-z] ?= ?)?([^{}]{1,60})\Z"
)
_EXCEPT = r"(?<=[)\]}]) ?,? ?(?:\\text ?\{ ?)?except(?: for| at)? ?\}? ?(?:[a-z] ?= ?)?([^{}]{1,60})\Z"
_REMAINDER = (
    r"(?<=[0-9A-Za-z)}!]) ?(?:\\b?mod|(?<![A-Za-z\\])mod|\\text ?\{ ?mod ?\})(?![A-Za-z]) ?(?=[0-9({A-Za-z\\])"
)
_MODULUS = r"\(?(?:\\text ?\{)?[ (]{0,3}\\?[pb]?mod(?:[ {(}]|\\text ?\{){0,6}([0-9]{1,9})[ )}]{0,6}"
_FIRST_OF_TWO_UNITS = (
    r"(?<=[0-9]) ?(?:\\text ?\{ ?)?(hours?|hrs?|h|minutes?|mins?|days?|weeks?|years?|months?|feet|foot|ft|pounds?|lbs?)"
    r" ?\}?,? ?(?:\\text ?\{ ?and ?\}|and)? ?(?=[0-9])"
)
_SCALES = {"hundred": 2, "thousand": 3, "million": 6, "billion": 9, "trillion": 12}
_SCALE = (
    rf"(?<=[0-9]) ?(?:\\text ?\{{ ?)?({'|'.join(_SCALES)})\b(?! ?\}})"
    rf"|(?<=[0-9]) ?\\text ?\{{ ?({'|'.join(_SCALES)}) ?\}}"
)
_ORDINAL = (
    r"(?<=[0-9])(?: ?\^ ?\{? ?\\text ?\{ ?(?:st|nd|rd|th) ?\} ?\}?|\^\{(?:st|nd|rd|th)\}"
    r"| ?\\text ?\{ ?(?:st|nd|rd|th) ?\}|(?:st|nd|rd|th)\b)"
)
_SHARE = r"\A ?([0-9]{1,9}) ?(?:\\text ?\{ ?(?:out of|in) ?\}|out of|in) ?([0-9]{1,9})(?![0-9.,/^!%])"
_ANSWER_AS_TEXT = r"\A ?\\text ?\{ ?(?i:(?:the )?(?:final )?answer(?: is)? ?:?|option|choice) ([^{}]*)\}"
_ARROWS = r"\A ?(?:=>|->|⇒|→|∴|\\(?:Rightarrow|implies|therefore|rightarrow|to)(?![a-z]))+"
_OF_A_QUESTION = r"\b(?i:find|such|that|let|suppose|if|solve|when|where|given|determine|compute|prove)\b"
_NAME_IN_WORDS = (
    rf"\A ?((?![^=]{{0,200}}{_OF_A_QUESTION})(?:[A-Za-z]+ ){{0,4}}(?!sqrt|sin|cos|tan|log|exp|arc)"
    r"(?=[A-Za-z]*[aeiouAEIOU])[A-Za-z]{4,}(?: [A-Za-z]+)?) ?=(?!=)"
)
_STATED_AS_TEXT = r"\A ?\\text ?\{(?=[^{}]{0,80}[A-Za-z]{2})[^{}]{0,80}\b(?:is|are|:) ?\} ?:? ?"
_WHERE_AN_INTEGER = (
    r"[,;]? ?(?:\\text ?\{)?[ ,(]{0,3}\b(?:where|for)\b([^=<>{}]{0,60}\binteger[^=<>{}]{0,30}\}?[^=<>]{0,20})\Z"
)


def _in_powers_of_ten(match: re.Match) -> str:
    opened = r"\text{" * ("{" in match[0] and not match[2])  # 5 \text{ million people}
    return rf" \times 10^{{{_SCALES[match[1] or match[2]]}}} {opened}"


def _share(match: re.Match) -> str:
    part, whole = match.groups()
    return rf"\frac{{{part}}}{{{whole}}}" if int(part) <= int(whole) else match.group()


def _without_words(match: re.Match) -> str:
    number, words = match.groups()
    return number if word_value(words.casefold()) == int(number) else rf"{number}\text{{{words}}}"


def _domain(match: re.Match) -> str:
    return "".join(rf", {name} \in {integers(match[1])}" for name in _LONE_LETTER.findall(match[1])[:1])


_RULES_OF_TEXT = [
    (_DOTS, r"\\ldots "),
    (r"\( ?\\approx ?([^()]{1,40})\)(?= ?[.,]?\Z)", r"\\approx \1"),  # 5\pi (\approx 15.7)
    (_ABOUT, r"\\approx "),  # 5\pi \text{ or about } 15.7
    (_REALS_EXCEPT, r"\\mathbb{R} \\setminus \\{\1\\}"),  # all real numbers except -4
    (_EXCEPT, r"\\setminus \\{\1\\}"),  # (0, 7] except 2
    (r"(?<=[\w)\]}])(?:\*\*(?=[\w({\\-])| \*\* (?=[\w({\\-]))", "^"),  # x**2
    (r"\*\*|`|\"", ""),
    (r"(?<=[0-9]) ?degrees?\b", r"\\degree "),
    (r"(?<=[0-9}]) ?(?:percent|per cent|pct)\b\.?", "%"),
    (_REMAINDER, lambda m: m.group() if r"\equiv" in m.string else r" \modulo "),  # 17 \bmod 5
    (_MODULUS, r"\\text{mod \1}"),  # 2 \pmod{5}
    (r"\bUSD\b|^ ?Rs\.?(?= ?[0-9])", ""),
    (r"(?<=[\])]) ?U ?(?=[\[(])", r"\\cup "),  # (1, 2) U (3, 4)
    (_FIRST_OF_TWO_UNITS, r"\\text{\1} "),  # 2 hours and 30 minutes
    (r"\b(?:np|math|numpy|sympy)\.(?=[a-z])", ""),
    (r"(?<![\w.,])[1-9][0-9]{0,2}(?: [0-9]{3})+(?![\w,]| ?/)", lambda m: m.group().replace(" ", "")),  # 10 000
    (r"(?<![\w.,])[0-9]{1,3}(?:\.[0-9]{3}){2,}(?![\w.,])", lambda m: m.group().replace(".", "")),  # 1.000.000
    (_SCALE, _in_powers_of_ten),  # 2.5 million
    (_ORDINAL, ""),  # 5th
    (r"(?<![\w:.])([0-9]{1,2}) ?(?:\\text ?\{ ?)?([aApP])\.? ?[mM]\b\.? ?\}?", r"\1:00\\text{\2m}"),  # 3 p.m.
    (r"(?<=:[0-9]{2}) ?(?:\\text ?\{ ?)?([aApP])\.? ?[mM]?\b\.* ?\}?", r"\\text{\1m}"),  # 4:30 PM
    (_SHARE, _share),  # 3 out of 8
    (r"(?<=[0-9]) ?(?:\\text ?\{ ?to ?\}|\bto\b) ?(?=[0-9])", ":"),  # 3 to 2
    (_ANSWER_AS_TEXT, r"\1"),  # \text{Answer: 12}
    (r"\A ?(?:[Oo]ption|[Cc]hoice|[Aa]nswer) ?:? (?=\(?[A-J]\b)", ""),  # Option B
    (_ARROWS, ""),  # => 5
    (r"(?<![0-9])([0-9]{1,4}) ?\(([A-Za-z][A-Za-z -]{2,30})\) ?\Z", _without_words),  # 5 (five)
    (r"\A ?(?:approximately|approx\.?|about|roughly|exactly) ", ""),
    (_NAME_IN_WORDS, r"\\text{\1}="),  # Total area = 5
    (_STATED_AS_TEXT, ""),  # \text{The answer is } 5
    (_WHERE_AN_INTEGER, _domain),  # 2n\pi, where n is an integer
    (r"<=", r"\\le "),
    (r">=", r"\\ge "),
    (r"!=", r"\\ne "),
    (r"==", "="),
]
TEXT: list[Rule] = [(re.compile(pattern), spelling) for pattern, spelling in _RULES_OF_TEXT]
