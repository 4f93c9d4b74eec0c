"""Custom rewards: a user's `package.module:function` in workers of its own, under the verifier's limits.

The function takes (problem, responses), plain JSON values, and returns one number or one verdict per response. One with
settings of its own has their pydantic model as its attribute `Args` and takes them as `args`; see docs/verifier.md. It
must be pure: a call may be repeated, and how responses are split over calls is not fixed.
"""

import math
import warnings
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from lte_jax.config import VerifyConfig
from lte_jax.host.answers.extract import extract
from lte_jax.host.verify.pool import Outcome, Pool
from lte_jax.records import Problem, Status, Verdict

Item = tuple[Problem, str, bool]  # problem, response, truncated
_FIELDS = {"correct", "reward", "extracted"}
_PARAMETERS = ("problem", "responses")


class RewardError(ValueError):
    """A custom reward whose trial call gave no rewards."""


class Reward:
    """Start it before jax touches a device. Raises TargetError at once where the function cannot be imported, takes
    other arguments or has other settings."""

    def __init__(self, path: str, config: VerifyConfig, settings: Mapping[str, Any] = MappingProxyType({})):
        self._path, self._config = path, config
        self._pool = Pool(path, config.workers, config.timeout_s, config.memory_mb, True, _PARAMETERS, dict(settings))
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

    def try_on(self, problem: Problem) -> list[Verdict]:
        """The verdicts of a trial call: made-up responses, one with the reference answer in a box and one without any.

        Raises RewardError with what was wanted and got where the call, or one of them, gives no verdict."""
        responses = [f"\\boxed{{{problem.answer}}}", "I do not know."]
        (outcome,) = self._pool.run([[_row(problem), responses]], self._config.batch_timeout_s)
        try:
            return self._read([(problem, response, False) for response in responses], outcome)
        except RewardError as error:
            tried = f"reward {self._path}, tried on problem {problem.id!r} with {len(responses)} responses"
            raise RewardError(f"{tried}: {error}") from None

    def grade_many(self, items: Sequence[Item]) -> list[Verdict]:
        """Verdicts in order. One call for all responses of a problem; if it fails twice, none of them has a verdict."""
        places: dict[Problem, list[int]] = {}
        for place, (problem, _, _) in enumerate(items):
            places.setdefault(problem, []).append(place)
        tasks = [[_row(problem), [items[place][1] for place in own]] for problem, own in places.items()]
        verdicts: dict[int, Verdict] = {}
        for own, outcome in zip(places.values(), self._pool.run(tasks, self._config.batch_timeout_s), strict=True):
            verdicts |= zip(own, self._verdicts([items[place] for place in own], outcome), strict=True)
        return [verdicts[place] for place in range(len(items))]

    def _verdicts(self, items: Sequence[Item], outcome: Outcome) -> list[Verdict]:
        try:
            return self._read(items, outcome)
        except RewardError as error:
            reason = f"reward {self._path}: {error}"
        warnings.warn(f"no verdict: {reason}", RuntimeWarning, stacklevel=2)
        status = outcome.failure or Status.CRASH
        return [Verdict(False, status, item[0].answer, seconds=outcome.seconds, reason=reason) for item in items]

    def _read(self, items: Sequence[Item], outcome: Outcome) -> list[Verdict]:
        """Raises RewardError with the reason where there are no verdicts."""
        if outcome.failure is None:
            return [_verdict(*pair) for pair in zip(items, _listed(outcome.value, len(items)), strict=True)]
        if outcome.failure is Status.TIMEOUT:
            one, batch = self._config.timeout_s, self._config.batch_timeout_s
            raise RewardError(
                f"the call was not done in time (verify.timeout_s = {one:g}, batch_timeout_s = {batch:g})"
            )
        died = f"its worker died: did it exit, or need more than verify.memory_mb = {self._config.memory_mb}?"
        raise RewardError(outcome.error or died)


def _row(problem: Problem) -> dict[str, str]:
    """The fields of a problem file."""
    return {"id": problem.id, "problem": problem.text, "answer": problem.answer}


def _listed(value: Any, n: int) -> list[Any]:
    if isinstance(value, list) and len(value) == n:
        return value
    got = f"{len(value)} of them" if isinstance(value, list) else f"{value!r:.100}"
    raise RewardError(f"wanted a list of {n} rewards, one per response, got {got}")


def _verdict(item: Item, given: Any) -> Verdict:
    """From a number, which is correct from 1 up, or from {correct, reward, extracted}."""
    problem, response, truncated = item
    fields = given if isinstance(given, dict) else {"correct": _number(given) >= 1, "reward": given}
    if not isinstance(fields.get("correct"), bool) or not fields.keys() <= _FIELDS:
        raise RewardError(f"wanted a number or {{correct: true or false, reward, extracted}}, got {given!r:.200}")
    found = extract(response, truncated)
    answer, rule = (found.answer, found.rule) if found else (None, None)
    if "extracted" in fields:
        answer, rule = fields["extracted"], "reward"
        if answer is not None and not isinstance(answer, str):
            raise RewardError(f"wanted text or null as extracted, got {answer!r:.200}")
    correct = fields["correct"]
    status = Status.EQUAL if correct else Status.DIFFERENT if answer else Status.NO_ANSWER
    shaped = _number(fields["reward"]) if fields.get("reward") is not None else None
    return Verdict(correct, status, problem.answer, answer, rule, shaped=shaped)


def _number(value: Any) -> float:
    try:
        number = float(value) if isinstance(value, int | float) else math.nan
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise RewardError(f"wanted a finite number as reward, got {value!r:.200}")
    return number
