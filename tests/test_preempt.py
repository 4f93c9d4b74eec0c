"""Several processes stop before the same place, whichever of them is asked, wherever the others are."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from commands import environment

from lte_jax.run.preempt import EXIT_CODE, INTERRUPTED, Preempted, Preemption


@pytest.mark.parametrize("asked", [2, pytest.param(0, marks=pytest.mark.slow)])
def test_processes_agree_where_to_stop_while_some_sample_and_some_wait(asked):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    script = str(Path(__file__).with_name("stopping.py"))
    running = [
        subprocess.Popen(
            [sys.executable, script, str(index), "3", port], env=environment(), stdout=subprocess.PIPE, text=True
        )
        for index in range(3)
    ]
    assert running[asked].stdout.readline() == "passed 0\n"
    time.sleep(0.1)  # process 0 waits at place 1, process 2 samples for 0.4 s
    running[asked].send_signal(signal.SIGTERM)
    said = [process.communicate(timeout=60)[0].splitlines() for process in running]
    assert [process.returncode for process in running] == [EXIT_CODE] * 3
    assert [lines[-1] for lines in said] == ["stopped before 1"] * 3  # nobody finishes its sampling first


def test_alone_a_process_stops_where_it_looks_next():
    with pytest.raises(Preempted) as stopped, Preemption(60, print) as preemption:
        preemption.meet()
        os.kill(os.getpid(), signal.SIGTERM)
        for _ in range(1000):
            preemption.meet()
            time.sleep(0.01)
    assert stopped.value.code == EXIT_CODE
    preemption.__exit__(None)  # as this process goes on


def test_ctrl_c_stops_like_sigterm_and_says_so_and_a_second_one_leaves_at_once():
    said = []
    with pytest.raises(KeyboardInterrupt), Preemption(60, said.append) as preemption:
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(Preempted) as stopped:
            for _ in range(1000):
                preemption.meet()
                time.sleep(0.01)
        assert stopped.value.code == INTERRUPTED == 130 and preemption.cause == "Ctrl-C"
        assert said == [
            "Ctrl-C: this step is abandoned, the last completed one is saved; a second Ctrl-C leaves at once"
        ]
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(1)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_background_job_goes_on_ignoring_ctrl_c():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Preemption(60, print) as preemption:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.05)
            preemption.look()
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_process_that_cannot_stop_leaves_when_its_time_is_over():
    """The main thread waits in C for a lock that nobody frees, as it may for a device: no Python handler runs there."""
    code = (
        "import ctypes, os, signal, threading\nfrom lte_jax.run.preempt import Preemption\n"
        "c, lock = ctypes.CDLL(None), ctypes.create_string_buffer(64)\n"
        "with Preemption(0.5, print):\n"
        "  threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM)).start()\n"
        "  c.pthread_mutex_lock(lock), c.pthread_mutex_lock(lock)"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, timeout=500)
    assert done.returncode == EXIT_CODE
    assert "leaving without a further checkpoint" in done.stdout
