"""What a group's verdicts say: its pass level, its failure mode, its distinct wrong answers, and what a hint leaked.

Sources: arXiv 2510.26109. Levels come from verdicts, never from a shaped reward.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence

from lte_jax.records import FailureMode, Group, PassLevel, Rollout, Status

_SEEN_CHARS = 16_384  # of a response by the user's own patterns, which nothing else bounds
SameAnswer = Callable[[Sequence[tuple[str, str]]], list[bool | None]]


def pass_level(rollouts: Sequence[Rollout]) -> PassLevel | None:
    """Over the rollouts that have a verdict; None where none has."""
    decided = [rollout.correct for rollout in rollouts if rollout.decided]
    if not decided:
        return None
    if not any(decided):
        return PassLevel.NONE
    return PassLevel.ALL if all(decided) else PassLevel.SOME


def nothing_graded(groups: Sequence[Group]) -> str:
    """Why no rollout of any of the groups has a verdict; empty where one has."""
    rollouts = [rollout for group in groups for rollout in all_rollouts(group)]
    if any(rollout.decided for rollout in rollouts):
        return ""
    return rollouts[0].verdict.reason or f"verdict {rollouts[0].verdict.status}"


def failure_mode(rollouts: Sequence[Rollout]) -> FailureMode:
    """By how many of one round's rollouts were truncated."""
    n_truncated = sum(rollout.response.truncated for rollout in rollouts)
    if n_truncated == len(rollouts):
        return FailureMode.ALL_TRUNCATED
    return FailureMode.SOME_TRUNCATED if n_truncated else FailureMode.NONE_TRUNCATED


def all_rollouts(group: Group) -> tuple[Rollout, ...]:
    """Of every graded round, in the order in which they were drawn."""
    return group.initial + tuple(rollout for attempt in group.retries for rollout in attempt.rollouts)


def last_round(group: Group) -> tuple[Rollout, ...]:
    """The last that was graded."""
    return group.retries[-1].rollouts if group.retries else group.initial


def wrong_answers(rollouts: Sequence[Rollout], same_answer: SameAnswer, max_chars: int, most: int) -> tuple[str, ...]:
    """The first `most` distinct wrong answers of rollouts that were not truncated, the long left out.

    Only the verdict `different` counts: an unparsable or oversized answer may be right, so no hint forbids it.
    Distinct by mathematical equality; a pair that stays undecided stays distinct. Compared in blocks, each with itself
    and with what is kept, so that 128 different answers are not 8128 comparisons.
    """
    found = dict.fromkeys(
        rollout.verdict.extracted
        for rollout in rollouts
        if rollout.decided and not rollout.response.truncated and rollout.verdict.status is Status.DIFFERENT
    )
    written = [answer for answer in found if answer and len(answer) <= max_chars]
    kept: list[str] = []
    for start in range(0, len(written), 2 * most):
        block = written[start : start + 2 * most]
        pairs = [(earlier, later) for j, later in enumerate(block) for earlier in (*kept, *block[:j])]
        same = dict(zip(pairs, same_answer(pairs), strict=True)) if pairs else {}
        for answer in block:
            if not any(same[earlier, answer] for earlier in kept):
                kept.append(answer)
            if len({" ".join(each.split()) for each in kept} - {""}) == most:  # as a hint would write them
                return tuple(kept)
    return tuple(kept)


def most_frequent(answers: Sequence[str], rollouts: Sequence[Rollout], same_answer: SameAnswer) -> tuple[str, ...]:
    """What `wrong_answers` found, by how many rollouts gave each, however they spelled it; ties keep their order."""
    spelled = Counter(r.verdict.extracted for r in rollouts if r.decided and r.verdict.status is Status.DIFFERENT)
    pairs = [(answer, other) for other in spelled if other and other not in answers for answer in answers]
    same = dict(zip(pairs, same_answer(pairs), strict=True)) if pairs else {}
    counts = {
        a: spelled[a] + sum(spelled[other] for each, other in pairs if each == a and same[a, other]) for a in answers
    }
    return tuple(sorted(answers, key=lambda answer: -counts[answer]))


def names_hint(text: str, patterns: Sequence[str]) -> bool:
    """Whether a response speaks of the hint, by the template's own patterns, in its first _SEEN_CHARS."""
    return any(re.search(pattern, text[:_SEEN_CHARS], re.IGNORECASE) for pattern in patterns)


def contains_answer(text: str, answers: Sequence[str]) -> bool:
    """Whether a listed answer stands in the text as a whole token; a full stop may follow, a decimal place may not."""
    return any(
        answer in text and re.search(rf"(?<![\w.]){re.escape(answer)}(?!\w|\.\d)", text) is not None
        for answer in answers
    )
