"""One run per run folder. On a disk the kernel keeps the lock; in a bucket the run renews a note that it is there.

Clocks of two machines are never compared: who finds a note watches whether it changes.
"""

import fcntl
import json
import os
import socket
import threading
import uuid
from collections.abc import Callable
from pathlib import Path

from etils import epath

from lte_jax.config import ConfigError
from lte_jax.storage.paths import is_remote, write_whole

LOCK = "lock"
RENEW_S = 10.0  # between two renewals of a note
GONE_S = 45.0  # a note that has not changed for so long was left by a run that is gone
SETTLE_S = 2.0  # after which, of two that wrote at once, only the last one's note is there


def lock(run: epath.Path, say: Callable[[str], None]) -> "DiskLock | BucketLock":
    """The lock of a run folder, held until `release`. Raises ConfigError where another run holds it."""
    return BucketLock(run, say) if is_remote(run) else DiskLock(run)


def _taken(run: epath.Path, by: str) -> ConfigError:
    return ConfigError(f"{run}: another process is running here{by}; wait for it or choose another folder")


class DiskLock:
    """A flock: it ends with the process, however that ends."""

    def __init__(self, run: epath.Path):
        self._file = Path(run / LOCK).open("w")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.close()
            raise _taken(run, "") from None

    def check(self) -> None:
        """Nothing: it cannot be lost."""

    def release(self) -> None:
        self._file.close()


class BucketLock:
    """A note that a thread renews. Where another's is found, waits up to GONE_S to see whether that one is renewed."""

    def __init__(self, run: epath.Path, say: Callable[[str], None]):
        self._run, self._path, self._id = run, run / LOCK, uuid.uuid4().hex
        self._ending = threading.Event()
        found = self._read()
        if found:
            say(f"{self._path}: {found['who']} was here; looking for up to {GONE_S:.0f} s whether it still is")
            self._refuse_if_renewed(found)
        self._write(0)
        self._ending.wait(SETTLE_S)
        self.check()
        self._thread = threading.Thread(target=self._renew, name="lock", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raises ConfigError where another run has taken the folder, this one having slept for longer than GONE_S."""
        found = self._read()
        if not found or found["id"] != self._id:
            raise _taken(self._run, f" ({found['who']})" if found else ", or has removed its lock")

    def release(self) -> None:
        self._ending.set()
        self._thread.join()
        found = self._read()
        if found and found["id"] == self._id:
            self._path.unlink()

    def _refuse_if_renewed(self, found: dict) -> None:
        for _ in range(int(GONE_S)):
            self._ending.wait(1.0)
            now = self._read()
            if not now:
                return
            if now != found:
                raise _taken(self._run, f" ({now['who']})")

    def _renew(self) -> None:
        n_renewed = 0
        while not self._ending.wait(RENEW_S):
            n_renewed += 1
            found = self._read()
            if found and found["id"] != self._id:
                return  # `check` says so before anything is saved
            self._write(n_renewed)

    def _read(self) -> dict | None:
        return json.loads(self._path.read_text()) if self._path.exists() else None

    def _write(self, n_renewed: int) -> None:
        note = {"id": self._id, "who": f"{socket.gethostname()}, process {os.getpid()}", "n_renewed": n_renewed}
        write_whole(self._path, json.dumps(note))
