"""What a curriculum chooses and remembers; the default is the order of `problems.take` with G rollouts each."""

import json
from dataclasses import dataclass, replace

import pytest
from handmade import PROMPT, group, right, rollout, wrong

from lte_jax.config import ConfigError, build
from lte_jax.host.curricula import make_curriculum
from lte_jax.host.curriculum import Curriculum, Position, chosen, outcomes
from lte_jax.host.problems import take
from lte_jax.records import Attempt, FailureMode, Origin, Plan, Problem, Prompt, Retry, Status
from lte_jax.run.wire import decode_groups, encode_groups

PROBLEMS = [(Problem(f"p{n}", f"text {n}", "42"), Prompt(f"text {n}", (n,))) for n in range(7)]


def config(**settings):
    return build({"seed": 3, "sample": {"group_size": 5}, "curriculum": settings})


@pytest.mark.parametrize(("cursor", "n"), [(0, 4), (5, 4), (20, 9)])
def test_by_default_the_order_is_the_endless_one_with_g_rollouts_each(cursor, n):
    curriculum = make_curriculum(config(), PROBLEMS, prompts=None)
    plans = curriculum.choose(n, Position(3, 8, cursor), {})
    assert [(plan.problem, plan.prompt) for plan in plans] == take(PROBLEMS, 3, cursor, n)
    assert {(plan.n, plan.seen) for plan in plans} == {(5, "")}
    assert curriculum.observe({}, [group(right(), wrong())]) == {}


def test_the_newest_first_rounds_of_a_problem_are_remembered_and_nothing_else():
    failed = group(wrong(), rollout(Status.TIMEOUT), wrong(), wrong())
    retry = Retry.of(PROMPT, 2, Origin.HINTED, FailureMode.NONE_TRUNCATED)
    found = right(origin=Origin.HINTED)
    rescued = replace(failed, members=(found, *failed.members[1:]), attempts=(Attempt(retry, (found, found)),))
    curriculum = make_curriculum(config(history=6), PROBLEMS, prompts=None)
    first = curriculum.observe({}, [rescued, group(rollout(Status.TIMEOUT), index=1)])
    assert first == {"seen": {"p0": "000"}}  # neither the rescue nor what has no verdict
    second = curriculum.observe(first, [group(right(), wrong(), wrong(), right()), group(right(), index=4)])
    assert second == {"seen": {"p0": "001001", "p4": "1"}} and first == {"seen": {"p0": "000"}}
    helped = group(replace(right(), n_given=1), right(origin=Origin.HINTED), wrong(), index=5)
    assert curriculum.observe({}, [helped]) == {"seen": {"p5": "0"}}  # a beginning or a hint is no plain prompt
    plans = {plan.problem.id: plan.seen for plan in curriculum.choose(7, Position(3, 2, 0), second)}
    assert plans == {**{f"p{n}": "" for n in range(7)}, "p0": "001001", "p4": "1"}


def test_every_process_remembers_and_chooses_the_same():
    """Each draws a share of the groups and is sent the others."""
    groups = [group(*[wrong()] * n, right(), index=n) for n in range(5)]
    sent = [each for share in (groups[::2], groups[1::2]) for each in decode_groups(encode_groups(share))]
    curriculum = make_curriculum(config(history=4), PROBLEMS, prompts=None)
    there = curriculum.observe({}, sorted(sent, key=lambda its: its.index))
    here = curriculum.observe({}, groups)
    assert there == here == {"seen": {"p0": "1", "p1": "01", "p2": "001", "p3": "0001", "p4": "0001"}}
    assert curriculum.choose(9, Position(3, 1, 5), there) == curriculum.choose(9, Position(3, 1, 5), here)


def test_the_memory_of_100000_problems_is_a_few_megabytes_of_json():
    memory = {"seen": {f"a problem's id {n}": "0" * 16 for n in range(1000)}}
    assert json.loads(json.dumps(memory)) == memory and outcomes(memory, "a problem's id 7") == "0" * 16
    assert len(json.dumps(memory)) * 100 < 5e6


@dataclass(frozen=True)
class Scripted(Curriculum):
    """Gives what it was told to."""

    sizes: tuple[int, ...] = ()

    def choose(self, n, at, memory):
        return tuple(Plan(*PROBLEMS[0], size) for size in self.sizes)


def scripted(*sizes: int) -> Curriculum:
    return Scripted(config(), PROBLEMS, prompts=None, sizes=sizes)


@pytest.mark.parametrize("sizes", [(2,), (2, 3, 4), (2, 0), ()])
def test_a_choice_that_is_no_step_is_refused(sizes):
    assert [plan.n for plan in chosen(scripted(1, 9), 2, Position(0, 4, 0), {})] == [1, 9]
    with pytest.raises(ConfigError, match="curriculum Scripted, step 4: wanted 2 plans of at least 1 rollout"):
        chosen(scripted(*sizes), 2, Position(0, 4, 0), {})
