"""The parts of a sentence that may be its answer: formulas, numbers with their expression, and where it ends."""

import re
from typing import NamedTuple

from lte_jax.host.answers.markers import in_ascii, last_markers
from lte_jax.host.answers.phrases import FOREIGN, SCALE, UNSAFE_AFTER, UNSAFE_BEFORE
from lte_jax.host.answers.tokens import FUNCTIONS, GREEK, WORDS

_WINDOW = 64  # characters before a number that may change it
_SENTENCE = 240  # characters of its sentence before it
_WHY = "because since which where so as and\\sthe and\\snot hence thus therefore although though".split()
_WHO = "he she we they it you the there this that his her its so".split()
_END = re.compile(
    rf"\.(?=\s|\Z)|\n|。|(?:\?|(?<![0-9)])!)(?=\s|\Z)|(?i:[,;]?\s\(?(?:{'|'.join(_WHY)})\b"
    r"|[,;]\sbut\b|,\s(?:i\.e|e\.g|that is|namely)\b|;\s(?=(?!and\b)[a-z]{3,12}\s)|\s[—–]\s(?=[A-Za-z]{2})"
    r"|(?:[,;]|(?<=[0-9$)}A-J]))\s(?:not|rather than|instead of)\b"
    rf"|(?<=[0-9$)}}])[,;]\s(?:and|then|while)\s(?:{'|'.join(_WHO)})\b)|(?<=\S)\.?\*\*|</|[,;]\s?(?={FOREIGN})"
)
_FORMULA = re.compile(
    r"\$\$([^$]{1,2000})\$\$|\$([^$\n]{1,1000})\$|\\\((.{1,1000}?)\\\)|\\\[(.{1,2000}?)\\\]", re.DOTALL
)
_GAP = re.compile(r"\s{0,3}(?:,|;|and|or|, and|, or|和|或|и|или|et|ou|y|und|oder|e)?\s{0,3}\Z")
_OR = re.compile(r"or|或|или|ou|oder")
NUMBER = re.compile(
    r"(?<![A-Za-z0-9_.])-?[$€£]?(?:[0-9][0-9,]*(?:\.[0-9]+)?|\.[0-9]+)(?:[eE][+-]?[0-9]+|/[0-9]+)?\\?%?"
)
SHARE = re.compile(r"[0-9]{1,9} out of [0-9]{1,9}")
_COMPARED_WITH = re.compile(r"(?:[<>≤≥≠]=?|!=|\\(?:leq?|geq?|lt|gt|neq?))\s{0,2}\Z")
_ASIDE = re.compile(r"\s\((?:since|because|as|where|for|with|which|not|i\.e\.|so)\s[^()\n]{1,200}\)")
_SUPPOSED = re.compile(
    r"(?i)(?:\A|[.;:!?]\s)\s{0,3}(?:so |now |then )?(?:if|let(?:['’]s| us)?|suppose|assume|assuming"
    r"|consider|try|guess|imagine|what if|whether)\b(?![^.;!?]{0,200}(?:,|\bthen\b|\bso\b))[^.;!?]{0,200}\Z"
    r"|\b(?:students?|people|many|some|others?|most|they)\b[^.;,!?]{0,30}"
    r"\b(?:answer|say|think|guess|claim|believe)s?\s{0,2}\Z"
)
_ONLY_A_GUESS = re.compile(
    r"(?i)\sis (?:a|the) (?:common|usual|popular|typical|wild|naive|first) (?:guess|mistake|error|answer|choice)\b"
)
_REST_OF_EXPRESSION = re.compile(r"[)\]}^*/!%°π√²³A-Za-z0-9\\{(]*")
_OPERATORS = frozenset({"+", "-", "*", "/", "^", "×", "·", "÷", "−", "\\times", "\\cdot", "\\div"})
_JOINTS = _OPERATORS | frozenset(FUNCTIONS) | {"or"}
_OPERATOR_BEFORE = re.compile(
    rf"(?:[-+*/^×·÷−]|\\(?:times|cdot|div)|(?<![^\W_])(?:{'|'.join(FUNCTIONS)}))\s{{1,2}}\Z|[0-9]\s?x\s\Z"
)
_LISTED = re.compile(r"[-$(]?[0-9][0-9./]*,?")
_COMMAND = re.compile(r"\\[A-Za-z]+\s?(?:\{[A-Za-z ]*\})?|\\.|[A-Za-z]'?_\{?[A-Za-z0-9]+\}?")
_LETTERS = re.compile(rf"[A-Za-z]{{2,}}|{FOREIGN}")
_KNOWN_WORDS = (frozenset(FUNCTIONS) - {"factorial"}) | GREEK | frozenset(WORDS)
_KNOWN_WORDS |= {"U", "mod", "cm", "mm", "km", "kg", "degrees", "np"}
_STATES = re.compile(
    r"(?i)(?<![\w\\])(?:is|are|was|were|equals|has|have|had|gives|makes|made|earns|needs|will|can|should"
    r"|must)(?![\w'’])"
)
_GROUP = re.compile(r"\\[A-Za-z]+\*?\s?(?:\{[A-Za-z ,.:'-]*\})?|\$[^$]*\$")
_CONDITION = re.compile(r"(?i)\b(?:where|for|with|if|when|such that|except)\b")
_PROSE_WORD = re.compile(rf"[A-Za-z][A-Za-z'-]+|{FOREIGN}{{2,}}")


class Run(NamedTuple):
    """Formulas joined by commas or words: their contents, where they begin and end, and whether "or" joins them."""

    contents: tuple[str, ...]
    begin: int
    end: int
    alternatives: bool

    @property
    def text(self) -> str:
        return (" or " if self.alternatives else ", ").join(self.contents)


def unknown_words(text: str) -> list[str]:
    """Words and letters of other scripts that are neither mathematics nor a short unit."""
    return [word for word in _LETTERS.findall(_COMMAND.sub(" ", text)) if word not in _KNOWN_WORDS]


def is_sentence(text: str) -> bool:
    """Is it prose that states an answer, and not the answer itself with its conditions, "5, where a is real"?"""
    if last_markers(in_ascii(text), 1):
        return True
    plain = _CONDITION.split(_GROUP.sub(" ", text), maxsplit=1)[0]
    words = [word for word in _PROSE_WORD.findall(plain) if word not in _KNOWN_WORDS and not word.isupper()]
    return len(words) >= 6 or (len(words) >= 2 and _STATES.search(plain) is not None)


def without_asides(text: str) -> str:
    """Without reasons in brackets, `(since x > 0)`."""
    return _ASIDE.sub("", text)


def sentence_end(text: str) -> int | None:
    """Where the statement that a text begins with is over, its reasons left out; None where the text ends first."""
    end = _END.search(text)
    return end.start() if end else None


def formulas(text: str, first_only: bool) -> Run | None:
    """The first run of formulas joined by commas (`first_only`) or the last such run."""
    run: list[str] = []
    begin = end = 0
    alternatives = False
    for match in _FORMULA.finditer(text):
        content = next(part for part in match.groups() if part is not None).strip()
        if not content:
            continue
        gap = text[end : match.start()]
        if run and len(gap) < 16 and _GAP.match(gap):
            run.append(content)
            alternatives = alternatives or _OR.search(gap) is not None
        elif run and first_only:
            break
        else:
            run, begin, alternatives = [content], match.start(), False
        end = match.end()
    return Run(tuple(run), begin, end, alternatives) if run else None


def is_changed(text: str, begin: int, end: int) -> bool:
    """Does a word beside text[begin:end] change its value: "less than 8", "8 squared", "not 8", "8?"."""
    line = text[max(0, begin - _WINDOW) : begin].rpartition("\n")[2]
    scale = SCALE.match(text, end)
    end = scale.end() if scale else end
    return bool(UNSAFE_BEFORE.search(line) or _COMPARED_WITH.search(line) or UNSAFE_AFTER.match(text, end))


def is_supposed(text: str, begin: int, end: int) -> bool:
    """Is text[begin:end] only tried, or what others say: "let x = 3", "suppose it is 3", "most people say 3"?"""
    line = text[max(0, begin - _SENTENCE) : begin].rpartition("\n")[2]
    return bool(_SUPPOSED.search(line) or _ONLY_A_GUESS.match(text, end))


def last_number(text: str) -> re.Match | None:
    found = list(NUMBER.finditer(text))
    return found[-1] if found else None


def number_there(text: str, number: re.Match) -> str | None:
    """The expression that a number ends or stands in: of `so it is sqrt(2).` not 2 but sqrt(2); of `5, 6 and 7` all.
    None where an operator joins it to words."""
    if scale := SCALE.match(text, number.end()):
        return text[number.start() : scale.end()]
    start = text.rfind("\n", 0, number.start()) + 1
    end = _REST_OF_EXPRESSION.match(text, number.end()).end()
    words = text[start:end].split(" ")
    taken = [words.pop()]
    while words and (
        _open_brackets(" ".join(taken)) or words[-1] in _JOINTS or taken[0] in _OPERATORS or taken[0] == "or"
    ):
        taken.insert(0, words.pop())
    while len(words) > 1 and words[-1] in ("and", "or") and _LISTED.fullmatch(words[-2]):
        taken[:0] = words[-2:]
        del words[-2:]
    if len(taken) > 1 or sum(map(_is_item, words[-2:])) == 2:
        while words and _is_item(words[-1]):
            taken.insert(0, words.pop())
    expression = " ".join(taken).rpartition("=")[2].strip(" ,;:*_")
    if expression and not unknown_words(expression):
        return expression
    joined = _OPERATOR_BEFORE.search(text, max(start, number.start() - _WINDOW), number.start())
    return None if joined else number.group().rstrip(",")


def _is_item(word: str) -> bool:
    return word.endswith(",") and _LISTED.fullmatch(word) is not None


def _open_brackets(text: str) -> bool:
    """Does it close a bracket that it does not open?"""
    return any(text.count(close) > text.count(opening) for opening, close in ("()", "[]", "{}"))
