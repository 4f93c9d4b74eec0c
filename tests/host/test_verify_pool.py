"""The worker pool: one that hangs or dies is killed alone, and nothing outlives the parent."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from lte_jax.host.verify import Verifier, grade
from lte_jax.host.verify.parent import TargetError
from lte_jax.host.verify.pool import Pool
from lte_jax.records import Status

TARGET = """
import os, resource, sys, time

def target(task):
    if task == "hang":
        while True:
            pass
    if task in ("nap", "long nap"):
        time.sleep(0.25 if task == "nap" else 2)
    if task == "die":
        os._exit(3)
    if task == "leave a trace and die":
        os.close(os.open(f"{__file__}.{os.getpid()}", os.O_CREAT))
        os._exit(3)
    if task == "raise":
        raise KeyError("no")
    if task == "grow":
        return len(bytearray(2_000_000_000))
    if task == "write":
        with open(__file__ + ".out", "w") as file:
            file.write("x")
    if task == "pid":
        return os.getpid()
    if task == "environment":
        return sorted(os.environ)
    if task == "modules":
        return sorted(sys.modules)
    return task
"""


def run(pool, tasks, batch_timeout_s):
    """Outcomes of tasks of one argument each."""
    return pool.run([[task] for task in tasks], batch_timeout_s)


@pytest.fixture
def make_pool(tmp_path, monkeypatch):
    (tmp_path / "pool_target.py").write_text(TARGET)
    monkeypatch.syspath_prepend(str(tmp_path))
    pools = []

    def make(target="pool_target:target", workers=2, timeout_s=0.3):
        pools.append(Pool(target, workers, timeout_s, memory_mb=512))
        return pools[-1]

    yield make
    for pool in pools:
        pool.close()


@pytest.fixture(scope="module")
def verifier():
    with Verifier(workers=2) as verifier:
        yield verifier


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until(condition, seconds=5.0):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()


def test_hanging_and_dying_tasks_leave_their_neighbours_unharmed(make_pool):
    tasks = [1, "hang", 2, "die", 3, "raise", 4, "grow", 5, "write", 6]
    outcomes = run(make_pool(), tasks, 30)
    assert [outcome.value for outcome in outcomes] == [1, None, 2, None, 3, None, 4, None, 5, None, 6]
    failures = [outcome.failure for outcome in outcomes if outcome.failure]
    assert failures == [Status.TIMEOUT] + [Status.CRASH] * 4


def test_a_lost_task_is_tried_twice_and_no_more(make_pool, tmp_path):
    assert run(make_pool(workers=1), ["leave a trace and die"], 30)[0].failure is Status.CRASH
    assert len(list(tmp_path.glob("pool_target.py.*"))) == 2


def test_an_idle_worker_that_was_killed_costs_no_verdict(make_pool):
    pool = make_pool(workers=1)
    os.kill(run(pool, ["pid"], 30)[0].value, signal.SIGKILL)
    assert run(pool, [7], 30)[0].value == 7


def test_a_killed_zygote_is_started_again(make_pool):
    pool = make_pool(workers=1)
    run(pool, [0], 30)
    os.kill(pool.pids[0], signal.SIGKILL)
    time.sleep(0.1)
    assert [outcome.value for outcome in run(pool, [1, 2, 3], 30)] == [1, 2, 3]


def test_a_batch_ends_at_its_deadline_and_the_pool_goes_on(make_pool):
    pool = make_pool(workers=1, timeout_s=60)
    run(pool, [0], 30)
    start = time.monotonic()
    outcomes = run(pool, ["hang", 1, 2], 0.5)
    assert time.monotonic() - start < 60  # not the task's own limit, whatever else the machine does
    assert [outcome.failure for outcome in outcomes] == [Status.TIMEOUT] * 3
    assert run(pool, [5], 30)[0].value == 5


def test_it_works_off_the_main_thread_and_from_several(make_pool):
    pool, results = make_pool(), {}

    def work(offset):
        results[offset] = [outcome.value for outcome in run(pool, range(offset, offset + 20), 30)]

    threads = [threading.Thread(target=work, args=(offset,)) for offset in (0, 100, 200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(values == list(range(offset, offset + 20)) for offset, values in results.items())


def test_a_slow_batch_of_one_caller_does_not_hold_another_up(make_pool):
    pool = make_pool(workers=1, timeout_s=30.0)
    run(pool, [0], 30)
    slow = threading.Thread(target=run, args=(pool, ["nap"] * 12, 30))  # 12 x 0.25 s
    slow.start()
    time.sleep(0.1)
    assert [outcome.value for outcome in run(pool, [1], 30)] == [1]
    assert slow.is_alive()
    slow.join()


def test_an_exact_question_asks_no_worker(verifier, monkeypatch):
    def asked(tasks, limit_s):
        raise AssertionError(f"workers were asked: {tasks}")

    monkeypatch.setattr(verifier._pool, "run", asked)
    assert verifier.same_answer([("1/2", "0.5"), ("3", "4")]) == [True, False]
    with pytest.raises(AssertionError, match="workers were asked"):
        verifier.same_answer([(r"\sqrt{2}+x", r"\sqrt{2}+2 x+\sin x")])


def test_a_callers_deadline_counts_while_it_waits_for_its_turn(make_pool):
    pool = make_pool(workers=1, timeout_s=30.0)
    run(pool, [0], 30)
    slow = threading.Thread(target=run, args=(pool, ["long nap"], 30))
    slow.start()
    time.sleep(0.1)
    assert run(pool, [1], 0.3)[0].failure is Status.TIMEOUT
    slow.join()
    assert run(pool, [2], 30)[0].value == 2


def test_closing_ends_a_batch_that_another_thread_runs(make_pool):
    pool, ended = make_pool(workers=1, timeout_s=60.0), []

    def work():
        with pytest.raises(RuntimeError, match="closed"):
            run(pool, ["hang", 1], 60)
        ended.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    time.sleep(0.5)
    pool.close()
    thread.join(timeout=10)
    assert ended


def test_telling_answers_apart_has_a_deadline_of_its_own():
    hard = [(rf"\lfloor {n}\sqrt{{2}}\rfloor", rf"\lfloor {n}\pi\rfloor") for n in range(60)]
    with Verifier(workers=1, equality_timeout_s=1e-6) as verifier:
        assert set(verifier.same_answer(hard)) == {None}
        assert verifier.grade_many([(r"\sqrt8", r"\boxed{2\sqrt2}", False)])[0].correct


def test_the_environment_of_a_worker_is_minimal(make_pool, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "secret")
    seen = run(make_pool(), ["environment"], 30)[0].value
    assert "HF_TOKEN" not in seen and "HOME" not in seen


def test_the_zygote_knows_sympy_but_not_jax():
    code = (
        "import sys, lte_jax.host.verify, lte_jax.host.verify.zygote\n"
        "assert 'sympy' not in sys.modules\n"
        "import lte_jax.host.verify.slow\n"
        "print('sympy' in sys.modules, {name.partition('.')[0] for name in sys.modules} & {'jax', 'jaxlib', 'flax'})"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.split(maxsplit=1) == ["True", "set()\n"]


@pytest.mark.skipif(sys.platform != "linux", reason="reads the memory map of a live process in /proc")
def test_the_live_zygote_has_no_jax_mapped(verifier):
    assert verifier.same_answer([("x+1", "1+x")]) == [True]
    for pid in verifier.pids:
        with open(f"/proc/{pid}/maps") as maps:
            assert "jaxlib" not in maps.read()


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGINT])
def test_a_parent_that_dies_leaves_no_orphan(ending, tmp_path, monkeypatch):
    (tmp_path / "pool_target.py").write_text(TARGET)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *filter(None, sys.path)]))
    code = (
        "from lte_jax.host.verify.pool import Pool\n"
        "def run(pool, tasks, limit_s): return pool.run([[task] for task in tasks], limit_s)\n"
        "pool = Pool('pool_target:target', 2, 60.0, 512)\n"
        "run(pool, [0, 1], 30)\n"
        "pids = pool.pids\n"
        "print(*pids, *[outcome.value for outcome in run(pool, ['pid', 'pid'], 30)], flush=True)\n"
        "run(pool, ['hang', 'hang'], 60)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    pids = [int(word) for word in parent.stdout.readline().split()]
    assert len(pids) >= 3 and all(map(alive, pids))
    time.sleep(0.2)
    parent.send_signal(ending)
    parent.wait(timeout=20)
    parent.stdout.close()
    assert wait_until(lambda: not any(map(alive, pids)))


def test_close_ends_all_processes_and_may_be_called_twice(make_pool):
    pool = make_pool()
    run(pool, [1, 2, 3], 30)
    pids = pool.pids
    pool.close()
    pool.close()
    assert wait_until(lambda: not any(map(alive, pids)))
    with pytest.raises(RuntimeError, match="closed"):
        run(pool, [1], 1)


def test_a_target_that_cannot_be_imported_is_an_error_and_not_a_verdict(make_pool):
    with pytest.raises(TargetError, match="No module named 'no_such_module'"):
        run(make_pool("no_such_module:f"), [1], 30)


def test_verdicts_come_in_order_and_repeat(verifier):
    items = [("5", r"\boxed{5}", False), (r"\sqrt8", r"\boxed{2\sqrt2}", False), ("x+1", r"\boxed{x+2}", False)] * 50
    verdicts = verifier.grade_many(items)
    assert [verdict.correct for verdict in verdicts] == [True, True, False] * 50
    assert [verdict.gold for verdict in verdicts] == [gold for gold, _, _ in items]
    assert verifier.grade_many([]) == []


def test_same_answer_is_exact_and_says_when_it_does_not_know(verifier):
    pairs = [("1/2", "0.5"), (r"\sqrt8", r"2\sqrt2"), ("0.333", r"\frac13"), ("x", "y")]
    pairs += [(r"\frac{", "1"), ("9^{9^{9^9}}", "1")]
    assert verifier.same_answer(pairs) == [True, True, False, False, None, None]


def test_the_bare_function_uses_workers_where_it_must():
    verdict = grade(r"\frac{\sqrt{3}}{3}", r"Hence \boxed{\frac{1}{\sqrt{3}}}.")
    assert (verdict.correct, verdict.status, verdict.rule) == (True, Status.EQUAL, "box")
