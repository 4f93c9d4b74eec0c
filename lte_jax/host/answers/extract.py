r"""Find the final answer in a response, and say which rule found it. Linear time; only the last part is searched.

In order: the last box, the <answer> tag, "the answer is", a response that is nothing but an answer, the last formula,
number or choice. A truncated response is graded only by an answer that is complete: a closed box, a closed tag or a
finished sentence after a marker.
"""

import re
from dataclasses import dataclass, replace

from lte_jax.host.answers.boxes import BOX_MARKS, Boxed, boxed, names_of, run_of
from lte_jax.host.answers.choices import last_choice, leading_choice
from lte_jax.host.answers.claims import claim
from lte_jax.host.answers.limits import MAX_ITEMS, MAX_RESPONSE_CHARS
from lte_jax.host.answers.markers import DISOWNED, TAKEN_BACK, in_ascii, last_markers
from lte_jax.host.answers.phrases import UNSAFE
from lte_jax.host.answers.sentences import (
    SHARE,
    formulas,
    is_changed,
    is_supposed,
    last_number,
    number_there,
    sentence_end,
    unknown_words,
    without_asides,
)  # fmt: skip
from lte_jax.host.answers.words import meaning


@dataclass(frozen=True)
class Found:
    """`answer` as written; `several` are all the boxes that belong together, or all the formulas of the last sentence.

    `named`: the same with their names, `x = 3`, where each has one. `joined`: a comma, "and" or "or" joins them, so
    that one of them alone is not the answer. `letter`: of a multiple-choice answer stated behind the last box.
    """

    answer: str
    rule: str
    several: tuple[str, ...] = ()
    named: tuple[str, ...] = ()
    joined: bool = False
    letter: str | None = None


_TAG_OPEN, _TAG_CLOSE = "<answer>", "</answer>"
_TAIL_CHARS = 4_000  # of the last number or formula
_SENTENCE_CHARS = 160  # before a marker that may disown it
_MAX_MARKERS = 16  # that are tried, from the last
_WHOLE_CHARS = 400  # of a response that is an answer and nothing else
_NEW_SENTENCE = re.compile(r"[.!?\n;。](?=\s|\Z)|。")
_CHOICE = re.compile(r"\(?[A-J]\)?[.:)]?")
_YES_OR_NO = re.compile(r"(?i)\s{0,8}[*_]{0,3}(yes|no)[*_]{0,3}[,.!;:][*_]{0,3}(?:\s|\Z)")
_VALUE = re.compile(r"[0-9$\\]")
_FEW_WORDS = re.compile(r"[A-Za-z][A-Za-z' -]{1,40}[.!]?")
_SHORT_WORDS = frozenset("so it is we he of an at by as be if no its my me us do go".split())


def boxes(text: str) -> list[str]:
    """Contents of all complete, non-empty boxes with balanced braces, in order; of nested boxes the inner one."""
    return [box.content for box in boxed(text)]


def _from_boxes(text: str, found: list[Boxed]) -> Found:
    if len(found) == 1:
        return Found(found[0].content, "box", (found[0].content,))
    run, joined = run_of(text, found[-MAX_ITEMS:])
    contents = tuple(dict.fromkeys(box.content for box in run))
    names = names_of(text, run)
    named = tuple(f"{name} = {box.content}" for name, box in zip(names, run, strict=True)) if all(names) else ()
    named = named if len(set(names)) == len(names) else ()  # x = 1 or x = 2
    return Found(found[-1].content, "box", contents, named, joined and not named)


def _letter_after(text: str, truncated: bool) -> str | None:
    """The D of "Answer: D" behind a box that holds a formula."""
    answer, _ = _after_marker(in_ascii(text), truncated) if "nswer" in text or "hoice" in text else (None, 0)
    return answer if answer and _CHOICE.fullmatch(answer) else None


def _tagged(text: str) -> str | None:
    close = text.rfind(_TAG_CLOSE)
    opened = text.rfind(_TAG_OPEN, 0, close) if close >= 0 else -1
    return text[opened + len(_TAG_OPEN) : close].strip() or None if opened >= 0 else None


def _after_marker(text: str, truncated: bool) -> tuple[str | None, int]:
    """What the last marker that states an answer states, "the answer is 7", and where the last marker's sentence ends.

    An answer that is taken back later, "the answer is not 7", is none.
    """
    markers = last_markers(text, _MAX_MARKERS)
    taken_back = ""
    for match in markers:
        stop = sentence_end(text[match.end() : match.end() + _TAIL_CHARS])
        end = len(text) if stop is None else match.end() + stop
        before = text[max(0, match.start() - _SENTENCE_CHARS) : match.start()]
        own = _NEW_SENTENCE.split(before)[-1]
        answer = None
        if not (
            match["negated"]
            or match["denied"]
            or DISOWNED.search(own)
            or UNSAFE.search(match.group().partition(" ")[2])
            or text.startswith("?", end)
        ):
            answer = claim(text[match.end() : match.end() + _TAIL_CHARS], complete=not truncated)
        if answer is not None and answer not in taken_back and not TAKEN_BACK.search(text, end, end + _TAIL_CHARS):
            return answer, 0
        taken_back += " " + text[match.end() : end]
    if not markers:
        return None, 0
    begin = markers[0].end()
    stop = sentence_end(text[begin : begin + _TAIL_CHARS])
    return None, len(text) if stop is None else begin + stop


def _whole(text: str) -> str | None:
    """The response itself, where it is one line of mathematics, a word, a number in words or a choice, and no prose."""
    line = text.strip().strip("*`").strip()
    if not line or len(line) > _WHOLE_CHARS or "\n\n" in line or line.startswith("#"):
        return None
    if line.isalpha() or _CHOICE.fullmatch(line) or SHARE.fullmatch(line.rstrip(".")):
        return line
    if _FEW_WORDS.fullmatch(line) and meaning(line).op not in ("text", "list"):
        return line  # twenty-one; no solution
    words = unknown_words(line)
    is_prose = any(len(word) > 2 or word.lower() in _SHORT_WORDS or not word.isascii() for word in words)
    if is_prose or any(mark in line for mark in BOX_MARKS) or not re.search(r"[0-9A-Za-z]", line):
        return None
    return line


def _yes_or_no(text: str) -> str | None:
    """`Yes` of "Yes, it is.", where no value is stated."""
    match = _YES_OR_NO.match(text)
    return match[1] if match and not _VALUE.search(text) and len(text) <= _WHOLE_CHARS else None


def _last(text: str) -> Found | None:
    """The last formula, number or choice, whichever stands last; None where a word changes it, `less than 8`."""
    tail = without_asides(text[-_TAIL_CHARS:])
    formula, number, letter = formulas(tail, first_only=False), last_number(tail), last_choice(tail)
    ends = [formula.end if formula else 0, number.end() if number else 0, letter[1] if letter else 0]
    if not any(ends):
        return None
    if ends[2] == max(ends):
        return Found(letter[0], "last_choice")
    if ends[0] >= ends[1]:
        if is_changed(tail, formula.begin, formula.end) or is_supposed(tail, formula.begin, formula.end):
            return None
        return Found(formula.contents[-1], "last_formula", formula.contents, joined=formula.alternatives)
    changed = is_changed(tail, *number.span()) or is_supposed(tail, *number.span())
    there = None if changed else number_there(tail, number)
    return Found(there, "last_number") if there else None


def extract(response: str, truncated: bool = False) -> Found | None:
    """The final answer of a response, or None. Text before the last `</think>` is ignored."""
    text = response[-MAX_RESPONSE_CHARS:]
    text = text[text.rfind("</think>") + len("</think>") :] if "</think>" in text else text
    if found := boxed(text, truncated):
        return replace(_from_boxes(text, found), letter=_letter_after(text[found[-1].end :], truncated))
    text = in_ascii(text)
    if tagged := _tagged(text):
        return _in_tag(tagged)
    marked, end = _after_marker(text, truncated)
    if marked:
        return Found(marked, "marker")
    if truncated:
        return None
    if not end and (whole := _whole(text)):
        return Found(whole, "whole")
    if not end and (choice := leading_choice(text) or _yes_or_no(text)):
        return Found(choice, "first_choice")
    return _last(text[end:])


def _in_tag(tagged: str) -> Found | None:
    """The content of a tag; of a sentence in it what it states."""
    marked, end = _after_marker(tagged, truncated=False)
    answer = marked or (None if end else claim(tagged))
    return Found(answer, "answer_tag") if answer else None
