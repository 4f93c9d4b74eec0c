r"""Boxes in a response, `\boxed{…}`, and which of the last ones belong together. Linear time."""

import re
from dataclasses import dataclass

BOX_MARKS = ("\\box", "\\fbox", "\x08oxed", "boxed")
_TOKEN = re.compile(r"(?:\\|\x08)?(?:boxed|fbox)\s{0,8}\{|\x08oxed\s{0,8}\{|\\.|[{}]", re.DOTALL)
_BARE = re.compile(r"\\boxed\s{0,8}([-+]?[0-9][0-9.,/]*|[A-Za-z](?![A-Za-z{]))")
_MAX_GAP = 160  # characters between boxes that belong together
_NAME = re.compile(
    r"((?:\\[A-Za-z]{2,8}|[A-Za-z])(?:_\{?[A-Za-z0-9]{1,4}\}?)?'?)\s{0,3}(?:&\s{0,2})?=\s{0,3}[$\s]{0,3}\Z"
)
_LABEL = re.compile(r"\(\s?[a-z0-9ivx]{1,3}\s?\)|(?<=\n)\s?[0-9]\.(?=\s)|[-*•]")
_COMMANDS = re.compile(r"\\(?:q?quad|text|mathrm|hspace|[,;! :()\[\]\\&])|\\(?:begin|end)\{[a-z]{1,10}\*?\}")
_WORDS = re.compile(r"[^\W_]+")
_JOINING = frozenset({"and", "or", "with", "also", "respectively", "either"})
_NAMING = _JOINING | {"where", "while", "then", "thus", "so", "hence", "therefore", "part", "case", "for", "the", "is"}
_EXPLICIT = re.compile(r",|;|\b(?:and|or)\b")


@dataclass(frozen=True)
class Boxed:
    """A box: its content, and where it begins and ends with its command and braces."""

    content: str
    begin: int
    end: int


def boxed(text: str, truncated: bool = False) -> list[Boxed]:
    """All complete, non-empty boxes with balanced braces, in order; of nested boxes the inner one.

    `truncated`: a box without braces at the very end, `\\boxed 5`, may have gone on.
    """
    if "box" not in text and "\x08oxed" not in text:
        return []
    starts = [at for at in (text.find(mark) for mark in BOX_MARKS) if at >= 0]
    found = [
        Boxed(match.group(1), match.start(), match.end())
        for match in _BARE.finditer(text)
        if not (truncated and match.end() == len(text))
    ]
    last_begin = -1  # of the box found last: a box around it is skipped
    stack: list[tuple[int, int]] = []  # of an open box where its command and its content begin; -1 for a plain brace
    for token in _TOKEN.finditer(text, min(starts)) if starts else ():
        mark = token.group()
        if mark == "}":
            command, begin = stack.pop() if stack else (-1, -1)
            if begin > last_begin and (content := text[begin : token.start()].strip()):
                found.append(Boxed(content, command, token.end()))
                last_begin = begin
        elif mark == "{":
            stack.append((-1, -1))
        elif len(mark) > 2:
            stack.append((token.start(), token.end()))
    if not found and "\\}" in text and "\\{" not in text:  # \boxed{12\} closes nothing
        return boxed(text.replace("\\}", " }"), truncated)
    return sorted(found, key=lambda box: box.begin)


def run_of(text: str, found: list[Boxed]) -> tuple[list[Boxed], bool]:
    """The last boxes with nothing but names, commas and joining words between; does one of these join them all?"""
    run = [found[-1]]
    joined = True
    names = names_of(text, found)
    named = bool(names[-1])
    for box, name in zip(reversed(found[:-1]), reversed(names[:-1]), strict=True):
        gap = text[box.end : run[0].begin]
        if len(gap) > _MAX_GAP or not _joins(gap, named and bool(name)):
            break
        joined = joined and bool(_EXPLICIT.search(gap))
        run.insert(0, box)
    return run, joined and len(run) > 1


def names_of(text: str, run: list[Boxed]) -> list[str]:
    """The name that each box has, `x` of `x = \\boxed{3}`, or an empty text."""
    matches = [_NAME.search(text[max(0, box.begin - 40) : box.begin]) for box in run]
    return [match.group(1) if match else "" for match in matches]


def _joins(gap: str, named: bool) -> bool:
    """Is there nothing in it but what joins the parts of one answer?"""
    gap = _NAME.sub("", gap)
    plain = _COMMANDS.sub(" ", _LABEL.sub(" ", gap))
    words = [word.lower() for word in _WORDS.findall(plain)]
    return "=" not in plain and all(word in (_NAMING if named else _JOINING) for word in words)
