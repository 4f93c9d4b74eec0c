"""Find the final answer in a response, and say which rule found it. Linear time; only the last part is searched.

In order: box, <answer> tag, "the answer is", last formula or number. A truncated response is graded only by an answer
that is complete: a closed box, a closed tag or a finished sentence after a marker.
"""

import re
from dataclasses import dataclass

from lte_jax.host.verify.conventions import MAX_ITEMS, MAX_RESPONSE_CHARS


@dataclass(frozen=True)
class Found:
    """`answer` as written; `boxes` are all the boxed answers, for a gold that is a list."""

    answer: str
    rule: str
    boxes: tuple[str, ...] = ()


_BOX_TOKEN = re.compile(r"\\(?:boxed|fbox)\s*\{|\\.|[{}]", re.DOTALL)
_TAG_OPEN, _TAG_CLOSE = "<answer>", "</answer>"
_MARKER = re.compile(
    r"(?i)(?:\b(?:answers?|option|choice)\b[*_]{0,3}\s{0,3}(?:(?:to|for|of)\s[^.\n]{1,80}?\s)?(?:is\b|are\b|:|=)"
    r"|\bsolutions?\s(?:is|are)\b|####)[\s:*_]{0,8}"
)
_FILLER = re.compile(r"(?i)(?:approximately|about|simply|exactly|therefore|thus|equal to|option|choice|:)\s{0,3}")
_SENTENCE_END = re.compile(r"\.(?=\s|\Z)|\n|(?i:[,;]?\s(?:because|since|which|where|so)\b)|\.?\*\*")
_FORMULA = re.compile(
    r"\$\$([^$]{1,2000})\$\$|\$([^$\n]{1,1000})\$|\\\((.{1,1000}?)\\\)|\\\[(.{1,2000}?)\\\]", re.DOTALL
)
_FORMULA_GAP = re.compile(r"\s{0,3}(?:,|and|or|, and|, or)?\s{0,3}\Z")
_NUMBER = re.compile(r"(?<![\w.])-?[$€£]?(?:[0-9][0-9,]*(?:\.[0-9]+)?|\.[0-9]+)(?:[eE][+-]?[0-9]+|/[0-9]+)?%?")
_TAIL_CHARS = 4_000  # of the last number or formula


def boxes(text: str) -> list[str]:
    """Contents of all complete, non-empty boxes with balanced braces, in order; of nested boxes the inner one."""
    starts = [at for at in (text.find("\\boxed"), text.find("\\fbox")) if at >= 0]
    found: list[str] = []
    if not starts:
        return found
    last_begin = -1  # of the box found last: a box around it is skipped
    stack: list[int] = []  # where the content of an open box begins; -1 for a plain brace
    for token in _BOX_TOKEN.finditer(text, min(starts)):
        mark = token.group()
        if mark == "}":
            begin = stack.pop() if stack else -1
            if begin > last_begin and (content := text[begin : token.start()].strip()):
                found.append(content)
                last_begin = begin
        elif mark == "{":
            stack.append(-1)
        elif len(mark) > 2:
            stack.append(token.end())
    return found


def _tagged(text: str) -> str | None:
    close = text.rfind(_TAG_CLOSE)
    opened = text.rfind(_TAG_OPEN, 0, close) if close >= 0 else -1
    return text[opened + len(_TAG_OPEN) : close].strip() or None if opened >= 0 else None


def _formulas(text: str, first_only: bool) -> tuple[str, int] | None:
    """The first run of formulas joined by commas (`first_only`) or the last formula, and where it ends."""
    runs: list[tuple[str, int]] = []
    for match in _FORMULA.finditer(text):
        content = next(part for part in match.groups() if part is not None).strip()
        gap = text[runs[-1][1] : match.start()] if runs else ""
        if runs and first_only and _FORMULA_GAP.match(gap):
            runs[-1] = (f"{runs[-1][0]}, {content}", match.end())
        elif runs and first_only:
            break
        elif content:
            runs.append((content, match.end()))
    return runs[-1] if runs else None


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
    if tail.startswith(("$", "\\(", "\\[")) and not re.match(r"\$[0-9][^$\n]*(?:\n|\Z)", tail):
        run = _formulas(tail, first_only=True)
        return run[0] if run else None
    end = _SENTENCE_END.search(tail)
    if end is None and truncated:
        return None
    sentence = tail[: end.start()] if end else tail
    if not re.match(r"[-+$]?[0-9]", sentence) and (run := _formulas(sentence, first_only=True)):
        return run[0]
    return sentence.strip(" *_.") or None


def _last_formula_or_number(text: str) -> tuple[str, str] | None:
    tail = text[-_TAIL_CHARS:]
    formula = _formulas(tail, first_only=False)
    number = None
    for number in _NUMBER.finditer(tail):
        pass
    if formula and (number is None or formula[1] >= number.end()):
        return formula[0], "last_formula"
    return (number.group().rstrip(","), "last_number") if number else None


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
    last = None if truncated else _last_formula_or_number(text)
    return Found(*last) if last else None
