"""A pool of workers with a time limit for each task, kept by the parent: a worker that is late is killed alone.

No signals, no threads: works off the main thread and beside jax. The zygote forks the workers; see zygote.py.
"""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

from lte_jax.host.verify.protocol import REPLY, REQUEST
from lte_jax.records import Status

_START_S = 120.0  # for the zygote to import its target on a busy machine
_TASKS_PER_WORKER = 2_000  # then it is recycled, so that caches do not grow for ever
_ATTEMPTS = 2


@dataclass(frozen=True)
class Outcome:
    """`value` is what the target returned; `failure` says why there is none."""

    value: Any = None
    failure: Status | None = None
    seconds: float = 0.0


@dataclass(eq=False)
class _Worker:
    connection: Connection
    pid: int
    n_done: int = 0
    task: int = -1
    attempt: int = 0
    started: float = 0.0


class Zygote:
    """The parent's end of the zygote: started at once, waited for at the first fork."""

    def __init__(self, target: str, memory_mb: int, timeout_s: float):
        self._control, theirs = socket.socketpair()
        command = [sys.executable, "-m", "lte_jax.host.verify.zygote", target, str(theirs.fileno())]
        with theirs:
            self._process = subprocess.Popen(
                [*command, str(memory_mb), str(timeout_s)],
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # Ctrl-C is for the parent, which then closes the socket
            )
        self.pid = self._process.pid
        self._ready = False

    def _reply(self) -> int:
        reply = b""
        while len(reply) < REPLY.size:
            if not (part := self._control.recv(REPLY.size - len(reply))):
                raise ConnectionError("the verifier's zygote has ended")
            reply += part
        return REPLY.unpack(reply)[0]

    def _ask(self, kind: bytes, pid: int, passed: list[int]) -> int:
        self._control.settimeout(_START_S)
        if not self._ready:
            self._reply()
            self._ready = True
        socket.send_fds(self._control, [REQUEST.pack(kind, pid)], passed)
        return self._reply()

    def fork(self) -> _Worker:
        ours, theirs = socket.socketpair()
        with theirs:
            pid = self._ask(b"F", 0, [theirs.fileno()])
        return _Worker(Connection(ours.detach()), pid)

    def kill(self, pid: int) -> None:
        self._ask(b"K", pid, [])

    def close(self) -> None:
        self._control.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _environment() -> dict[str, str]:
    """What a worker may see: where to import from, nothing of the user's environment."""
    return {
        "PATH": os.defpath,
        "LANG": "C.UTF-8",
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "PYTHONSAFEPATH": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }


class Pool:
    """Runs a target, `package.module:function` from one JSON value to another, under limits."""

    def __init__(self, target: str, workers: int, timeout_s: float, memory_mb: int):
        if workers < 1 or timeout_s <= 0 or memory_mb < 1:
            raise ValueError(f"wanted a worker, a MB and some time, got {workers=}, {memory_mb=}, {timeout_s=}")
        self._settings = (target, memory_mb, timeout_s)
        self._n_workers = workers
        self._timeout_s = timeout_s
        self._zygote: Zygote | None = Zygote(*self._settings)
        self._idle: list[_Worker] = []
        self._busy: list[_Worker] = []
        self._lock = threading.Lock()

    @property
    def pids(self) -> list[int]:
        """The zygote and its workers."""
        return [self._zygote.pid, *(worker.pid for worker in self._idle + self._busy)] if self._zygote else []

    def run(self, tasks: Sequence[Any], batch_timeout_s: float) -> list[Outcome]:
        """Outcomes in the order of the tasks. What is not done by the deadline of the batch is a timeout."""
        with self._lock:
            if self._zygote is None:
                raise RuntimeError("the verifier's pool is closed")
            outcomes: list[Outcome | None] = [None] * len(tasks)
            try:
                self._run(tasks, outcomes, time.monotonic() + batch_timeout_s)
            finally:
                for worker in list(self._busy):
                    self._discard(worker)
            return [outcome or Outcome(failure=Status.TIMEOUT) for outcome in outcomes]

    def _run(self, tasks: Sequence[Any], outcomes: list[Outcome | None], end: float) -> None:
        queue = deque((task, 1) for task in range(len(tasks)))
        while (queue or self._busy) and (now := time.monotonic()) < end:
            while queue and len(self._busy) < self._n_workers:
                self._dispatch(tasks, *queue.popleft())
            first = min(worker.started for worker in self._busy) + self._timeout_s
            ready = set(wait([worker.connection for worker in self._busy], max(0.0, min(first, end) - now)))
            now = time.monotonic()
            for worker in list(self._busy):
                if worker.connection in ready:
                    self._collect(worker, queue, outcomes)
                elif now - worker.started >= self._timeout_s:
                    self._fail(worker, Status.TIMEOUT, queue, outcomes)

    def _dispatch(self, tasks: Sequence[Any], task: int, attempt: int) -> None:
        worker = self._idle.pop() if self._idle else self._spawn()
        worker.task, worker.attempt, worker.started = task, attempt, time.monotonic()
        self._busy.append(worker)
        try:
            worker.connection.send_bytes(json.dumps(tasks[task]).encode())
        except OSError:
            return  # it died while idle; its closed socket is seen at once and counts as a crash

    def _spawn(self) -> _Worker:
        try:
            return self._zygote.fork()
        except OSError:  # somebody killed the zygote: its workers went with it
            for worker in self._idle:
                worker.connection.close()
            self._idle.clear()
            self._zygote.close()
            self._zygote = Zygote(*self._settings)
        try:
            return self._zygote.fork()
        except OSError as error:
            raise RuntimeError(f"the verifier's zygote does not start; its own message is above ({error})") from error

    def _collect(self, worker: _Worker, queue: deque, outcomes: list[Outcome | None]) -> None:
        try:
            reply = json.loads(worker.connection.recv_bytes())
        except (EOFError, OSError, ValueError):
            self._fail(worker, Status.CRASH, queue, outcomes)
            return
        if "error" in reply:
            self._fail(worker, Status.CRASH, queue, outcomes)
            return
        outcomes[worker.task] = Outcome(reply["value"], seconds=time.monotonic() - worker.started)
        worker.n_done += 1
        self._busy.remove(worker)
        if worker.n_done < _TASKS_PER_WORKER:
            self._idle.append(worker)
        else:
            worker.connection.close()  # it ends by itself

    def _fail(self, worker: _Worker, failure: Status, queue: deque, outcomes: list[Outcome | None]) -> None:
        """Kill this worker alone; the task gets one more attempt, then it has no verdict."""
        self._discard(worker)
        if worker.attempt < _ATTEMPTS:
            queue.append((worker.task, worker.attempt + 1))
        else:
            outcomes[worker.task] = Outcome(failure=failure, seconds=time.monotonic() - worker.started)

    def _discard(self, worker: _Worker) -> None:
        self._busy.remove(worker)
        worker.connection.close()
        try:
            self._zygote.kill(worker.pid)
        except OSError:
            return  # the zygote is gone and took its workers along; the next fork starts another

    def close(self) -> None:
        """End all workers. Safe to call twice."""
        with self._lock:
            if self._zygote is None:
                return
            for worker in self._idle:
                worker.connection.close()
            self._idle.clear()
            self._zygote.close()
            self._zygote = None
