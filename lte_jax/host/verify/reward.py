"""Custom rewards: a user's `package.module:function` in workers of its own, under the verifier's limits.

The function takes (problem, responses), plain JSON values, and returns one number or one verdict per response; see
docs/verifier.md. It must be pure: a call may be repeated, and how responses are split over calls is not fixed.
"""

import math
import warnings
from collections.abc import Sequence
from typing import Any

from lte_jax.config import VerifyConfig
from lte_jax.host.verify.extract import extract
from lte_jax.host.verify.pool import Outcome, Pool
from lte_jax.records import Problem, Status, Verdict

Item = tuple[Problem, str, bool]  # problem, response, truncated
_FIELDS = {"correct", "reward", "extracted"}


class Reward:
    """Start it before jax touches a device. Raises TargetError at once where the function cannot be imported."""

    def __init__(self, path: str, config: VerifyConfig):
        self._path, self._batch_timeout_s = path, config.batch_timeout_s
        self._pool = Pool(path, config.workers, config.timeout_s, config.memory_mb, imports_from_here=True)
        try:
            self._pool.wait()
        except ValueError as error:
            self._pool.close()
            raise type(error)(f"reward: {error}") from None

    @property
    def pids(self) -> list[int]:
        return self._pool.pids

    def close(self) -> None:
        self._pool.close()

    def grade_many(self, items: Sequence[Item]) -> list[Verdict]:
        """Verdicts in order. One call for all responses of a problem; if it fails twice, none of them has a verdict."""
        places: dict[Problem, list[int]] = {}
        for place, (problem, _, _) in enumerate(items):
            places.setdefault(problem, []).append(place)
        tasks = [[_row(problem), [items[place][1] for place in own]] for problem, own in places.items()]
        verdicts: dict[int, Verdict] = {}
        for own, outcome in zip(places.values(), self._pool.run(tasks, self._batch_timeout_s), strict=True):
            verdicts |= zip(own, self._verdicts([items[place] for place in own], outcome), strict=True)
        return [verdicts[place] for place in range(len(items))]

    def _verdicts(self, items: Sequence[Item], outcome: Outcome) -> list[Verdict]:
        failure, reason = outcome.failure, outcome.error
        if failure is None:
            try:
                return [_verdict(*pair) for pair in zip(items, _listed(outcome.value, len(items)), strict=True)]
            except ValueError as error:
                failure, reason = Status.CRASH, str(error)
        warnings.warn(f"reward {self._path}: no verdict: {reason or failure.value}", RuntimeWarning, stacklevel=2)
        return [Verdict(False, failure, problem.answer, seconds=outcome.seconds) for problem, _, _ in items]


def _row(problem: Problem) -> dict[str, str]:
    """The fields of a problem file."""
    return {"id": problem.id, "problem": problem.text, "answer": problem.answer}


def _listed(value: Any, n: int) -> list[Any]:
    if not isinstance(value, list) or len(value) != n:
        got = f"{len(value)} of them" if isinstance(value, list) else type(value).__name__
        raise ValueError(f"wanted a list of {n} rewards, one per response, got {got}")
    return value


def _verdict(item: Item, given: Any) -> Verdict:
    """From a number, which is correct from 1 up, or from {correct, reward, extracted}."""
    problem, response, truncated = item
    fields = given if isinstance(given, dict) else {"correct": _number(given) >= 1, "reward": given}
    if not isinstance(fields.get("correct"), bool) or not fields.keys() <= _FIELDS:
        raise ValueError(f"wanted a number or {{correct: true or false, reward, extracted}}, got {given!r:.200}")
    found = extract(response, truncated)
    answer, rule = (found.answer, found.rule) if found else (None, None)
    if "extracted" in fields:
        answer, rule = fields["extracted"], "reward"
        if answer is not None and not isinstance(answer, str):
            raise ValueError(f"wanted text or null as extracted, got {answer!r:.200}")
    correct = fields["correct"]
    status = Status.EQUAL if correct else Status.DIFFERENT if answer else Status.NO_ANSWER
    shaped = _number(fields["reward"]) if fields.get("reward") is not None else None
    return Verdict(correct, status, problem.answer, answer, rule, shaped=shaped)


def _number(value: Any) -> float:
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"wanted a finite number as reward, got {value!r:.200}")
    return float(value)
