"""Commands as child processes, a few at once. One that fails stops the rest, and so does what ends this process in
order: Ctrl-C, SIGTERM, a closed terminal. Standard library only.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

POLL_S = 0.2
SHOW_S = 3.0  # between two looks at the progress
GRACE_S = 5.0  # for a child to end by itself after each signal
N_LOG_LINES = 20


class JobError(RuntimeError):
    """A child failed. The message holds its last lines."""


@dataclass(frozen=True, eq=False)
class Job:
    """A command. `log`: file that takes its output, appended; None: it shares this process's output."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path | None = None


def run_jobs(
    jobs: Sequence[Job],
    n_parallel: int,
    show: Callable[[Sequence[str]], None] = lambda names: None,
    finished: Callable[[str, float], None] = lambda name, seconds: None,
) -> None:
    """Runs every job, in order, `n_parallel` at once. Raises JobError as soon as one fails, after ending the others.

    `show(names of the running)` is called every few seconds, `finished(name, seconds)` after each success.
    """
    waiting = deque(jobs)
    running: dict[Job, tuple[subprocess.Popen, float]] = {}
    next_show = time.monotonic()
    with _ends_in_order():
        try:
            while waiting or running:
                while waiting and len(running) < n_parallel:
                    job = waiting.popleft()
                    running[job] = (_start(job), time.monotonic())
                if time.monotonic() >= next_show:
                    show([job.name for job in running])
                    next_show = time.monotonic() + SHOW_S
                time.sleep(POLL_S)
                for job, (child, start) in list(running.items()):
                    if child.poll() is not None:
                        del running[job]
                        _refuse_failure(job, child.returncode)
                        finished(job.name, time.monotonic() - start)
        finally:
            _end([child for child, _ in running.values()])


def _start(job: Job) -> subprocess.Popen:
    """In a session of its own: Ctrl-C is for this process, which then ends the whole group."""
    output = None
    if job.log is None:
        sys.stdout.flush()
    else:
        job.log.parent.mkdir(parents=True, exist_ok=True)
        output = job.log.open("ab")
    try:
        return subprocess.Popen(
            job.command,
            env=dict(job.environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    finally:
        if output:
            output.close()


def _refuse_failure(job: Job, code: int) -> None:
    if code == 0:
        return
    how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    if job.log is None:
        raise JobError(f"{job.name} {how}; what it said is above")
    lines = job.log.read_text(encoding="utf-8", errors="replace").splitlines()[-N_LOG_LINES:]
    tail = "\n".join(f"  | {line}" for line in lines)
    raise JobError(f"{job.name} {how}. The last lines of {job.log}:\n{tail}")


def _end(children: Sequence[subprocess.Popen]) -> None:
    """Ends the children's process groups: first as Ctrl-C does, so that a half-written checkpoint is completed."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        left = [child for child in children if child.poll() is None]
        for child in left:
            os.killpg(child.pid, number)
        deadline = time.monotonic() + GRACE_S
        while time.monotonic() < deadline and any(child.poll() is None for child in left):
            time.sleep(POLL_S / 4)


@contextmanager
def _ends_in_order() -> Iterator[None]:
    """SIGTERM and SIGHUP become SystemExit, so that `finally` runs; Ctrl-C does so by itself."""
    if threading.current_thread() is not threading.main_thread():  # only the main thread may set handlers
        yield
        return

    def leave(number: int, frame) -> None:
        sys.exit(128 + number)

    before = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
