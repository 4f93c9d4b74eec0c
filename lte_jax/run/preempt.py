"""Asked to stop by SIGTERM or Ctrl-C: the step is abandoned, the last completed one is saved, the process leaves in time.

Processes agree on the step without a device collective, which would hang where one of them has left: process 0 decides
before each place that all pass together, through the key-value store that jax.distributed brings.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable

from lte_jax.run.jax_private import key_value_store

EXIT_CODE = 75  # EX_TEMPFAIL of sysexits.h: the same command continues
INTERRUPTED = 128 + signal.SIGINT  # after Ctrl-C, by which nobody means to start again at once
ASKED, PASSED, ARRIVED = "lte/asked/", "lte/passed/", "lte/arrived/"  # keys of the store
POLL_S, NEVER_MS = 0.01, 2**31 - 1


class Preempted(SystemExit):
    """Ends the process with EXIT_CODE, or INTERRUPTED; whatever is open closes on the way."""


class Preemption:
    """Listens for SIGTERM and Ctrl-C while open, and ends the process `grace_s` seconds after it at the latest. A second
    Ctrl-C raises KeyboardInterrupt.

    A thread reads the signal from the interpreter's wake-up pipe: while the main thread waits for the device, no Python
    handler runs. May be opened in the main thread only.
    """

    def __init__(self, grace_s: float, say: Callable[[str], None]):
        self._grace_s, self._say = grace_s, say
        self._asked = threading.Event()
        self._n_interrupts = 0
        self._leaving: threading.Timer | None = None
        self._place = 0  # of those that all processes pass together: the next

    def __enter__(self) -> "Preemption":
        self._read_end, self._write_end = os.pipe()
        os.set_blocking(self._write_end, False)
        self._handlers = {signal.SIGTERM: signal.signal(signal.SIGTERM, lambda *_: None)}
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # a shell's background job ignores it
            self._handlers[signal.SIGINT] = signal.signal(signal.SIGINT, self._interrupt)
        self._wakeup = signal.set_wakeup_fd(self._write_end, warn_on_full_buffer=False)
        threading.Thread(target=self._listen, args=(self._read_end,), name="preemption", daemon=True).start()
        return self

    def __exit__(self, kind, *_) -> None:
        if kind is Preempted:  # the process is on its way out, still under the clock
            return
        signal.set_wakeup_fd(self._wakeup)
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        os.close(self._write_end)  # which ends the thread
        if self._leaving:
            self._leaving.cancel()

    @property
    def cause(self) -> str:
        """What the user did, or the machine."""
        return "Ctrl-C" if self._n_interrupts else "SIGTERM"

    @property
    def _code(self) -> int:
        return INTERRUPTED if self._n_interrupts else EXIT_CODE

    def _interrupt(self, *_) -> None:
        self._n_interrupts += 1
        if self._n_interrupts > 1:
            raise KeyboardInterrupt
        self._say("Ctrl-C: this step is abandoned, the last completed one is saved; a second Ctrl-C leaves at once")

    def look(self) -> None:
        """Raises Preempted where the processes have agreed to stop before the next place that all pass together."""
        self._stop_if(agreed_to_stop(self._asked.is_set(), self._place, arrived=False))

    def meet(self) -> None:
        """A place that all processes pass together, or none does: then raises Preempted in all of them."""
        self._stop_if(agreed_to_stop(self._asked.is_set(), self._place, arrived=True))
        self._place += 1

    def _stop_if(self, agreed: bool) -> None:
        if agreed:
            self._start_clock()
            raise Preempted(self._code)

    def _listen(self, read_end: int) -> None:
        while received := os.read(read_end, 1):
            if received[0] in self._handlers and not self._asked.is_set():
                self._start_clock()
                self._asked.set()
                store = key_value_store()
                if store is not None:  # here, not in the main thread, which may be waiting for the others
                    store.client.key_value_set(f"{ASKED}{store.own}", "")
        os.close(read_end)

    def _start_clock(self) -> None:
        if self._leaving is None:
            self._leaving = threading.Timer(self._grace_s, self._leave)
            self._leaving.daemon = True
            self._leaving.start()

    def _leave(self) -> None:
        self._say(
            f"not stopped {self._grace_s} s after {self.cause} (preempt.grace_s): leaving without a further checkpoint; the "
            "same command continues from the newest one"
        )
        sys.stdout.flush()
        os._exit(self._code)


def agreed_to_stop(asked: bool, place: int, arrived: bool) -> bool:
    """Whether all processes stop before the place, counted from 0, which each of them then answers alike.

    `asked`: this process was. `arrived`: this process is there, and waits for the answer; else it is on its way, and
    True is final but False is not. One process alone does as it was asked. Of several, process 0 answers for all: stop,
    as soon as anyone was asked; go, once all have arrived. It waits for them so that a step may still be abandoned
    while one of them is sampling.
    """
    store = key_value_store()
    if store is None:
        return asked
    client, own, n_processes = store
    answer = f"{PASSED}{place}/"
    if own == 0:
        is_asked = asked or bool(client.key_value_dir_get(ASKED))
        while arrived and not is_asked and len(client.key_value_dir_get(f"{ARRIVED}{place}/")) < n_processes - 1:
            time.sleep(POLL_S)
            is_asked = bool(client.key_value_dir_get(ASKED))
        if is_asked or arrived:
            client.key_value_set(f"{answer}0", "stop" if is_asked else "go", allow_overwrite=True)
        if arrived and not is_asked:  # all are here, so nobody reads the last answer or these arrivals again
            client.key_value_delete(f"{ARRIVED}{place}/")
            client.key_value_delete(f"{PASSED}{place - 1}/")
        return is_asked
    if arrived:
        client.key_value_set(f"{ARRIVED}{place}/{own}", "")
        return client.blocking_key_value_get(f"{answer}0", NEVER_MS) == "stop"
    return [value for _, value in client.key_value_dir_get(answer)] == ["stop"]
