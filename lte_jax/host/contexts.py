"""Contexts: what a further round is told, by templates with names, and what fills them.

A template says by its placeholders what it needs. What holds the gold answer is sampled from, never trained on.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lte_jax.config import ConfigError
from lte_jax.host.tokenizers.special_tokens import Part
from lte_jax.records import Rollout, Status

PROBLEM, ANSWERS, NOTES = "{problem}", "{answers}", "{notes}"
ANSWER, TRACE, ATTEMPT, FEEDBACK = "{answer}", "{trace}", "{attempt}", "{feedback}"
PLACEHOLDERS = (PROBLEM, ANSWERS, NOTES, ANSWER, TRACE, ATTEMPT, FEEDBACK)
_PLACEHOLDER = re.compile("(" + "|".join(map(re.escape, PLACEHOLDERS)) + ")")
GOLD = (ANSWER, TRACE)  # placeholders that say the answer
LEFT_OUT = "\n[...]\n"  # in the middle of an attempt that is too long

_TASK = "\n\nPlease reason step by step, and put your final answer within \\boxed{}."
_OWN_WORDS = " Solve the problem yourself, in your own words, and do not mention this note."
_ATTEMPT = "{problem}\n\nAn earlier attempt:\n{attempt}\n\nWhat is known of it: {feedback}\n\n"
TEMPLATES: Mapping[str, str] = {
    "answer": "{problem}\n\nThe final answer is {answer}." + _OWN_WORDS + _TASK,
    "trace": "{problem}\n\nA worked solution:\n{trace}\n\nThis was the note." + _OWN_WORDS + _TASK,
    "trace_answer": "{problem}\n\nA worked solution of this problem, whose final answer is {answer}:\n{trace}\n\n"
    "This was the note." + _OWN_WORDS + _TASK,
    "feedback": _ATTEMPT + "Solve the problem without this mistake." + _TASK,
    "improve": "{problem}\n\nAn earlier attempt:\n{attempt}\n\nImprove it." + _TASK,
    "diverge": "{problem}\n\nAn earlier attempt:\n{attempt}\n\nSolve the problem by another approach." + _TASK,
    "critique": _ATTEMPT + "Say in a few sentences what went wrong, and what to do instead. Do not solve the problem.",
    "idea": "{problem}\n\nWrite down in a few sentences an idea that helps to solve this problem. Do not solve it.",
    "notes": "{problem}\n\nNotes on this problem:\n{notes}\n\nDo not mention these notes." + _TASK,
}


@dataclass(frozen=True)
class Told:
    """What fills a template beside the problem. Nobody trusts these texts: they spell no special tokens."""

    answer: str = ""
    trace: str = ""
    attempt: str = ""
    feedback: str = ""
    answers: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def lacks(self, template: str) -> bool:
        """Whether the template wants something that is not there."""
        return any(name in template and not value for name, value in self.values().items())

    def values(self) -> dict[str, str | tuple[str, ...]]:
        texts = {ANSWER: self.answer, TRACE: self.trace, ATTEMPT: self.attempt, FEEDBACK: self.feedback}
        return {**texts, ANSWERS: self.answers, NOTES: self.notes}


def template_of(name: str, own: Mapping[str, str]) -> str:
    """The template of a context, the user's before the package's. Raises ConfigError."""
    known = {**TEMPLATES, **own}
    if name not in known:
        raise ConfigError(f"context {name}: wanted one of {', '.join(known)}; prompt.contexts adds others")
    return known[name]


def holds_gold(template: str) -> bool:
    return any(placeholder in template for placeholder in GOLD)


def composed(template: str, problem: str, told: Told, separator: str) -> list[Part]:
    """The template with every placeholder replaced in one pass; every other brace is literal (LaTeX). The template and
    the separator of lists are trusted."""
    values = {PROBLEM: [Part(problem, False)]}
    for name, value in told.values().items():
        between = Part("\n" if name == NOTES else separator, True)
        values[name] = [Part(value, False)] if isinstance(value, str) else _listed(value, between)
    pieces = _PLACEHOLDER.split(template)
    return [part for piece in pieces if piece for part in values.get(piece, [Part(piece, True)])]


def _listed(values: Sequence[str], between: Part) -> list[Part]:
    return [part for value in values for part in (between, Part(value, False))][1:]


def shortened(text: str, n: int) -> str:
    """The text's beginning and end, n characters together."""
    return text if len(text) <= n else text[: n - n // 2] + LEFT_OUT + text[len(text) - n // 2 :]


def feedback(rollout: Rollout) -> str:
    """What the verifier says of an attempt, without the gold; empty where it says nothing, or that it is right."""
    verdict = rollout.verdict
    if not rollout.decided or rollout.correct:
        return ""
    if rollout.response.truncated:
        return "it ran out of space before it was finished."
    extracted = " ".join((verdict.extracted or "").split())
    said = {
        Status.DIFFERENT: f"its final answer {extracted} is not right.",
        Status.NO_ANSWER: "it gives no final answer in a box.",
        Status.UNPARSABLE: f"its final answer {extracted} cannot be read.",
        Status.TOO_LARGE: "its final answer is too long to be read.",
    }
    return said.get(verdict.status, "")


def steps_of(text: str) -> list[str]:
    """The steps of a worked solution: its blocks between blank lines, each with what follows it."""
    return re.findall(r".+?(?:\n\s*\n|\Z)", text, re.DOTALL)


def pieces_of(text: str) -> list[str]:
    """Its steps; of a single step, its words."""
    steps = steps_of(text)
    return steps if len(steps) > 1 else re.findall(r"\s*\S+", text)


def share_of(trace: str, share: float) -> str:
    """The first pieces of a trace: this share of them, rounded up."""
    pieces = pieces_of(trace)
    return trace if share >= 1 else "".join(pieces[: math.ceil(share * len(pieces) - 1e-9)]).rstrip()
