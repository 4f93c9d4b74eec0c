"""Why a verdict is not `equal`, in plain words."""

from lte_jax.config import ConventionsConfig
from lte_jax.host.answers.decide import check_gold, read
from lte_jax.host.answers.normalise import normalise
from lte_jax.host.answers.syntax import TooLarge, Unreadable
from lte_jax.records import Status, Verdict

_SHOWN_CHARS = 80


def reason(verdict: Verdict, truncated: bool, conventions: ConventionsConfig) -> str | None:
    """None for an answer that is equal."""
    gold, answer = verdict.gold, verdict.extracted or ""
    if verdict.status is Status.EQUAL:
        return None
    if verdict.status is Status.NO_ANSWER:
        complete = "the response is cut off, and has no complete box, tag or marked sentence"
        return complete if truncated else "no final answer was found in the response"
    if verdict.status is Status.BAD_GOLD:
        if not gold.strip():
            return "the gold is empty"
        return f"the gold {shown(gold)} {check_gold(gold, conventions) or 'cannot be read'}"
    if verdict.status in (Status.UNPARSABLE, Status.TOO_LARGE):
        return f"the answer {shown(answer)} {_unread(answer)}"
    if verdict.status is Status.DIFFERENT:
        return f"{shown(answer)} is not {shown(gold)}"
    failed = "took too long" if verdict.status is Status.TIMEOUT else "ended its worker"
    return f"no verdict: comparing {shown(answer)} with {shown(gold)} {failed}, twice"


def _unread(answer: str) -> str:
    try:
        read(normalise(answer))
    except TooLarge as error:
        return f"is too large: {error}"
    except Unreadable as error:
        return f"cannot be read: {error}"
    return "is too large to be compared"


def shown(text: str) -> str:
    """In one line, and not all of it where it is long."""
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN_CHARS else line[: _SHOWN_CHARS - 1] + "…"
