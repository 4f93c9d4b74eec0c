"""Grade responses: extraction and exact arithmetic here, the rest in workers, nothing of it evaluated."""

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from lte_jax.host.verify.extract import Found, extract
from lte_jax.host.verify.judge import decide, is_list
from lte_jax.host.verify.pool import Outcome, Pool
from lte_jax.records import Status, Verdict

_TARGET = "lte_jax.host.verify.slow:decide_fully"
_CACHE_SIZE = 65_536
_NO_VERDICT = (Status.TIMEOUT, Status.CRASH)
Question = tuple[str, str, str]  # gold, answer, name of the conventions


@dataclass(frozen=True)
class _Item:
    """A response after extraction: its answer, or the last box and all the boxes joined where the gold is a list."""

    gold: str
    found: Found | None
    candidates: tuple[str, ...]
    seconds: float


class Verifier:
    """Start it before jax touches a device; `grade_many` may be called from any thread."""

    def __init__(self, workers: int = 2, timeout_s: float = 2.0, memory_mb: int = 1024, batch_timeout_s: float = 60.0):
        self._pool = Pool(_TARGET, workers, timeout_s, memory_mb)
        self._batch_timeout_s = batch_timeout_s
        self._cache: OrderedDict[Question, Status] = OrderedDict()

    def __enter__(self) -> "Verifier":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        """End the workers."""
        self._pool.close()

    @property
    def pids(self) -> list[int]:
        """Process ids of the zygote and its workers."""
        return self._pool.pids

    def grade_many(self, items: Sequence[tuple[str, str, bool]]) -> list[Verdict]:
        """Verdicts for (gold, response, truncated), in order. TIMEOUT and CRASH are no verdict."""
        prepared = [_prepare(*item) for item in items]
        outcomes = self._settle([(item.gold, text, "default") for item in prepared for text in item.candidates])
        return [_verdict(item, outcomes) for item in prepared]

    def same_answer(self, pairs: Sequence[tuple[str, str]]) -> list[bool | None]:
        """Mathematical equality of two short answers, without tolerance; None where it is not decided."""
        questions = [(left, right, "mathematical") for left, right in pairs]
        outcomes = self._settle(questions)
        truth = {Status.EQUAL: True, Status.DIFFERENT: False}
        return [truth.get(outcomes[question][0]) for question in questions]

    def _settle(self, questions: Sequence[Question]) -> dict[Question, tuple[Status, float]]:
        """Status and seconds for each distinct question: exact arithmetic, then the cache, then the workers."""
        settled: dict[Question, tuple[Status, float]] = {}
        hard: list[Question] = []
        for question in dict.fromkeys(questions):
            status = decide(*question) or self._cache.get(question)
            if status is None:
                hard.append(question)
            else:
                settled[question] = (status, 0.0)
        outcomes = self._pool.run([list(question) for question in hard], self._batch_timeout_s) if hard else []
        for question, outcome in zip(hard, outcomes, strict=True):
            settled[question] = (self._remember(question, outcome), outcome.seconds)
        return settled

    def _remember(self, question: Question, outcome: Outcome) -> Status:
        if outcome.failure is not None:
            return outcome.failure
        status = Status(outcome.value)
        self._cache[question] = status
        if len(self._cache) > _CACHE_SIZE:
            self._cache.popitem(last=False)
        return status


def _prepare(gold: str, response: str, truncated: bool = False) -> _Item:
    start = time.perf_counter()
    found = extract(response, truncated)
    candidates = (found.answer,) if found else ()
    if found and len(found.boxes) > 1 and is_list(gold):
        candidates = (found.answer, ", ".join(found.boxes))
    return _Item(gold, found, candidates, time.perf_counter() - start)


def _verdict(item: _Item, outcomes: dict[Question, tuple[Status, float]]) -> Verdict:
    if item.found is None:
        return Verdict(False, Status.NO_ANSWER, item.gold, seconds=item.seconds)
    results = [(text, *outcomes[item.gold, text, "default"]) for text in item.candidates]
    seconds = item.seconds + sum(took for _, _, took in results)
    equal = [text for text, status, _ in results if status is Status.EQUAL]
    if equal:
        rule = item.found.rule if equal[0] == item.found.answer else "boxes"
        return Verdict(True, Status.EQUAL, item.gold, equal[0], rule, seconds)
    undecided = [status for _, status, _ in results if status in _NO_VERDICT]
    status = undecided[0] if undecided else results[0][1]
    return Verdict(False, status, item.gold, item.found.answer, item.found.rule, seconds)


_shared: tuple[int, Verifier] | None = None
_shared_lock = threading.Lock()


def grade(gold: str, response: str, truncated: bool = False) -> Verdict:
    """Grade one response; never raises on model text. Workers are started at the first answer that needs them."""
    global _shared
    item = _prepare(gold, response, truncated)
    decided = {(gold, text, "default"): (decide(gold, text), 0.0) for text in item.candidates}
    if all(status is not None for status, _ in decided.values()):
        return _verdict(item, decided)
    with _shared_lock:
        if _shared is None or _shared[0] != os.getpid():
            _shared = os.getpid(), Verifier()
    return _shared[1].grade_many([(gold, response, truncated)])[0]
