"""Custom rewards: the documented example runs, limits hold, and a bad one is refused before anything is sampled."""

import os
import re
import time
from pathlib import Path

import pytest

from lte_jax.host.verify import Verifier
from lte_jax.host.verify.parent import TargetError
from lte_jax.records import Problem, Status

DOCUMENT = Path(__file__).resolve().parents[2] / "docs/verifier.md"
PROBLEM = Problem("p1", "Write a short palindrome.", "level")
REWARDS = """
import os, time

def shorter(problem, responses):
    wanted = problem["answer"]
    return [{"correct": wanted in text, "reward": 1 / len(text), "extracted": text[-3:]} for text in responses]

def numbers(problem, responses):
    return [float(text) for text in responses]

def slow_once(problem, responses):
    if "hang" in responses:
        while True:
            pass
    if "die" in responses:
        os._exit(3)
    if "raise" in responses:
        raise KeyError("no such thing")
    return [True for _ in responses]

def too_few(problem, responses):
    return [1]

def not_a_number(problem, responses):
    return [float("nan") for _ in responses]

def unknown_field(problem, responses):
    return [{"right": True} for _ in responses]

def environment(problem, responses):
    seen = problem["id"] + problem["problem"]
    return [{"correct": "HF_TOKEN" not in os.environ, "extracted": seen} for _ in responses]

def writes(problem, responses):
    with open(__file__ + ".out", "w") as file:
        file.write("x")

constant = 3
"""


@pytest.fixture
def make(tmp_path, monkeypatch):
    """Verifiers with a reward of my_rewards.py, which stands in the folder the process was started in."""
    (tmp_path / "my_rewards.py").write_text(REWARDS)
    monkeypatch.chdir(tmp_path)
    started = []

    def verifier(name, **settings):
        started.append(Verifier(f"my_rewards:{name}", **{"workers": 1, "timeout_s": 1.0, **settings}))
        return started[-1]

    yield verifier
    for one in started:
        one.close()


def grade(verifier, *responses, truncated=False):
    return verifier.grade_problems([(PROBLEM, response, truncated) for response in responses])


def test_the_documented_example_runs(tmp_path, monkeypatch):
    code = re.search(r"```python\n# palindrome\.py\n(.*?)```", DOCUMENT.read_text(), re.DOTALL).group(1)
    (tmp_path / "palindrome.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    with Verifier("palindrome:reward", workers=1) as verifier:
        verdicts = grade(verifier, r"\boxed{level}", r"\boxed{noon}", r"\boxed{lever}", "nothing to see here")
    assert [v.correct for v in verdicts] == [True, True, False, False]
    assert [v.reward for v in verdicts] == [1.0, 0.5, 0.0, 0.0]
    assert [v.status for v in verdicts] == [Status.EQUAL, Status.EQUAL, Status.DIFFERENT, Status.NO_ANSWER]
    assert verdicts[2].extracted == "lever"


def test_a_verdict_and_its_reward_are_two_things(make):
    short, long, wrong = grade(make("shorter"), "level", "level and so on", "lever")
    assert (short.correct, long.correct, wrong.correct) == (True, True, False)
    assert short.reward > long.reward > 0 and wrong.reward == pytest.approx(0.2)
    assert (wrong.status, wrong.extracted, wrong.rule, wrong.gold) == (Status.DIFFERENT, "ver", "reward", "level")


def test_a_bare_number_is_correct_from_one_up_and_its_answer_is_found_as_usual(make):
    verdicts = grade(make("numbers"), "1", "0", "0.5", "1.1", "-2")
    assert [v.correct for v in verdicts] == [True, False, False, True, False]
    assert [v.reward for v in verdicts] == [1, 0, 0.5, 1.1, -2]
    assert [v.extracted for v in verdicts] == ["1", "0", "0.5", "1.1", "-2"]


def test_one_call_holds_all_responses_of_a_problem_and_verdicts_come_in_order(make):
    other = Problem("p2", "", "noon")
    items = [(PROBLEM, "level", False), (other, "noon", False), (PROBLEM, "x", False), (other, "level", False)]
    assert [v.correct for v in make("shorter").grade_problems(items)] == [True, True, False, False]


@pytest.mark.parametrize(
    ("response", "status"), [("hang", Status.TIMEOUT), ("die", Status.CRASH), ("raise", Status.CRASH)]
)
def test_a_reward_that_hangs_dies_or_raises_gives_no_verdict_and_harms_no_neighbour(make, response, status):
    other = Problem("p2", "", "")
    start = time.monotonic()
    with pytest.warns(RuntimeWarning, match="KeyError: 'no such thing'" if response == "raise" else "no verdict"):
        lost, fine = make("slow_once").grade_problems([(PROBLEM, response, False), (other, "fine", False)])
    assert time.monotonic() - start < 8
    assert (lost.status, lost.decided, lost.correct) == (status, False, False)
    assert fine.correct


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("too_few", "wanted a list of 2 rewards, one per response, got 1 of them"),
        ("not_a_number", "wanted a finite number as reward, got nan"),
        ("unknown_field", "wanted a number or {correct: true or false, reward, extracted}"),
        ("writes", "OSError|File too large"),
    ],
)
def test_what_is_no_list_of_rewards_gives_no_verdict_and_is_named(make, name, said):
    with pytest.warns(RuntimeWarning, match=said.replace("{", r"\{")):
        verdicts = grade(make(name), "a", "b")
    assert [v.status for v in verdicts] == [Status.CRASH, Status.CRASH]


def test_a_reward_sees_the_problem_and_nothing_of_the_environment(make, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "secret")
    (verdict,) = grade(make("environment"), "x")
    assert verdict.correct and verdict.extracted == "p1Write a short palindrome."


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("no_such_module:f", "No module named 'no_such_module'"),
        ("my_rewards:absent", "has no function 'absent'"),
        ("my_rewards:constant", "has no function 'constant'"),
        ("my_rewards", "wanted package.module:function, got 'my_rewards'"),
    ],
)
def test_a_reward_that_cannot_be_imported_is_refused_at_start(make, path, said):
    with pytest.raises(TargetError, match=re.escape(said)):
        Verifier(path)


def test_a_custom_reward_may_have_golds_that_the_verifier_cannot_read(make):
    assert make("shorter").check_gold(r"\frac{") is None


def test_closing_ends_the_workers_of_the_reward_too(make):
    verifier = make("shorter")
    grade(verifier, "level")
    pids = verifier.pids
    verifier.close()
    assert len(pids) >= 3
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            for _ in range(100):
                os.kill(pid, 0)
                time.sleep(0.02)
