r"""What a sentence claims: the answer in "the largest $n$ is 34", nothing in "less than 8", "not 7" or "half of 8".

A number is only cut out of its sentence where no word beside it changes it: a false claim is worse than a missed one.
"""

import re

from lte_jax.host.answers.phrases import COPULA, COUNTED, ENDING, FOREIGN, SCALE, UNSAFE, UNSAFE_AFTER, UNSAFE_BEFORE
from lte_jax.host.answers.sentences import (
    NUMBER,
    SHARE,
    Run,
    formulas,
    is_changed,
    is_sentence,
    number_there,
    sentence_end,
    unknown_words,
)  # fmt: skip

_MAX_CHARS = 4_000
_LEFT_CHARS = 64  # before a verb that may be negated
_FILLERS = (
    "approximately about simply exactly therefore thus then hence so equal\\sto indeed just only clearly given\\sby "
    "definitely certainly obviously probably likely option choice letter either that(?=\\s) still again actually really"
).split()
_FILLER = re.compile(
    rf"(?i)(?:{'|'.join(_FILLERS)}|(?:=|:|\\boxed)(?!\{{)),?\s{{0,3}}(?!\w{{0,20}}['’])"
)  # fmt: skip
_NOT_BUT = re.compile(r"(?i)not\s[^.\n]{1,60}?,?\s(?:but|rather)\s(?:rather\s)?")
_QUOTES = ("'", "`")
_OPENERS = ("$", "\\(", "\\[")
_MONEY = re.compile(
    r"\$\s?[0-9][0-9,]*(?:\.[0-9]+)?(?![0-9^_*/+=\\{}<>-])(?=\s+[A-Za-z]{2}|[.,;!]?(?:\s|\Z))"
)  # fmt: skip
_MINUS = re.compile(r"(?i)\A(?:negative|minus)\s(?=[0-9$])")
_DIGIT = re.compile(r"[0-9]")
_FOREIGN = re.compile(FOREIGN)
_MATH_START = re.compile(r"[-+±$€£(\[{\\0-9.|]")
_NUMBER_FIRST = re.compile(
    r"(?P<number>[-+]?[$€£]?(?:[0-9][0-9,]*(?:\.[0-9]+)?|\.[0-9]+)(?:/[0-9]+)?\\?%?)(?P<rest>\D.*)?", re.DOTALL
)
_AFTER_UNIT = re.compile(
    r"\s(?:of|in|for|to|that|left|altogether|total|at|on|with|remaining|each|from|who|whose|ways? to|there|you|we|he"
    r"|she|they|it)\b"
)
_LETTER_FIRST = re.compile(r"\(?([A-J])\)?,\s(?=[a-z]{1,12}\s[a-z])")
_NAME_FIRST = re.compile(r"([A-Z][a-z]{1,20}(?: [A-Z][a-z]{1,20}){0,2}), (?:the|an?) [a-z][^0-9$]{0,200}\Z")
_LONE_LETTER = re.compile(r"(?<![\w$\\])\(?([A-HJ])\)?(?![\w'’])")
_ANOTHER_COUNT = re.compile(r"(?:[,;]|\band\b)\s{0,3}[-$]?[0-9]")
_ASIDE = re.compile(r"\s\(([A-Za-z][A-Za-z -]{1,40})\)\Z")
_IS_THE_ANSWER = re.compile(
    r"(?i)\s(?:is|are) (?:the|our|my) (?:[a-z]{1,12} ){0,2}(?:answers?|solutions?|result|value)\Z"
)


def claim(tail: str, complete: bool = True) -> str | None:
    """The answer that the beginning of `tail` states, or None. `complete`: no more text was to come."""
    text = tail[:_MAX_CHARS].lstrip()
    if match := _NOT_BUT.match(text):
        text = text[match.end() :]
    for _ in range(6):
        filler = _FILLER.match(text)
        if not filler or filler.end() == len(text):
            break
        text = text[filler.end() :].lstrip()
    text = text.removeprefix("\\") if text.startswith("\\$") else text
    if text.startswith(_OPENERS) and not _MONEY.match(text):
        if (run := formulas(text, first_only=True)) and run.begin == 0:
            return _formula_claim(text, run, complete)
        if not complete:
            return None
        text = text.lstrip("$").removeprefix("\\(").removeprefix("\\[").lstrip()  # never closed
    end = sentence_end(text)
    if not complete and (end is None or end + 1 >= len(text.rstrip(" "))):
        return None
    return _sentence_claim(text if end is None else text[:end], depth=0)


def _formula_claim(text: str, run: Run, complete: bool) -> str | None:
    """Of `$n$ is 34` what follows; of `$5$ or more` nothing."""
    stop = sentence_end(text[run.end :])
    if not complete and stop is None:
        return None
    sentence = (text[run.end :] if stop is None else text[run.end : run.end + stop]).lstrip()
    if len(run.contents) == 1 and (copula := COPULA.match(sentence)):
        return _sentence_claim(sentence[copula.end() :], depth=1)
    return None if UNSAFE_AFTER.match(text, run.end) else run.text


def _sentence_claim(sentence: str, depth: int) -> str | None:
    answer = sentence.lstrip(' *_,;:"“”').rstrip(' *_.,;:"“”')
    if answer[:1] in _QUOTES and answer[:1] == answer[-1:]:
        answer = answer[1:-1]
    if answer.count("}") > answer.count("{"):  # {"answer": 7}
        answer = answer.rstrip('} "')
    if answer.count("$") == 1 and not _MONEY.match(answer):
        answer = answer.replace("$", "").strip()
    answer = _MINUS.sub("-", ENDING.sub("", answer))
    if not answer:
        return None
    if (letter := _LETTER_FIRST.match(answer)) and not _LONE_LETTER.search(answer, letter.end()):
        return letter[1]  # B, a safe choice
    if name := _NAME_FIRST.match(answer):
        return name[1]  # Paris, the capital of France
    if not unknown_words(answer) or SHARE.fullmatch(answer):
        return answer
    if first := _NUMBER_FIRST.fullmatch(answer):
        return _counted(answer, first)
    if UNSAFE.search(answer.partition("(")[0]) and _is_definite(answer):
        return None if depth else _right_side(answer, depth, plain_left=True)
    return _right_side(answer, depth) or _inside(answer)


def _inside(answer: str) -> str | None:
    """The only formula or number of a sentence; of words without either the words themselves."""
    if run := formulas(answer, first_only=True):
        return None if is_changed(answer, run.begin, run.end) else run.text
    if _MATH_START.match(answer) or not _DIGIT.search(answer):
        return answer
    return _only_number(answer) or (None if UNSAFE.search(answer) or is_sentence(answer) else answer)


def _is_definite(answer: str) -> bool:
    """Is there a value in it that a word could change? "not possible" is an answer in words."""
    return bool(_DIGIT.search(answer) or "$" in answer or "\\" in answer or _LONE_LETTER.search(answer))


def _right_side(answer: str, depth: int, plain_left: bool = False) -> str | None:
    """Of "the largest n is 34" the 34. `plain_left`: only where no number stands on the left."""
    copulas = list(COPULA.finditer(answer)) if depth < 2 else []
    if not copulas or not copulas[-1].start():
        return None
    left, right = answer[: copulas[-1].start()], answer[copulas[-1].end() :].strip()
    if left.count("$") % 2 and "$" in right:  # the sign stands inside a formula
        return None
    if UNSAFE_BEFORE.search(left[-_LEFT_CHARS:]) or (plain_left and _DIGIT.search(left)):
        return None
    if UNSAFE.match(right) or not _is_definite(right):
        return None
    if right.startswith(_OPENERS) and (run := formulas(right, first_only=True)) and run.begin == 0:
        return None if UNSAFE_AFTER.match(right, run.end) else run.text
    return _sentence_claim(right, depth + 1)


def _counted(answer: str, first: re.Match) -> str | None:
    """A number with what is counted: `3 apples`, `42个`, `8 of them`; None for `8 squared` or `8 or more`."""
    number, rest = first["number"], first["rest"] or ""
    if not unknown_words(rest):
        return answer
    if _IS_THE_ANSWER.match(rest):
        return number
    aside = _ASIDE.search(rest)
    if aside and not (UNSAFE.search(aside[1]) or UNSAFE_AFTER.match(aside[1])):
        answer, rest = answer[: len(answer) - len(aside.group())], rest[: aside.start()]
        if not rest.strip():
            return number
    scale = SCALE.match(rest)
    number, words = (number + scale.group(), rest[scale.end() :]) if scale else (number, rest)
    if not words.strip():
        return answer
    if UNSAFE_AFTER.match(answer, len(number)):
        return None
    if COUNTED.match(words):
        return number
    if _FOREIGN.search(words):
        unclear = UNSAFE.search(words) or _DIGIT.search(words) or not words.startswith(" ")
        return None if unclear else number
    if UNSAFE.search(words.partition("(")[0]) or _ANOTHER_COUNT.search(words):
        return None
    cut = _AFTER_UNIT.search(words)
    if cut is None:
        return answer
    return None if _DIGIT.search(words) else (number + words[: cut.start()]).strip()


def _only_number(answer: str) -> str | None:
    """The only number of a sentence, if nothing in the sentence changes it."""
    found = list(NUMBER.finditer(answer))
    if len(found) != 1 or UNSAFE.search(answer) or is_changed(answer, *found[0].span()):
        return None
    return number_there(answer, found[0])
