"""Grade responses: extraction and exact arithmetic here, the rest in workers, nothing of it evaluated."""

import atexit
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from lte_jax.config import ConventionsConfig, VerifyConfig
from lte_jax.host.answers.decide import DEFAULT, check_gold, decide, kind_of
from lte_jax.host.answers.extract import Found, extract
from lte_jax.host.verify.pool import Outcome, Pool
from lte_jax.host.verify.reward import Reward
from lte_jax.records import Problem, Status, Verdict

_TARGET = "lte_jax.host.verify.slow:decide_fully"
_CACHE_SIZE = 65_536
_NO_VERDICT = (Status.TIMEOUT, Status.CRASH)
Question = tuple[str, str, ConventionsConfig]  # gold, answer, how they are compared


@dataclass(frozen=True)
class _Item:
    """A response after extraction: what may be its answer: several where all its boxes may be one."""

    gold: str
    found: Found | None
    candidates: tuple[str, ...]
    seconds: float


class Verifier:
    """Start it before jax touches a device. Every method may be called from any thread, at the same time.

    The keywords are the fields of VerifyConfig; `reward`: a custom reward with its own settings, see reward.py. Raises
    TargetError at once for one that cannot be imported.
    """

    def __init__(self, reward: str = "", reward_args: Mapping[str, Any] = MappingProxyType({}), **settings):
        config = VerifyConfig(**settings)
        self._config, self._conventions = config, config.conventions
        self._exactly = config.conventions.model_copy(update={"relative_tolerance": 0.0, "decimal_digits": 0})
        self._pool = Pool(_TARGET, config.workers, config.timeout_s, config.memory_mb)
        self._cache = _Cache()
        try:
            self._reward = Reward(reward, config, reward_args) if reward else None
        except ValueError:
            self._pool.close()
            raise

    def __enter__(self) -> "Verifier":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        """End the workers."""
        self._pool.close()
        if self._reward:
            self._reward.close()

    @property
    def pids(self) -> list[int]:
        """Process ids of the zygotes and their workers."""
        return self._pool.pids + (self._reward.pids if self._reward else [])

    def grade_problems(self, items: Sequence[tuple[Problem, str, bool]]) -> list[Verdict]:
        """Verdicts for (problem, response, truncated), in order: the custom reward's where there is one."""
        if self._reward:
            return self._reward.grade_many(items)
        return self.grade_many([(problem.answer, response, truncated) for problem, response, truncated in items])

    def grade_many(self, items: Sequence[tuple[str, str, bool]]) -> list[Verdict]:
        """Verdicts for (gold, response, truncated), in order. TIMEOUT and CRASH are no verdict."""
        prepared = [_prepare(*item, self._conventions) for item in items]
        questions = [(item.gold, text, self._conventions) for item in prepared for text in item.candidates]
        outcomes = self._statuses(questions, self._config.batch_timeout_s)
        return [_verdict(item, outcomes, self._conventions) for item in prepared]

    def same_answer(self, pairs: Sequence[tuple[str, str]]) -> list[bool | None]:
        """Mathematical equality of two short answers, without tolerance; None where it is not decided in time."""
        questions = [(left, right, self._exactly) for left, right in pairs]
        outcomes = self._statuses(questions, self._config.equality_timeout_s)
        truth = {Status.EQUAL: True, Status.DIFFERENT: False}
        return [truth.get(outcomes[question][0]) for question in questions]

    def try_reward(self, problem: Problem) -> list[Verdict]:
        """What a custom reward says of made-up responses; none without one. Raises RewardError, see reward.py."""
        return self._reward.try_on(problem) if self._reward else []

    @property
    def conventions(self) -> str:
        """What decides `check_gold` beside the code; empty with a custom reward, which has no say in it."""
        return "" if self._reward else self._conventions.model_dump_json()

    def check_gold(self, answer: str) -> str | None:
        """Why a reference answer cannot be used, or None. A custom reward may do with it what it likes."""
        return None if self._reward else check_gold(answer, self._conventions)

    def _statuses(self, questions: Sequence[Question], limit_s: float) -> dict[Question, tuple[Status, float]]:
        """Status and seconds for each distinct question: exact arithmetic, then the cache, then the workers."""
        statuses: dict[Question, tuple[Status, float]] = {}
        hard: list[Question] = []
        for question in dict.fromkeys(questions):
            status = decide(*question) or self._cache.get(question)
            if status is None:
                hard.append(question)
            else:
                statuses[question] = (status, 0.0)
        tasks = [(gold, answer, conventions.model_dump()) for gold, answer, conventions in hard]
        outcomes = self._pool.run(tasks, limit_s) if hard else []
        for question, outcome in zip(hard, outcomes, strict=True):
            statuses[question] = (self._cache.keep(question, outcome), outcome.seconds)
        return statuses


class _Cache:
    """What workers have found, for several threads. A timeout is not kept: it may have been the load."""

    def __init__(self):
        self._statuses: OrderedDict[Question, Status] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, question: Question) -> Status | None:
        with self._lock:
            return self._statuses.get(question)

    def keep(self, question: Question, outcome: Outcome) -> Status:
        if outcome.failure is not None:
            return outcome.failure
        status = Status(outcome.value)
        with self._lock:
            self._statuses[question] = status
            if len(self._statuses) > _CACHE_SIZE:
                self._statuses.popitem(last=False)
        return status


def _prepare(gold: str, response: str, truncated: bool, conventions: ConventionsConfig) -> _Item:
    start = time.perf_counter()
    found = extract(response, truncated)
    candidates = _candidates(gold, found, conventions) if found else ()
    return _Item(gold, found, candidates, time.perf_counter() - start)


def _candidates(gold: str, found: Found, conventions: ConventionsConfig) -> tuple[str, ...]:
    """The answer, and of boxes that belong together all of them where the gold asks for several. For a gold that is a
    letter, the one that is stated behind boxes without a letter.

    `\\boxed{7} or \\boxed{8}` is never 8 alone; `x = \\boxed{3}, y = \\boxed{5}` is (3, 5) by its names.
    """
    if found.letter and kind_of(gold) == "letter" and kind_of(found.answer) != "letter":
        return (found.letter,)
    if len(found.several) < 2 or not conventions.join_boxes:
        return (found.answer,)
    together, kind = ", ".join(found.several), kind_of(gold)
    if found.joined and kind != "named":
        return (together,)
    if kind == "list":
        return (found.answer, together)
    if kind == "named" and found.named:
        return (found.answer, ", ".join(found.named))
    return (found.answer,)


def _verdict(item: _Item, outcomes: dict[Question, tuple[Status, float]], conventions: ConventionsConfig) -> Verdict:
    if item.found is None:
        return Verdict(False, Status.NO_ANSWER, item.gold, seconds=item.seconds)
    results = [(text, *outcomes[item.gold, text, conventions]) for text in item.candidates]
    seconds = item.seconds + sum(took for _, _, took in results)
    equal = [text for text, status, _ in results if status is Status.EQUAL]
    text = equal[0] if equal else results[0][0]
    found = item.found
    rule = found.rule if text == found.answer else "marker" if text == found.letter else _JOINED[found.rule]
    undecided = [status for _, status, _ in results if status in _NO_VERDICT]
    status = Status.EQUAL if equal else undecided[0] if undecided else results[0][1]
    return Verdict(bool(equal), status, item.gold, text, rule, seconds)


_JOINED = {"box": "boxes", "last_formula": "last_formulas"}
_shared: tuple[int, Verifier] | None = None
_shared_lock = threading.Lock()


def grade(gold: str, response: str, truncated: bool = False) -> Verdict:
    """Grade one response; never raises on model text. Workers are started at the first answer that needs them."""
    global _shared
    item = _prepare(gold, response, truncated, DEFAULT)
    decided = {(gold, text, DEFAULT): (decide(gold, text, DEFAULT), 0.0) for text in item.candidates}
    if all(status is not None for status, _ in decided.values()):
        return _verdict(item, decided, DEFAULT)
    with _shared_lock:
        if _shared is None or _shared[0] != os.getpid():
            _shared = os.getpid(), Verifier()
            atexit.register(_shared[1].close)
    return _shared[1].grade_many([(gold, response, truncated)])[0]
