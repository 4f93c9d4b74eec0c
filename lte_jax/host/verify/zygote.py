"""The only process that forks: started by exec before jax, it imports the target (and with it sympy) once.

    python -m lte_jax.host.verify.zygote TARGET PARAMETERS SETTINGS CONTROL_FD MEMORY_MB TIMEOUT_S

Over the control socket it says that it is ready, or why the target cannot be used; then it is asked to fork a worker on
a passed socket, or to kill one. It ends, with all its workers, when that socket closes: so a parent that dies in any
way leaves no orphan.
"""

import ctypes
import json
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection

from lte_jax.host.verify.protocol import MAX_REASON, REPLY, REQUEST
from lte_jax.host.verify.target import as_json, load_target, reason

_PR_SET_PDEATHSIG = 1
_OPEN_FILES = 64


def _limit(kind: int, amount: int) -> None:
    _, hard = resource.getrlimit(kind)
    resource.setrlimit(kind, (amount if hard == resource.RLIM_INFINITY else min(amount, hard), hard))


def _confine(memory_mb: int, zygote: int) -> None:
    """Limits of a worker: it dies with the zygote, and cannot grow, write files or dump core."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != zygote:
            os._exit(1)
    if sys.platform != "darwin":  # macOS refuses RLIMIT_AS
        resource.setrlimit(resource.RLIMIT_AS, (memory_mb << 20, memory_mb << 20))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _limit(resource.RLIMIT_NOFILE, _OPEN_FILES)


def _work(target: Callable, connection: Connection, timeout_s: float) -> None:
    """Answer tasks until the parent closes the socket. Anything that the target raises goes back as an error."""
    while True:
        try:
            arguments = json.loads(connection.recv_bytes())
        except EOFError:
            return
        _limit(resource.RLIMIT_CPU, int(time.process_time() + timeout_s) + 2)
        try:
            reply = f'{{"value": {as_json(target(*arguments))}}}'
        except (Exception, MemoryError, RecursionError) as error:
            reply = json.dumps({"error": reason(error, target)[:MAX_REASON]})
        connection.send_bytes(reply.encode())


def _fork(target: Callable, control: socket.socket, passed: int, memory_mb: int, timeout_s: float) -> int:
    zygote = os.getpid()
    pid = os.fork()
    if pid:
        os.close(passed)
        return pid
    code = 1
    try:
        control.close()
        _confine(memory_mb, zygote)
        _work(target, Connection(passed), timeout_s)
        code = 0
    finally:
        os._exit(code)


def _reap(children: set[int]) -> None:
    while children:
        pid, _ = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        children.discard(pid)


def _kill(pid: int, children: set[int]) -> None:
    """Only a child that is not yet reaped, so that a pid is never reused under us."""
    if pid in children:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        children.discard(pid)


def serve(target: Callable, control: socket.socket, memory_mb: int, timeout_s: float) -> None:
    """Fork and kill on request until the parent is gone."""
    children: set[int] = set()
    control.sendall(REPLY.pack(os.getpid()))
    while True:
        request, passed, _, _ = socket.recv_fds(control, REQUEST.size, 1)
        _reap(children)
        if len(request) < REQUEST.size:
            break
        kind, pid = REQUEST.unpack(request)
        if kind == b"F":
            pid = _fork(target, control, passed[0], memory_mb, timeout_s)
            children.add(pid)
        else:
            _kill(pid, children)
        control.sendall(REPLY.pack(pid))
    for pid in list(children):
        _kill(pid, children)


def main() -> None:
    path, parameters, settings, descriptor, memory_mb, timeout_s = sys.argv[1:]
    control = socket.socket(fileno=int(descriptor))
    try:
        try:
            target = load_target(path, parameters.split(), json.loads(settings))
        except (Exception, SystemExit) as error:  # importing runs the module's own code, which may raise anything
            why = reason(error).encode()[:MAX_REASON]
            control.sendall(REPLY.pack(-len(why)) + why)
            return
        serve(target, control, int(memory_mb), float(timeout_s))
    except (BrokenPipeError, ConnectionResetError):
        return  # the parent has gone; the workers die with us


if __name__ == "__main__":
    main()
