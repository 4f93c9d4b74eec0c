"""Several processes meet, or each says who is missing. Threads stand for processes, but for what a user starts."""

import os
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import pytest
from commands import QUICKSTART, ROOT, environment, start

from lte_jax.run import roll_call
from lte_jax.run.processes import find_place, join
from lte_jax.run.roll_call import Absent, Place, Refused, call_the_roll


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    """Who is missing is said soon, and often."""
    monkeypatch.setattr(roll_call, "SAY_AFTER_S", 0.02)
    monkeypatch.setattr(roll_call, "SAY_EVERY_S", 0.02)
    monkeypatch.setattr(roll_call, "RETRY_S", 0.02)


@pytest.fixture
def address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


class Process(threading.Thread):
    """One that answers the roll call; `end` is what it ended with."""

    def __init__(self, address: str, own: int, n_processes: int, timeout_s: float = 60):
        super().__init__(daemon=True)
        self.place, self.timeout_s = Place(address, n_processes, own), timeout_s
        self.said, self.end = [], "waits"
        self.start()

    def run(self):
        try:
            call_the_roll(self.place, self.timeout_s, self.said.append)
            self.end = "joined"
        except Exception as error:
            self.end = error

    def until(self, words: str) -> None:
        """Until it says so."""
        while not any(words in line for line in self.said):
            assert self.is_alive(), (self.said, self.end)
            time.sleep(0.005)

    def ended(self):
        self.join(60)
        return self.end


@contextmanager
def visitor(address: str, sent: bytes):
    with socket.create_connection(roll_call._split(address, "")) as connection:
        connection.sendall(sent)
        yield connection


def test_each_says_who_is_missing_until_all_have_come(address):
    early = [Process(address, own, 4) for own in (2, 0)]
    for process in early:
        process.until(f"2 of 4 processes have not joined at {address}: 1, 3 (joined: 0, 2)")
    assert "process 2 waits, 60 s at most (--join-timeout-s)" in early[0].said[-1]
    late = [Process(address, own, 4) for own in (3, 1)]
    assert [process.ended() for process in early + late] == ["joined"] * 4
    with socket.create_server(roll_call._split(address, "")):  # free for jax
        pass


@pytest.mark.parametrize("impatient", [0, 1])
def test_all_give_up_with_the_first_and_name_who_did_not_come(address, impatient):
    patient = Process(address, 1 - impatient, 3)
    patient.until("")
    first = Process(address, impatient, 3, timeout_s=1)
    wanted = f"process {impatient} gave up after 1 s (--join-timeout-s): 1 of 3 processes have not joined at {address}"
    for process in (first, patient):
        assert isinstance(process.ended(), Absent) and str(process.end) == f"{wanted}: 2 (joined: 0, 1)"


def test_where_process_0_is_missing_its_address_is_said(address):
    end = Process(address, 1, 2, timeout_s=0.2).ended()
    assert isinstance(end, Absent) and f"process 0 does not answer at {address}: Connection refused" in str(end)


def test_one_that_leaves_is_missing_again(address):
    first = Process(address, 0, 3)
    first.until("not joined")
    with visitor(address, b'{"process": 1, "n_processes": 3}\n'):
        first.until("(joined: 0, 1)")
    del first.said[:]
    first.until(": 1, 2 (joined: 0)")


def test_numbers_that_cannot_be_are_refused(address):
    first, second = Process(address, 0, 3), Process(address, 1, 3)
    first.until("joined: 0, 1")
    twice, other = Process(address, 1, 3).ended(), Process(address, 1, 2).ended()
    assert isinstance(twice, Refused) and "refuses process 1: a process 1 is there already" in str(twice)
    assert isinstance(other, Refused) and "started as one of 2 processes, process 0 as one of 3" in str(other)
    assert Process(address, 2, 3).ended() == first.ended() == second.ended() == "joined"


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\n\r\n", b"[]\n", b'{"process": 1}\n', b"\xff\n"])
def test_a_strange_visitor_disturbs_nobody(address, sent):
    first = Process(address, 0, 2)
    first.until("not joined")
    with visitor(address, sent):
        assert Process(address, 1, 2).ended() == first.ended() == "joined"


def test_a_port_that_is_taken_is_said(address):
    with socket.create_server(roll_call._split(address, "")):
        end = Process(address, 0, 2).ended()
    assert isinstance(end, ValueError) and f"process 0 cannot listen at {address}" in str(end)


def test_one_process_of_one_waits_for_nobody():
    call_the_roll(Place("nowhere:1", 1, 0), 1, print)


@pytest.mark.parametrize(
    ("variables", "refused"),
    [
        ({"JAX_COORDINATOR_ADDRESS": "there:1", "JAX_PROCESS_ID": "0"}, "without JAX_NUM_PROCESSES: wanted all of"),
        ({"JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": "2"}, "wanted a number, and one from 0 to below it"),
        ({"JAX_NUM_PROCESSES": "two", "JAX_PROCESS_ID": "0"}, "wanted a number, and one from 0 to below it"),
        ({"JAX_COORDINATOR_ADDRESS": "there", "JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": "0"}, "wanted HOST:PORT"),
    ],
)
def test_a_place_that_cannot_be_is_refused(monkeypatch, variables, refused):
    whole = {"JAX_COORDINATOR_ADDRESS": "there:1"} if "without" not in refused else {}
    monkeypatch.setattr(os, "environ", {**whole, **variables})
    with pytest.raises(ValueError, match=refused):
        join(1, print)


def test_no_place_at_all_is_refused(monkeypatch):
    monkeypatch.setattr(os, "environ", {})
    with pytest.raises(ValueError, match="no cluster is detected .* wanted one, or all of JAX_COORDINATOR_ADDRESS"):
        find_place(1)


def test_one_of_two_processes_alone_says_so_and_ends_with_1(address, tmp_path):
    """As a user starts them: after 5 s a line, after the set time the error. Two runs at once, a process of each."""
    arguments = ("train", QUICKSTART, "--distributed", "--join-timeout-s", "5.5", "--run", tmp_path / "run")
    places = [
        {"JAX_COORDINATOR_ADDRESS": place, "JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": str(own)}
        for own, place in enumerate((address, "127.0.0.1:9"))
    ]
    running = [start(*arguments, **place) for place in places]
    said = [process.communicate()[0].splitlines() for process in running]
    assert [process.returncode for process in running] == [1, 1], said
    waits, gave_up = said[0][-2:]
    assert waits.startswith("process 0 waits, 5.5 s at most") and gave_up.startswith("error: process 0 gave up after")
    assert waits.endswith(": 1 (joined: 0)") and gave_up.endswith(": 1 (joined: 0)")
    assert "process 0 does not answer at" in said[1][-2] and said[1][-1].startswith("error: process 1 gave up after")


FAILS = """
import sys
from lte_jax import cli
from lte_jax.run import processes
processes.LEAVE_S = 0
with cli._alone_in_failure(True):
    processes.start(True, 60, print)
    sys.exit(int(sys.argv[1]))
"""


def test_a_process_that_fails_keeps_its_exit_code(address):
    """It does not wait at its end for the others, which wait for it."""
    running = []
    for own, code in ((0, None), (1, 2)):
        place = {"JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": str(own)}
        script = FAILS if code else FAILS.replace("sys.exit(int(sys.argv[1]))", "import time; time.sleep(600)")
        running.append(subprocess.Popen([sys.executable, "-c", script, str(code)], env=environment(**place), cwd=ROOT))
    assert running[1].wait(60) == 2
    running[0].kill()
    running[0].wait()
