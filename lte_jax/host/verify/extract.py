r"""Find the final answer in a response, and say which rule found it. Linear time; only the last part is searched.

In order: the last box, the <answer> tag, "the answer is", a response that is nothing but an answer, the last formula,
number or choice. A truncated response is graded only by an answer that is complete: a closed box, a closed tag or a
finished sentence after a marker.
"""

import re
from dataclasses import dataclass

from lte_jax.host.verify.limits import MAX_ITEMS, MAX_RESPONSE_CHARS
from lte_jax.host.verify.tokens import FUNCTIONS, GREEK, WORDS


@dataclass(frozen=True)
class Found:
    """`answer` as written; `several` are all the boxes, or all the formulas of the last sentence, for a list."""

    answer: str
    rule: str
    several: tuple[str, ...] = ()


_BOX_TOKEN = re.compile(r"(?:\\|\x08)?(?:boxed|fbox)\s*\{|\x08oxed\s*\{|\\.|[{}]", re.DOTALL)
_BARE_BOX = re.compile(r"\\boxed\s*([-+]?[0-9][0-9.,/]*|[A-Za-z](?![A-Za-z{]))")
_TAG_OPEN, _TAG_CLOSE = "<answer>", "</answer>"
_VERB = r"(?:is|are|was|be|equals?|must be|should be|would be|will be|comes? out to(?: be)?|turns out to be)\b|[:=]"
_MARKER = re.compile(
    r"(?i)(?:\b(?:answers?|option|choice)\b[*_]{0,3}(?:,\s(?:then|therefore|thus|hence),)?\s{0,3}(?:(?:to|for|of)\s[^.\n]{1,80}?\s)?"
    rf"(?:(?:must|should|would|will|then|therefore|thus)\s){{0,2}}(?:{_VERB})"
    r"|\bsolutions?\s(?:is|are)\b|####|答案(?:是|为|：|:))[\s:*_]{0,8}"
)
_FILLER = re.compile(
    r"(?i)(?:approximately|about|simply|exactly|therefore|thus|equal to|indeed|just|clearly|given by|option|choice"
    r"|(?:=|:|\\boxed)(?!\{))\s{0,3}"
)
_SENTENCE_END = re.compile(
    r"\.(?=\s|\Z)|\n|。|(?i:[,;]?\s\(?(?:because|since|which|where|so|as|but|and the)\b)|\.?\*\*|</"
)
_FORMULA = re.compile(
    r"\$\$([^$]{1,2000})\$\$|\$([^$\n]{1,1000})\$|\\\((.{1,1000}?)\\\)|\\\[(.{1,2000}?)\\\]", re.DOTALL
)
_FORMULA_GAP = re.compile(r"\s{0,3}(?:,|and|or|, and|, or)?\s{0,3}\Z")
_NUMBER = re.compile(r"(?<![\w.])-?[$€£]?(?:[0-9][0-9,]*(?:\.[0-9]+)?|\.[0-9]+)(?:[eE][+-]?[0-9]+|/[0-9]+)?\\?%?")
_CHOICE = re.compile(r"\\text(?:bf)?\{\(?([A-J])\)?\.?\}|\(([A-J])\)|(?<=\*\*)([A-J])[.:)]?(?=\*\*)"
                     r"|(?i:\b(?:option|choice|answer)) \(?([A-J])\b\)?")  # fmt: skip
_TAIL_CHARS = 4_000  # of the last number or formula
_WHOLE_CHARS = 400  # of a response that is an answer and nothing else
_COMMAND = re.compile(r"\\[A-Za-z]+\s?(?:\{[A-Za-z ]*\})?|\\.|[A-Za-z]'?_\{?[A-Za-z0-9]+\}?")
_LETTERS = re.compile(r"[A-Za-z]{2,}")
_KNOWN_WORDS = frozenset(FUNCTIONS) | GREEK | frozenset(WORDS) | {"U", "mod", "cm", "mm", "km", "kg", "degrees", "np"}
_SHORT_WORDS = frozenset("so it is we he of an at by as be if no its my me us do go".split())


def boxes(text: str) -> list[str]:
    """Contents of all complete, non-empty boxes with balanced braces, in order; of nested boxes the inner one."""
    if "box" not in text and "\x08oxed" not in text:
        return []
    starts = [at for at in (text.find(mark) for mark in ("\\box", "\\fbox", "\x08oxed", "boxed")) if at >= 0]
    found: list[tuple[int, str]] = [(match.start(), match.group(1)) for match in _BARE_BOX.finditer(text)]
    last_begin = -1  # of the box found last: a box around it is skipped
    stack: list[int] = []  # where the content of an open box begins; -1 for a plain brace
    for token in _BOX_TOKEN.finditer(text, min(starts)) if starts else ():
        mark = token.group()
        if mark == "}":
            begin = stack.pop() if stack else -1
            if begin > last_begin and (content := text[begin : token.start()].strip()):
                found.append((begin, content))
                last_begin = begin
        elif mark == "{":
            stack.append(-1)
        elif len(mark) > 2:
            stack.append(token.end())
    return [content for _, content in sorted(found)]


def _tagged(text: str) -> str | None:
    close = text.rfind(_TAG_CLOSE)
    opened = text.rfind(_TAG_OPEN, 0, close) if close >= 0 else -1
    return text[opened + len(_TAG_OPEN) : close].strip() or None if opened >= 0 else None


def _formulas(text: str, first_only: bool) -> tuple[list[str], int] | None:
    """The first run of formulas joined by commas (`first_only`) or the last such run, and where it ends."""
    run: list[str] = []
    end = 0
    for match in _FORMULA.finditer(text):
        content = next(part for part in match.groups() if part is not None).strip()
        if not content:
            continue
        if run and _FORMULA_GAP.match(text[end : match.start()]):
            run.append(content)
        elif run and first_only:
            break
        else:
            run = [content]
        end = match.end()
    return (run, end) if run else None


def _after_marker(text: str, truncated: bool) -> str | None:
    """What follows the last "the answer is". In a truncated response the sentence must have ended."""
    last = None
    for last in _MARKER.finditer(text):
        pass
    if last is None:
        return None
    tail = text[last.end() : last.end() + _TAIL_CHARS].lstrip()
    while filler := _FILLER.match(tail):
        tail = tail[filler.end() :]
    if tail.startswith("not "):
        tail = tail.partition(" but ")[2]  # not 2 but 3
    if tail.startswith(("$", "\\(", "\\[")) and not re.match(r"\$[0-9][^$\n]*(?:\n|\Z)", tail):
        run = _formulas(tail, first_only=True)
        return ", ".join(run[0]) if run else None
    end = _SENTENCE_END.search(tail)
    if end is None and truncated:
        return None
    sentence = tail[: end.start()] if end else tail
    if not re.match(r"[-+$]?[0-9(\\]", sentence) and (run := _formulas(sentence, first_only=True)):
        return ", ".join(run[0])
    answer = sentence.strip(" *_.")
    if not re.match(r"[-+$(\\[{0-9.]", answer) and _is_prose(answer) and (number := _last_number(answer)):
        return _around(answer, number)  # the answer is that there are 5 of them
    return answer or None


def _whole(text: str) -> str | None:
    """The response itself, where it is one line of mathematics, a single word or a choice, and no prose."""
    line = text.strip().strip("*`").strip()
    if not line or len(line) > _WHOLE_CHARS or "\n\n" in line or line.startswith("#"):
        return None
    words = _LETTERS.findall(_COMMAND.sub(" ", line))
    if line.isalpha() or re.fullmatch(r"\(?[A-J]\)?[.:)]?", line):
        return line
    unknown = [word for word in words if word not in _KNOWN_WORDS]
    is_prose = any(len(word) > 2 or word.lower() in _SHORT_WORDS for word in unknown)
    if is_prose or "box" in line or not re.search(r"[0-9A-Za-z]", line):
        return None
    return line


def _last(text: str) -> Found | None:
    """The last formula, number or choice, whichever stands last."""
    tail = text[-_TAIL_CHARS:]
    formula, number, letter = _formulas(tail, first_only=False), _last_number(tail), None
    for letter in _CHOICE.finditer(tail):
        pass
    ends = [formula[1] if formula else 0, number.end() if number else 0, letter.end() if letter else 0]
    if not any(ends):
        return None
    if ends[2] == max(ends) and letter:
        return Found(next(part for part in letter.groups() if part), "last_choice")
    if ends[0] >= ends[1]:
        return Found(formula[0][-1], "last_formula", tuple(formula[0]))
    return Found(_around(tail, number), "last_number")


def _last_number(text: str) -> re.Match | None:
    number = None
    for number in _NUMBER.finditer(text):
        pass
    return number


def _around(text: str, number: re.Match) -> str:
    """The expression that a last number ends or stands in: of `so it is sqrt(2).` not 2 but sqrt(2)."""
    start = text.rfind("\n", 0, number.start()) + 1
    end = number.end() + len(re.match(r"[)\]}^*/!%°π√²³A-Za-z0-9\\{(]*", text[number.end() :]).group())
    words = text[start:end].split(" ")
    taken = [words.pop()]
    while words and (_open_brackets(" ".join(taken)) or words[-1] in "+-*/^" or taken[0] in "+-*/^"):
        taken.insert(0, words.pop())
    expression = " ".join(taken).rpartition("=")[2].strip(" ,;:*_")
    return number.group().rstrip(",") if _is_prose(expression) or not expression else expression


def _open_brackets(text: str) -> bool:
    """Does it close a bracket that it does not open?"""
    return any(text.count(close) > text.count(opening) for opening, close in ("()", "[]", "{}"))


def _is_prose(text: str) -> bool:
    return any(word not in _KNOWN_WORDS for word in _LETTERS.findall(_COMMAND.sub(" ", text)))


def extract(response: str, truncated: bool = False) -> Found | None:
    """The final answer of a response, or None. Text before the last `</think>` is ignored."""
    text = response[-MAX_RESPONSE_CHARS:]
    text = text[text.rfind("</think>") + len("</think>") :] if "</think>" in text else text
    boxed = boxes(text)
    if boxed:
        return Found(boxed[-1], "box", tuple(dict.fromkeys(boxed[-MAX_ITEMS:])))
    if tagged := _tagged(text):
        return Found(tagged, "answer_tag")
    if marked := _after_marker(text, truncated):
        return Found(marked, "marker")
    if truncated:
        return None
    if whole := _whole(text):
        return Found(whole, "whole")
    return _last(text)
