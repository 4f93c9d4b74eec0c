"""Custom rewards: the documented example runs, limits hold, and a bad one is refused before anything is sampled."""

import os
import re
import time
from pathlib import Path

import pytest

from lte_jax.config import VerifyConfig
from lte_jax.host.verify import Verifier
from lte_jax.host.verify.parent import TargetError
from lte_jax.host.verify.reward import Reward, RewardError
from lte_jax.records import Problem, Status

DOCUMENT = Path(__file__).resolve().parents[2] / "docs/verifier.md"
PROBLEM = Problem("p1", "Write a short palindrome.", "level")
REWARDS = """
import os, time
import pydantic

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

def hangs(problem, responses):
    while True:
        pass

def dies(problem, responses):
    os._exit(3)

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

def trl(prompts, completions, **kwargs):
    return [1.0 for _ in completions]

def trl_column(completions, answer, **kwargs):
    return [1.0 for _ in completions]

def verl(data_source, solution_str, ground_truth, extra_info=None):
    return 1.0

def three(problem, responses, level):
    return [1.0 for _ in responses]

class Settings(pydantic.BaseModel, extra="forbid"):
    share: float = 0.5

def tuned(problem, responses, args):
    return [{"correct": False, "reward": args.share} for _ in responses]

tuned.Args = Settings

def tuned_without_room(problem, responses):
    return [1.0 for _ in responses]

tuned_without_room.Args = Settings

async def coroutine(problem, responses):
    return [1.0 for _ in responses]

def kinds(problem, responses):
    import fractions, numpy
    n = len(responses)
    return {
        "numpy scalars": lambda: [numpy.float32(0.5), numpy.int64(1)],
        "numpy array": lambda: numpy.array([0.5, 1.0], numpy.float16),
        "numpy bools": lambda: [{"correct": numpy.bool_(False), "reward": numpy.float32(0.5)}, numpy.True_],
        "mixed": lambda: (fractions.Fraction(1, 2), True),
        "generator": lambda: (reward for reward in (0.5, 1)),
        "None": lambda: None,
        "a None": lambda: [None, 1.0],
        "nan": lambda: numpy.array([float("nan"), 1.0]),
        "inf": lambda: [float("inf"), 1.0],
        "huge": lambda: [10**400, 1.0],
        "text": lambda: "10",
        "texts": lambda: ["1", "0"],
        "dict": lambda: {"rewards": [1.0, 0.0]},
        "number": lambda: 1.0,
        "too few": lambda: [1.0],
        "too many": lambda: [1.0] * 3,
        "columns": lambda: numpy.array([[1.0], [0.0]]),
        "set": lambda: {1.0, 0.0},
        "awaitable": lambda: coroutine(problem, responses),
        "object": lambda: [object(), 1.0],
        "nobody catches it": lambda: int("seven\\nlines"),
    }[problem["id"]]()
"""


@pytest.fixture
def make(tmp_path, monkeypatch):
    """Rewards of my_rewards.py, which stands in the folder the process was started in; without a verifier around them,
    whose own workers import sympy."""
    (tmp_path / "my_rewards.py").write_text(REWARDS)
    monkeypatch.chdir(tmp_path)
    started = []

    def reward(name, **settings):
        started.append(Reward(f"my_rewards:{name}", VerifyConfig(**{"workers": 1, "timeout_s": 1.0, **settings})))
        return started[-1]

    yield reward
    for one in started:
        one.close()


def grade(reward, *responses, truncated=False):
    return reward.grade_many([(PROBLEM, response, truncated) for response in responses])


def test_the_documented_example_runs(tmp_path, monkeypatch):
    code = re.search(r"```python\n# palindrome\.py\n(.*?)```", DOCUMENT.read_text(), re.DOTALL).group(1)
    (tmp_path / "palindrome.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    with Verifier("palindrome:reward", workers=1) as verifier:
        responses = (r"\boxed{level}", r"\boxed{noon}", r"\boxed{lever}", "nothing to see here")
        verdicts = verifier.grade_problems([(PROBLEM, response, False) for response in responses])
        assert [verdict.reward for verdict in verifier.try_reward(PROBLEM)] == [1.0, 0.0]
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
    assert [v.correct for v in make("shorter").grade_many(items)] == [True, True, False, False]


@pytest.mark.parametrize(
    ("response", "status"), [("hang", Status.TIMEOUT), ("die", Status.CRASH), ("raise", Status.CRASH)]
)
def test_a_reward_that_hangs_dies_or_raises_gives_no_verdict_and_harms_no_neighbour(make, response, status):
    other = Problem("p2", "", "")
    with pytest.warns(RuntimeWarning, match="KeyError: 'no such thing'" if response == "raise" else "no verdict"):
        lost, fine = make("slow_once").grade_many([(PROBLEM, response, False), (other, "fine", False)])
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


@pytest.fixture(scope="module")
def kinds(tmp_path_factory):
    """A reward alone, without the verifier's own workers."""
    folder = tmp_path_factory.mktemp("kinds")
    (folder / "many_rewards.py").write_text(REWARDS)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        reward = Reward("many_rewards:kinds", VerifyConfig(workers=1))
    yield reward
    reward.close()


@pytest.mark.parametrize("kind", ["numpy scalars", "numpy array", "numpy bools", "mixed", "generator"])
def test_what_stands_for_a_list_of_numbers_works(kinds, kind):
    first, second = kinds.try_on(Problem(kind, "", ""))
    assert (first.correct, first.reward, second.correct, second.reward) == (False, 0.5, True, 1.0)


ENTRY = "wanted a finite number as reward, got "
WHOLE = "wanted a list of 2 rewards, one per response, got "


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("None", WHOLE + "None"),
        ("a None", ENTRY + "None"),
        ("nan", ENTRY + "nan"),
        ("inf", ENTRY + "inf"),
        ("huge", ENTRY + "1000"),
        ("text", WHOLE + "'10'"),
        ("texts", ENTRY + "'1'"),
        ("dict", WHOLE + "{'rewards': [1.0, 0.0]}"),
        ("number", WHOLE + "1.0"),
        ("too few", WHOLE + "1 of them"),
        ("too many", WHOLE + "3 of them"),
        ("columns", ENTRY + "[1.0]"),
        ("set", "wanted numbers, text, lists and dicts, got a value of type set"),
        ("awaitable", "got a value of type coroutine: the function must not be async"),
        ("object", "got a value of type object"),
        ("nobody catches it", "in <lambda>: ValueError: invalid literal for int() with base 10: 'seven\\nlines'"),
    ],
)
def test_a_trial_call_refuses_what_gives_no_rewards_and_says_what_it_got(kinds, kind, said):
    with pytest.raises(RewardError) as refused:
        kinds.try_on(Problem(kind, "", ""))
    message = str(refused.value)
    assert message.startswith(f"reward many_rewards:kinds, tried on problem {kind!r} with 2 responses: ")
    assert said in message and "\n" not in message


def test_a_trial_call_has_the_limits_of_every_call_and_names_them(make):
    with pytest.raises(RewardError, match=r"not done in time \(verify.timeout_s = 0.2, batch_timeout_s = 60\)"):
        make("hangs", timeout_s=0.2).try_on(PROBLEM)
    with pytest.raises(RewardError, match="its worker died: did it exit, or need more than verify.memory_mb = 1024"):
        make("dies").try_on(PROBLEM)


def test_what_a_reward_raises_is_told_with_the_line_of_its_own_file(make):
    line = next(n for n, text in enumerate(REWARDS.splitlines(), start=1) if "no such thing" in text)
    with pytest.warns(RuntimeWarning):
        (verdict,) = grade(make("slow_once"), "raise")
    told = rf"reward my_rewards:slow_once: .*/my_rewards.py:{line}, in slow_once: KeyError: 'no such thing'"
    assert re.fullmatch(told, verdict.reason)


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
        ("my_rewards:trl", "a function of (problem, responses), got trl(prompts, completions, **kwargs), TRL's form"),
        ("my_rewards:trl_column", "got trl_column(completions, answer, **kwargs), TRL's form"),
        ("my_rewards:verl", "got verl(data_source, solution_str, ground_truth, extra_info=None), verl's form"),
        ("my_rewards:three", "got three(problem, responses, level): missing a required argument: 'level'"),
        ("my_rewards:coroutine", "got async def coroutine(problem, responses): wanted a plain function"),
        ("raises_at_import:f", "raises_at_import.py:2: NameError: name 'nowhere' is not defined"),
    ],
)
def test_a_reward_that_cannot_be_imported_or_called_is_refused_at_start(make, tmp_path, path, said):
    (tmp_path / "raises_at_import.py").write_text("import os\nnowhere()\n")
    with pytest.raises(TargetError, match=re.escape(said)):
        Reward(path, VerifyConfig(workers=1))


def test_a_reward_has_settings_of_its_own(make):
    """Validated by the model that it names, in the worker's process: the parent never imports it."""
    for settings, share in (({}, 0.5), ({"share": 0.25}, 0.25)):
        reward = Reward("my_rewards:tuned", VerifyConfig(workers=1), settings)
        assert [verdict.reward for verdict in grade(reward, "a", "b")] == [share, share]
        reward.close()
    for name, settings, said in (
        ("tuned", {"shaer": 1}, "reward_args: shaer: Extra inputs are not permitted, got 1; its settings are share"),
        ("numbers", {"share": 1}, "reward_args: this choice has no settings of its own, got {'share': 1}"),
        ("tuned_without_room", {}, "wanted a function of (problem, responses, args), got tuned_without_room("),
    ):
        with pytest.raises(TargetError, match=re.escape(said)):
            Reward(f"my_rewards:{name}", VerifyConfig(workers=1), settings)


def test_a_custom_reward_may_have_golds_that_the_verifier_cannot_read_and_closing_ends_its_workers_too(make):
    verifier = Verifier("my_rewards:shorter", workers=1)
    assert verifier.check_gold(r"\frac{") is None
    assert verifier.grade_problems([(PROBLEM, "level", False)])[0].correct
    pids = verifier.pids
    verifier.close()
    assert len(pids) >= 3
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            for _ in range(100):
                os.kill(pid, 0)
                time.sleep(0.02)
