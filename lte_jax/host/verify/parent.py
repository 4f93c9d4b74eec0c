"""The parent's end of a zygote: start it, ask it for workers, have one killed, close it. Safe from several threads."""

import os
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass
from multiprocessing.connection import Connection

from lte_jax.host.verify.protocol import REPLY, REQUEST

_START_S = 120.0  # for the zygote to import its target on a busy machine


class TargetError(ValueError):
    """The function that the workers should run cannot be imported, is none, or takes other arguments."""


@dataclass(eq=False)
class Worker:
    """A forked process and the parent's end of its socket."""

    connection: Connection
    pid: int
    n_done: int = 0

    @property
    def is_alive(self) -> bool:
        """While idle it has nothing to say: something to read means that its socket was closed."""
        return not self.connection.poll()


class Zygote:
    """Started at once, waited for at the first request. `folder`: one more to import from, after all others;
    `parameters`: of the target, in one line; `settings`: its own, as JSON; null: it has none."""

    def __init__(
        self,
        target: str,
        memory_mb: int,
        timeout_s: float,
        folder: str = "",
        parameters: str = "",
        settings: str = "null",
    ):
        self._target = target
        self._lock = threading.Lock()
        self._ready = False
        self._control, theirs = socket.socketpair()
        module = "lte_jax.host.verify.zygote"
        command = [sys.executable, "-m", module, target, parameters, settings, str(theirs.fileno())]
        with theirs:
            self._process = subprocess.Popen(
                [*command, str(memory_mb), str(timeout_s)],
                env=_environment(folder),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # Ctrl-C is for the parent, which then closes the socket
            )
        self.pid = self._process.pid

    def is_up(self) -> bool:
        """Waits until it has its target; False where the process has ended. Raises TargetError."""
        try:
            with self._lock:
                self._wait()
        except OSError:
            return False
        return self._process.poll() is None

    def fork(self) -> Worker:
        """A new worker. Raises TargetError, or OSError where the zygote has ended."""
        ours, theirs = socket.socketpair()
        with theirs:
            pid = self._ask(b"F", 0, [theirs.fileno()])
        return Worker(Connection(ours.detach()), pid)

    def kill(self, worker: Worker) -> None:
        """Raises OSError where the zygote has ended; its workers went with it."""
        self._ask(b"K", worker.pid, [])

    def close(self) -> None:
        self._control.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _ask(self, kind: bytes, pid: int, passed: list[int]) -> int:
        with self._lock:
            self._wait()
            socket.send_fds(self._control, [REQUEST.pack(kind, pid)], passed)
            return REPLY.unpack(self._receive(REPLY.size))[0]

    def _wait(self) -> None:
        if self._ready:
            return
        self._control.settimeout(_START_S)
        (reply,) = REPLY.unpack(self._receive(REPLY.size))
        if reply < 0:
            reason = self._receive(-reply).decode(errors="replace")
            raise TargetError(f"{self._target}: workers cannot run it: {reason}")
        self._ready = True

    def _receive(self, size: int) -> bytes:
        received = b""
        while len(received) < size:
            if not (part := self._control.recv(size - len(received))):
                raise ConnectionError("the verifier's zygote has ended")
            received += part
        return received


def _environment(folder: str) -> dict[str, str]:
    """What a worker may see: where to import from, nothing of the user's environment."""
    return {
        "PATH": os.defpath,
        "LANG": "C.UTF-8",
        "PYTHONPATH": os.pathsep.join(path for path in (*sys.path, folder) if path),
        "PYTHONSAFEPATH": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
