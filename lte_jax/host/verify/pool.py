"""A pool of workers with a time limit for each task, kept by the parent: a worker that is late is killed alone.

No signals, no threads: works off the main thread and beside jax. Several callers share the workers in turns, one task
at a time, so that a slow batch of one does not hold the others up. The zygote forks the workers; see zygote.py.
"""

import json
import os
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from typing import Any

from lte_jax.host.verify.parent import Worker, Zygote
from lte_jax.records import Status

_TASKS_PER_WORKER = 2_000  # then it is recycled, so that caches do not grow for ever
_ATTEMPTS = 2
_TURN_S = 0.01  # how soon a caller whose turn it was not asks again


@dataclass(frozen=True)
class Outcome:
    """`value` is what the target returned; `failure` says why there is none, `error` what the target raised."""

    value: Any = None
    failure: Status | None = None
    seconds: float = 0.0
    error: str = ""


class Pool:
    """Runs a target, `package.module:function` of JSON values that returns one, under limits.

    `imports_from_here`: the target may also live in the folder that this process was started in. `parameters`: what
    its arguments are called; one that takes others is refused. `settings`: its own, as in `target.load_target`.
    """

    def __init__(
        self,
        target: str,
        workers: int,
        timeout_s: float,
        memory_mb: int,
        imports_from_here: bool = False,
        parameters: Sequence[str] = (),
        settings: Mapping[str, Any] | None = None,
    ):
        if workers < 1 or timeout_s <= 0 or memory_mb < 1:
            raise ValueError(f"wanted a worker, a MB and some time, got {workers=}, {memory_mb=}, {timeout_s=}")
        folder = os.getcwd() if imports_from_here else ""
        self._settings = (target, memory_mb, timeout_s, folder, " ".join(parameters), json.dumps(settings))
        self._n_workers = workers
        self.timeout_s = timeout_s
        self._lock = threading.Lock()  # of all below
        self._zygote: Zygote | None = Zygote(*self._settings)
        self._idle: list[Worker] = []
        self._lent: list[Worker] = []
        self._n_starting = 0
        self._turns: deque[object] = deque()  # callers that want a worker, the one that waits longest first

    @property
    def pids(self) -> list[int]:
        """The zygote and its workers."""
        with self._lock:
            return [self._zygote.pid, *(worker.pid for worker in self._idle + self._lent)] if self._zygote else []

    def wait(self) -> None:
        """Until the target is imported. Raises TargetError where it cannot be."""
        self._start()

    def run(self, tasks: Sequence[Sequence[Any]], batch_timeout_s: float) -> list[Outcome]:
        """Outcomes in the order of the tasks, each a list of arguments. What is not done by the deadline is a timeout;
        the clock starts once the zygote is up. Any number of threads may call this at once."""
        self._start()
        return _Batch(self, tasks, time.monotonic() + batch_timeout_s).run()

    def borrow(self, caller: object) -> Worker | None:
        """A worker, where it is this caller's turn and one is free. To be given back or discarded."""
        with self._lock:
            if self._zygote is None:
                raise RuntimeError("the verifier's pool is closed")
            if caller not in self._turns:
                self._turns.append(caller)
            if self._turns[0] is not caller or len(self._lent) + self._n_starting >= self._n_workers:
                return None
            self._turns.popleft()
            while self._idle:
                worker = self._idle.pop()
                if worker.is_alive:
                    self._lent.append(worker)
                    return worker
                worker.connection.close()
            self._n_starting += 1
        worker = None
        try:
            worker = self._fork()
        finally:
            with self._lock:
                self._n_starting -= 1
                self._lent += [worker] if worker else []
        return worker

    def give_back(self, worker: Worker) -> None:
        """After a task that it answered."""
        worker.n_done += 1
        with self._lock:
            self._lent.remove(worker)
            if worker.n_done < _TASKS_PER_WORKER and self._zygote is not None:
                self._idle.append(worker)
            else:
                worker.connection.close()  # it ends by itself

    def discard(self, worker: Worker) -> None:
        """Kills this worker alone."""
        with self._lock:
            self._lent.remove(worker)
            zygote = self._zygote
        worker.connection.close()
        try:
            if zygote is not None:
                zygote.kill(worker)
        except OSError:
            return  # the zygote is gone and took its workers along; the next fork starts another

    def leave(self, caller: object) -> None:
        """The caller wants no more workers."""
        with self._lock:
            if caller in self._turns:
                self._turns.remove(caller)

    def close(self) -> None:
        """End all workers, those at work too. Safe to call twice."""
        with self._lock:
            zygote, self._zygote = self._zygote, None
            for worker in self._idle:
                worker.connection.close()
            self._idle.clear()
        if zygote is not None:
            zygote.close()

    def _live_zygote(self) -> Zygote:
        with self._lock:
            if self._zygote is None:
                raise RuntimeError("the verifier's pool is closed")
            return self._zygote

    def _fork(self) -> Worker:
        self._start()
        try:
            return self._live_zygote().fork()
        except OSError as error:
            raise RuntimeError(f"the verifier's zygote has ended while forking: {error}") from error

    def _start(self) -> None:
        """Waits for the zygote; one that somebody has killed is started again."""
        zygote = self._live_zygote()
        if zygote.is_up():
            return
        with self._lock:
            if self._zygote is zygote:
                zygote.close()
                self._zygote = Zygote(*self._settings)
        if not self._live_zygote().is_up():
            raise RuntimeError("the verifier's zygote does not start; its own message is above")


class _Batch:
    """One caller's tasks: which wait, which worker has which, and what came of them."""

    def __init__(self, pool: Pool, tasks: Sequence[Sequence[Any]], end: float):
        self.pool, self.tasks, self.end = pool, tasks, end
        self.queue = deque((task, 1) for task in range(len(tasks)))
        self.running: dict[Worker, tuple[int, int, float]] = {}  # task, attempt, start
        self.outcomes: list[Outcome | None] = [None] * len(tasks)

    def run(self) -> list[Outcome]:
        try:
            while (self.queue or self.running) and time.monotonic() < self.end:
                self._dispatch()
                self._collect()
        finally:
            self.pool.leave(self)
            for worker in list(self.running):
                self.pool.discard(worker)
        return [outcome or Outcome(failure=Status.TIMEOUT) for outcome in self.outcomes]

    def _dispatch(self) -> None:
        while self.queue and (worker := self.pool.borrow(self)):
            task, attempt = self.queue.popleft()
            self.running[worker] = task, attempt, time.monotonic()
            try:
                worker.connection.send_bytes(json.dumps(self.tasks[task]).encode())
            except OSError:
                return  # it has just died; its closed socket is seen at once and counts as a crash

    def _collect(self) -> None:
        """Waits for the next reply, deadline or turn."""
        now = time.monotonic()
        late = min((start for _, _, start in self.running.values()), default=now) + self.pool.timeout_s
        patience = min(late, self.end, now + _TURN_S if self.queue else self.end) - now
        ready = set(wait([worker.connection for worker in self.running], max(0.0, patience)))
        now = time.monotonic()
        for worker, (task, _, start) in list(self.running.items()):
            if worker.connection in ready:
                self._receive(worker, task, now - start)
            elif now - start >= self.pool.timeout_s:
                self._fail(worker, Status.TIMEOUT)

    def _receive(self, worker: Worker, task: int, seconds: float) -> None:
        try:
            reply = json.loads(worker.connection.recv_bytes())
        except (EOFError, OSError, ValueError):
            self._fail(worker, Status.CRASH)
            return
        if "error" in reply:
            self._fail(worker, Status.CRASH, reply["error"])
            return
        self.outcomes[task] = Outcome(reply["value"], seconds=seconds)
        del self.running[worker]
        self.pool.give_back(worker)

    def _fail(self, worker: Worker, failure: Status, error: str = "") -> None:
        """The task gets one more attempt, then it has no verdict."""
        task, attempt, start = self.running.pop(worker)
        self.pool.discard(worker)
        if attempt < _ATTEMPTS:
            self.queue.append((task, attempt + 1))
        else:
            self.outcomes[task] = Outcome(failure=failure, seconds=time.monotonic() - start, error=error)
