"""The package's strategies that tell a group more: who is asked, with what, and what the group becomes."""

from dataclasses import replace

import pytest
from handmade import group, right, rollout, wrong
from test_prompts import WordTokenizer

from lte_jax.config import build
from lte_jax.host.problems import ProblemError
from lte_jax.host.prompts import PromptBuilder
from lte_jax.host.strategies import make_strategy
from lte_jax.records import Attempt, Origin, Problem, Status

G = 4
CONTEXTS = {
    "answer": "{problem} answer {answer}",
    "trace": "{problem} trace {trace}",
    "mine": "{problem} {attempt} {feedback}",
}
TRACE = "s1\n\ns2\n\ns3\n\ns4"


class Words(WordTokenizer):
    stop_ids = (0,)


def strategy(name, explore=None, steps=10, prompt=None, **args):
    values = {"steps": steps, "sample": {"group_size": G}, "prompt": {"contexts": {**CONTEXTS, **(prompt or {})}}}
    config = build({**values, "explore": {"strategy": name, "args": args, **(explore or {})}})
    return make_strategy(config, PromptBuilder(config.prompt, Words()), lambda pairs: [False] * len(pairs))


def traced(*rollouts, trace=TRACE, step=0):
    made = group(*(rollouts or [wrong()] * G), step=step)
    return replace(made, problem=replace(made.problem, trace=trace))


def answered(its, group_, *correct, memory=None):
    """The group after its next round, whose rollouts have these outcomes."""
    retry = its.retry(group_, memory or {})
    drawn = tuple(
        replace(right() if each else wrong(), prompt=retry.prompt, origin=retry.origin, round=1, index=place)
        for place, each in enumerate(correct)
    )
    return its.merge(group_, Attempt(retry, drawn))


def text(its, group_):
    retry = its.retry(group_, {})
    return retry and retry.prompt.text


# guided


def test_guided_tells_one_context_a_round_and_passes_over_what_is_lacking():
    its = strategy("guided")
    first = its.retry(traced(), {})
    assert (first.prompt.text, first.n, first.origin) == (f"six times seven trace {TRACE}", G, Origin.HINTED)
    failed = answered(its, traced(), 0, 0)
    assert text(its, failed) == "six times seven answer 42"
    assert text(its, answered(its, failed, 0)) is None  # both were told
    assert text(its, traced(trace="")) == "six times seven answer 42"
    assert text(its, answered(its, traced(trace=""), 0)) is None
    assert text(its, answered(its, traced(), 1, 0)) is None  # one is right


def test_guided_tells_growing_shares_of_a_trace():
    its = strategy("guided", contexts=["trace", "trace", "answer"], shares=[0.25, 0.75, 1], n=1)
    its.check([traced().problem], print)
    said, now = [], traced()
    while (retry := its.retry(now, {})) is not None:
        said.append(retry.prompt.text.removeprefix("six times seven "))
        now = answered(its, now, 0)
    assert said == ["trace s1", "trace s1\n\ns2\n\ns3", "answer 42"] and retry is None
    assert its.most_further() == 3 and its.retry(traced(), {}).n == 1


def test_guided_may_list_wrong_answers_beside_the_right_one():
    its = strategy("guided", contexts=["mine"], prompt={"mine": "{problem} is {answer}, not {answers}"})
    assert text(its, traced(wrong("7"), wrong("8"), wrong("7"))) == "six times seven is 42, not 7, 8"
    assert its.tools.decisions.taken(traced()) == {"0/answers": ("7", "8")}  # made once, and written down
    assert text(its, traced(rollout(Status.NO_ANSWER))) is None  # there is none to list


def test_guided_may_show_an_attempt_and_its_verdict():
    its = strategy("guided", contexts=["mine"])
    first = traced(rollout(Status.TIMEOUT), wrong("7", text="it is 7"), wrong("8", text="it is 8"))
    assert text(its, first) == "six times seven it is 7 its final answer 7 is not right."


@pytest.mark.parametrize(
    ("trigger", "asked"),
    [("none_pass", [True, False, False, False]), ("near_miss", [False, True, False, False]), ("every", [True] * 4)],
)
def test_guided_asks_the_groups_of_its_trigger(trigger, asked):
    its = strategy("guided", trigger=trigger)
    groups = [traced(*[right()] * n, *[wrong()] * (4 - n)) for n in (0, 1, 2, 4)]
    assert [its.retry(each, {}) is not None for each in groups] == asked
    assert its.retry(traced(*[rollout(Status.TIMEOUT)] * 4), {}) is None


@pytest.mark.parametrize(
    ("how", "outcomes", "members"),
    [
        ("correct", [0, 1, 0, 1], [False, False, True, True]),
        ("all", [0, 1, 0, 1], [False, True, False, True]),
        ("all", [0, 0, 0, 0], [False] * 4),
        ("first", [0, 1, 0, 1], [True, False, False, False]),
    ],
)
def test_guided_replaces_as_it_is_told(how, outcomes, members):
    """EGSR's and LTE's mixing; Guide-GRPO's group, right and wrong; Scaf-GRPO's one member."""
    its = strategy("guided", replace=how)
    merged = answered(its, traced(), *outcomes)
    found = [member.correct for member in merged.members]
    assert sorted(found) == sorted(members) if how == "correct" else found == members
    assert all(member.origin is Origin.HINTED for member in merged.members if member.correct)
    if how == "all":
        assert {member.origin for member in merged.members} == {Origin.HINTED if any(outcomes) else Origin.PLAIN}
    assert len(merged.attempts) == 1 and merged.prompt.text == "plain"


def test_guided_refuses_what_nothing_can_be_told_by():
    with pytest.raises(
        ProblemError, match="contexts trace tell a trace, a worked solution; none of the problems has one"
    ):
        strategy("guided", contexts=["trace"]).check([Problem("p", "x", "1")], print)
    with pytest.raises(ValueError, match="wanted a share for each of the 2 contexts, got 1"):
        strategy("guided", shares=[0.5]).check([Problem("p", "x", "1")], print)
    with pytest.raises(ValueError, match="context nothing: wanted one of"):
        strategy("guided", contexts=["nothing"]).check([Problem("p", "x", "1")], print)
    said = []
    strategy("guided").check([Problem("p", "x", "1", "t"), Problem("q", "x", "1")], said.append)
    assert said == ["context trace: fits 1 of 2 problems; 1 have a trace", "context answer: fits 2 of 2 problems"]


# expo


def test_expo_learns_its_own_explanations_beside_members_that_stay():
    its = strategy("expo", n=2, beta=0.4)
    first = traced(right(), wrong(), wrong(), wrong(), step=5)
    retry = its.retry(first, {})
    assert (retry.prompt.text, retry.n) == ("six times seven answer 42", 2)
    merged = answered(its, first, 1, 0)
    assert merged.members == first.members and len(merged.lessons) == 1
    lesson = merged.lessons[0]
    assert (lesson.prompt, lesson.tokens, lesson.train_from) == (first.prompt, (1, 2), 0)
    assert lesson.weight == pytest.approx(0.4 * (1 - 5 / 10))  # to 0 at the last step
    assert its.retry(merged, {}) is None


def test_expo_without_weight_is_grpo():
    assert strategy("expo", beta=0).retry(traced(), {}) is None
    assert strategy("expo").retry(traced(step=10), {}) is None  # the decay is over
    assert strategy("expo", decay="none").retry(traced(step=10), {}) is not None
    assert strategy("expo", trigger="none_pass").retry(traced(right(), wrong()), {}) is None


# relift


def buffered(size, *ids, trace=TRACE):
    """A ReLIFT of these problems."""
    problems = [Problem(id_, f"what is {id_}", "42", trace) for id_ in ids]
    its = strategy("relift", size=size)
    return replace(its, tools=replace(its.tools, problems={problem.id: problem for problem in problems}))


def outcomes_of(**correct):
    """A step's groups, by problem: how many of four are right."""
    made = [(id_, traced(*[right()] * n, *[wrong()] * (G - n))) for id_, n in correct.items()]
    return [replace(each, problem=replace(each.problem, id=id_)) for id_, each in made]


def test_relift_takes_the_newest_of_a_full_buffer_and_leaves_the_oldest():
    its = buffered(3, *"abcdef")
    memory = its.observe({}, outcomes_of(a=0, b=1, c=0, d=4))
    assert memory == {"buffer": ["a", "c"], "due": []} and its.supervised(memory, 1) == ()
    memory = its.observe(memory, outcomes_of(e=0, d=0))
    assert memory == {"buffer": ["c"], "due": ["e", "d", "a"]}  # a step's own order, then the earlier ones'
    assert its.observe(memory, outcomes_of(c=2)) == {"buffer": ["c"], "due": []}  # once


def test_relift_has_a_problem_that_fails_again_wait_once_as_the_newest():
    its = buffered(9, *"abc")
    assert its.observe({"buffer": ["a", "b"]}, outcomes_of(b=0, c=0))["buffer"] == ["b", "c", "a"]


def test_relift_at_most_one_supervised_step_and_63_64_65():
    ids = [f"p{n}" for n in range(65)]
    its = buffered(64, *ids)
    failed = {id_: 0 for id_ in ids}
    before = its.observe({}, outcomes_of(**dict(list(failed.items())[:63])))
    assert (len(before["buffer"]), before["due"]) == (63, [])
    full = its.observe(before, outcomes_of(p63=0))
    assert (full["buffer"], len(full["due"])) == ([], 64)
    last = its.observe(before, outcomes_of(p63=0, p64=0))
    assert last["buffer"] == ["p62"] and last["due"][:2] == ["p63", "p64"]


def test_relift_learns_the_whole_solution_on_the_plain_prompt():
    its = buffered(1, "a", "b")
    first, second = its.supervised({"due": ["b", "a"]}, 7)
    assert (first.problem.id, first.step, first.index, first.initial, first.members) == ("b", 7, 0, (), ())
    (lesson,) = first.lessons
    assert lesson.prompt == its.tools.prompts.plain(first.problem) and "what is b" in lesson.prompt.text
    assert (lesson.weight, lesson.train_from) == (1.0, 0)
    assert len(lesson.tokens) == 5 and lesson.tokens[-1] == 0  # its four steps, and what ends a response
    assert (second.problem.id, second.index) == ("a", 1)


def test_relift_passes_over_what_it_cannot_learn_and_refuses_a_file_without_solutions():
    its = buffered(1, "a", trace="")
    assert its.observe({"buffer": ["gone"]}, outcomes_of(a=0, z=0)) == {"buffer": [], "due": []}
    with pytest.raises(ProblemError, match="explore.strategy = relift: wanted problems with a `trace`"):
        its.check(list(its.tools.problems.values()), print)
    undecided = [replace(each, initial=(rollout(Status.TIMEOUT),)) for each in outcomes_of(b=0)]
    assert buffered(1, "b").observe({}, undecided)["due"] == []
    assert its.retry(traced(), {}) is None  # nothing is told
