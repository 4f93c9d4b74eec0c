"""The package's curricula against what was worked out by hand; each remembers as plain JSON and starts as shuffled."""

import itertools
import json
from collections import Counter

import pytest
from handmade import group, right, wrong

from lte_jax.config import ConfigError, build
from lte_jax.host.contexts import template_of
from lte_jax.host.curricula import CURRICULA, make_curriculum
from lte_jax.host.curricula.exit import chances, variance
from lte_jax.host.curricula.knapsack import KnapsackArgs, dealt, value
from lte_jax.host.curriculum import Position
from lte_jax.records import Problem, Prompt


class Plain:
    """Writes a problem's text as its prompt, at most 200 characters."""

    def plain(self, problem):
        if len(problem.text) > 200:
            raise ValueError("too long")
        return Prompt(problem.text, tuple(problem.text.encode()))

    def template(self, name):
        return template_of(name, {})


def problems(n, answer="42"):
    made = [Problem(f"p{place}", f"text {place}", answer) for place in range(n)]
    return [(problem, Plain().plain(problem)) for problem in made]


def curriculum(name, its=None, group_size=4, **args):
    config = build({"seed": 3, "sample": {"group_size": group_size}, "curriculum": {"name": name, "args": args}})
    return make_curriculum(config, its or problems(8), Plain())


def drawn(plan, *correct, answers=None):
    """The group of a plan with these outcomes."""
    rollouts = [right() if each else wrong(next(answers) if answers else "0") for each in correct]
    made = group(*rollouts)
    return type(made)(**{**vars(made), "problem": plan.problem, "prompt": plan.prompt})


def visit(its, memory, step, n, outcome):
    """(plans, memory after a step of n plans whose groups have the outcomes that `outcome` says)."""
    plans = its.choose(n, Position(3, step, n * step), memory)
    memory = its.observe(memory, [drawn(plan, *outcome(plan)) for plan in plans])
    return plans, json.loads(json.dumps(memory))


@pytest.mark.parametrize("name", [name for name in CURRICULA if name != "nearest"])
def test_while_nothing_is_known_each_is_the_shuffled_one(name):
    at = Position(3, 0, 0)
    plans = curriculum(name).choose(6, at, {})
    assert plans == curriculum("shuffled").choose(6, at, {}) and {plan.n for plan in plans} == {4}


# knapsack

BOUNDS = KnapsackArgs(most=12)
RATES = (0.1, 0.5, 0.9, 0.25)


@pytest.mark.parametrize(("budget", "sizes"), [(24, [8, 6, 2, 8]), (12, [2, 4, 2, 4]), (20, [6, 5, 2, 7])])
def test_knapsack_deals_the_optimum(budget, sizes):
    """Of all ways to deal, by brute force; the sums of values were worked out apart."""
    assert dealt(RATES, budget, 4, BOUNDS) == sizes
    ways = (way for way in itertools.product(range(2, 13), repeat=4) if sum(way) == budget)
    best = max(sum(map(value, way, RATES)) for way in ways)
    assert sum(map(value, sizes, RATES)) == pytest.approx(best, abs=1e-12)
    if budget == 24:
        assert best == pytest.approx(0.295390, abs=5e-7)


@pytest.mark.parametrize(
    ("rates", "budget", "sizes"),
    [
        ((0, 0, 0), 24, [8, 8, 8]),
        ((None, None), 16, [8, 8]),
        ((1, 1, 1), 10, [4, 3, 3]),
        ((1, 0, 0), 24, [2, 11, 11]),  # what the solved leaves goes to the unsolved
        ((0.5, 0, 1), 24, [2 + 4, 16, 2]),  # a half costs ln .1 / ln .5 = 3.3, so 4 more; the rest to the unsolved
        ((0.5, 1), 16, [6 + 4, 2 + 4]),  # nothing is unsolved: to all
        ((None, 0.5), 16, [8 + 1, 2 + 4 + 1]),
        ((0.5, 0.5), 40, [2 + 4 + 15, 2 + 3 + 14]),  # beyond `most`, so that the sum holds
    ],
)
def test_knapsack_falls_back_where_little_can_be_learned(rates, budget, sizes):
    assert dealt(rates, budget, 8, BOUNDS) == sizes and sum(sizes) == budget


def test_knapsack_believes_the_last_visit_or_the_newest_outcomes():
    its = curriculum("knapsack", group_size=4)
    memory = its.observe({}, [group(right(), wrong(), wrong(), wrong())])
    at = Position(3, 1, 0)
    assert {plan.n for plan in its.choose(8, at, memory)} == {4}  # four outcomes say nothing yet
    memory = its.observe(memory, [group(*[wrong()] * 16)])
    sizes = {plan.problem.id: plan.n for plan in its.choose(8, at, memory)}
    assert memory["last"]["p0"] == [0, 16] and sizes["p0"] == 2 + 2 and sum(sizes.values()) == 32
    memory = its.observe(memory, [group(right(), right(), wrong(), wrong())])  # 2 of the newest 16
    assert its.choose(8, at, memory) == its.choose(8, at, json.loads(json.dumps(memory)))
    sizes = {plan.problem.id: plan.n for plan in its.choose(8, at, memory)}
    assert sizes["p0"] == 4 and memory["seen"]["p0"] == "0" * 12 + "1100"


def test_knapsack_takes_all_outcomes_of_a_long_visit():
    its = curriculum("knapsack", problems(2))
    memory = its.observe({}, [group(*[right()] * 16, *[wrong()] * 16), group(*[wrong()] * 16, index=1)])
    assert its._rate(memory, "p0") == 0.5 and its._rate(memory, "p1") == 0


def test_knapsack_refuses_bounds_that_no_budget_meets():
    with pytest.raises(ConfigError, match="are at most sample.group_size = 4, most at least; got 5, 2, 2 and 128"):
        curriculum("knapsack", least=5)
    with pytest.raises(ConfigError, match="leest: Extra inputs"):
        curriculum("knapsack", leest=5)


# nearest


def test_nearest_takes_those_near_one_half():
    its = curriculum("nearest", problems(6), candidates=3, strength=1e-9, window=100)
    bits = dict(zip(("p0", "p1", "p2", "p3", "p4", "p5"), (0, 20, 45, 50, 90, 100), strict=True))
    memory = {"seen": {id_: "1" * n + "0" * (100 - n) for id_, n in bits.items()}}
    chosen = its.choose(2, Position(3, 0, 0), memory)
    assert [plan.problem.id for plan in chosen] == ["p3", "p2"]
    assert {plan.n for plan in chosen} == {4} and chosen[0].seen == memory["seen"]["p3"]


def test_nearest_breaks_ties_by_a_key_and_lets_everything_return():
    its = curriculum("nearest", problems(8), candidates=4)
    first = [[plan.problem.id for plan in its.choose(2, Position(3, step, 2 * step), {})] for step in range(20)]
    assert {id_ for step in first for id_ in step} == {f"p{n}" for n in range(8)}
    assert all(len(set(step)) == 2 for step in first)
    its = curriculum("nearest", problems(8), candidates=2)
    halves = [{plan.problem.id for plan in its.choose(2, Position(3, step, 2 * step), {})} for step in range(20)]
    assert all(not one & other for one, other in zip(halves[::2], halves[1::2], strict=True))  # candidates of one epoch
    assert len({plan.problem.id for plan in its.choose(8, Position(3, 0, 0), {})}) == 8
    assert len(its.choose(9, Position(3, 0, 0), {})) == 9  # fewer problems than plans: one comes twice


def test_nearest_takes_unseen_problems_to_be_like_those_seen_first():
    its = curriculum("nearest")
    memory = its.observe({}, [group(right(), right(), right(), wrong(), index=1)])
    memory = its.observe(memory, [group(wrong(), wrong(), index=1)])  # no first visit
    assert memory == {"seen": {"p1": "111000"}, "first": [3, 4]}
    assert its._rate(memory, "p2") == 0.75 and its._rate(memory, "p1") == (3 + 4 * 0.75) / 10


# stages


def test_stages_are_cut_once_and_sorted_as_they_are_entered():
    """8 problems in 2 stages: the first epoch measures, p0 easiest. While stage 1 is trained p4 becomes hardest."""
    its = curriculum("stages", problems(8), stages=2, group_size=7)
    memory, first = {}, []
    for step in range(4):
        plans, memory = visit(its, memory, step, 2, lambda plan: [int(plan.problem.id[1]) <= n for n in range(7)])
        first += [plan.problem.id for plan in plans]
    assert sorted(first) == [f"p{n}" for n in range(8)] and memory["order"][:2] == [1, 0]
    at_once = [plan.problem.id for plan in its.choose(8, Position(3, 4, 8), memory)]
    assert at_once == [f"p{n}" for n in range(8)]
    plans, memory = visit(its, memory, 4, 2, lambda plan: [False])
    assert [plan.problem.id for plan in plans] == ["p0", "p1"]
    memory["seen"]["p2"], memory["seen"]["p4"] = "0" * 7, "0" * 16
    plans, memory = visit(its, memory, 5, 2, lambda plan: [False])
    assert [plan.problem.id for plan in plans] == ["p2", "p3"]  # stage 1 keeps the order that it was entered with
    plans, memory = visit(its, memory, 6, 2, lambda plan: [False])
    assert [plan.problem.id for plan in plans] == ["p5", "p6"]
    plans, memory = visit(its, memory, 7, 2, lambda plan: [False])
    assert [plan.problem.id for plan in plans] == ["p7", "p4"]
    plans, memory = visit(its, memory, 8, 2, lambda plan: [True])
    assert {plan.problem.id for plan in plans} < {"p0", "p1", "p2", "p3"}  # the cut stands


@pytest.mark.parametrize("n", [1, 3, 5, 7])
def test_no_stage_is_left_half_done_whatever_a_step_takes(n):
    """Every epoch has each problem once, also where a step crosses a stage's or an epoch's end."""
    its, memory, taken = curriculum("stages", problems(8), stages=3), {}, []
    for step in range(-(-32 // n)):
        plans, memory = visit(its, memory, step, n, lambda plan: [len(plan.seen) % 2, int(plan.problem.id[1]) % 3 == 0])
        taken += [plan.problem.id for plan in plans]
    for epoch in range(4):
        assert len(set(taken[8 * epoch : 8 * epoch + 8])) == 8


def test_stages_go_on_where_another_curriculum_stopped():
    """A run may change to it in the middle: 5 steps of 2 before, so step 5 is in the second epoch's first stage."""
    config = {"seed": 3, "problems_per_step": 2, "optim": {"problems_per_update": 1}, "curriculum": {"name": "stages"}}
    its = make_curriculum(build({**config, "sample": {"group_size": 4}}), problems(8), Plain())
    plans = its.choose(2, Position(3, 5, 10), {})
    groups = [type(each)(**{**vars(each), "step": 5}) for each in (drawn(plan, False) for plan in plans)]
    memory = its.observe({}, groups)
    assert memory["taken"] == 12 and memory["order"][:2] == [1, 2]
    assert its.choose(1, Position(3, 6, 12), memory)[0].problem.id == f"p{memory['order'][2][0]}"


# ladder


def ladder(**args):
    return curriculum("ladder", problems(1, answer="4321"), after=4, **args)


def climb(its, memory, *correct):
    """The problem of the next visit, and the memory after it."""
    answers = iter(map(str, itertools.count(7)))
    plan = its.choose(1, Position(3, 5, 0), memory)[0]
    return plan.problem, json.loads(json.dumps(its.observe(memory, [drawn(plan, *correct, answers=answers)])))


def test_a_problem_climbs_from_choices_to_its_open_form():
    its = ladder(choices=(3, 5))
    problem, memory = climb(its, {}, 0, 0, 0, 0)
    assert problem.text == "text 0" and memory["wrong"] == {"p0": ["7", "8", "9", "10"]}
    problem, memory = climb(its, memory, 1, 0)  # half is not more than half
    options = dict(option.split(") ") for option in problem.text.split("answer: ")[1].rstrip(".").split(", "))
    assert set(options.values()) == {"4321", "7", "8"} and options[problem.answer] == "4321"
    problem, memory = climb(its, memory, 1, 1, 0)
    assert len(problem.text.split(", ")) == 3 and memory["form"] == {"p0": ["choices-5", []]}
    problem, memory = climb(its, memory, 1, 1)
    assert len(problem.text.split(", ")) == 5 and memory["form"] == {"p0": ["cloze", []]}
    problem, memory = climb(its, memory, 1, 1)
    shown = problem.text.split("answer is ")[1].split(",")[0]
    assert problem.answer == "4321" and shown.count("_") in (2, 3) and memory["form"] == {"p0": ["open", []]}
    assert all(character in ("_", digit) for character, digit in zip(shown, "4321", strict=True))
    problem, memory = climb(its, memory, 0, 0)
    assert problem.text == "text 0" and memory["form"] == {"p0": ["open", []]}  # for good
    assert memory["seen"] == {"p0": "0000"}  # forms say nothing of the open problem
    problem, memory = climb(its, memory, 1, 0)
    assert memory["wrong"] == {}


def test_forms_that_cannot_be_made_are_passed_over():
    its = ladder(choices=(4,), window=2)
    _, memory = climb(its, {"seen": {"p0": "0000"}, "wrong": {"p0": ["7", "8"]}}, 1, 1)
    assert memory["form"] == {"p0": ["cloze", [1.0]]}  # two wrong answers are too few for four options
    assert climb(its, memory, 1, 0)[1]["form"] == {"p0": ["open", []]}
    one_digit = curriculum("ladder", problems(1, answer="x + 4"), after=4)
    assert climb(one_digit, {"seen": {"p0": "0000"}}, 0)[0].text == "text 0"
    hidden = ladder(masked_least=1, masked_most=1).choose(1, Position(3, 0, 0), {"seen": {"p0": "0000"}})[0].problem
    assert hidden.text.split("answer is ")[1].split(",")[0].count("_") == 3  # one digit is shown, whatever the share
    long = curriculum("ladder", problems(1, answer="43"), after=4, cloze_text="{problem} {cloze}" + "x" * 200)
    problem, memory = climb(long, {"seen": {"p0": "0000"}}, 0)
    assert problem.text == "text 0" and memory["seen"] == {"p0": "0000"} and memory["form"] == {}


def test_the_right_option_stands_anywhere_and_may_be_the_answer_itself():
    memory = {"seen": {"p0": "0000"}, "wrong": {"p0": ["7", "8", "9"]}}
    its = ladder()
    places = Counter(its.choose(1, Position(3, step, 0), memory)[0].problem.answer for step in range(200))
    assert set(places) == set("ABCD") and min(places.values()) > 30
    named = ladder(letters=False).choose(1, Position(3, 0, 0), memory)[0].problem
    assert named.answer == "4321" and ") " not in named.text


# fission, exit


def instances(name, **args):
    config = build(
        {
            "seed": 3,
            "sample": {"group_size": 4},
            "prompt": {"contexts": {n: "{problem} " + n + " {attempt}" for n in ("feedback", "improve", "diverge")}},
            "curriculum": {"name": name, "args": args},
        }
    )
    return make_curriculum(config, problems(8), Shown(config))


class Shown(Plain):
    """Writes a context's attempt and what is known of it."""

    def __init__(self, config):
        self.contexts = config.prompt.contexts

    def context(self, name, problem, told, budget):
        text = f"{problem.text} {name} {told.attempt} {told.feedback}"
        return Prompt(text, tuple(text.encode())) if len(text) <= budget else None


def failed(index, *texts, n_right=0):
    """A plain group: right ones, then wrong ones with these texts."""
    made = group(*[right()] * n_right, *(wrong("7", text=text) for text in texts), index=index)
    problem, prompt = problems(8)[index]
    return type(made)(**{**vars(made), "problem": problem, "prompt": prompt})


def test_fission_asks_for_the_newest_failures_first_and_for_each_once():
    its = instances("fission", share=0.5)
    memory = its.observe({}, [failed(0, "a", "b", n_right=1), failed(1, "c"), failed(2, n_right=2)])
    said = "its final answer 7 is not right."
    assert memory["buffer"] == [["p1", "c", said, 0.0], ["p0", "b", said, 0.0], ["p0", "a", said, 0.0]]
    assert json.loads(json.dumps(memory)) == memory and memory["taken"] == 3
    plans = its.choose(8, Position(3, 1, 3), memory)
    shown = [plan.prompt.text for plan in plans if "feedback" in plan.prompt.text]
    assert shown == [f"text 1 feedback c {said}", f"text 0 feedback b {said}", f"text 0 feedback a {said}"]
    assert all(plan.problem.answer not in plan.prompt.text and plan.n == 4 for plan in plans)
    plain = instances("shuffled").choose(8, Position(3, 1, 3), {})
    assert all(plan in plain for plan in plans if "feedback" not in plan.prompt.text)
    two = its.choose(4, Position(3, 1, 3), memory) + its.choose(4, Position(3, 1, 7), memory)
    assert two == plans  # a step that draws further goes on where it was
    groups = [drawn(plan, False, True) for plan in plans]
    groups = [type(each)(**{**vars(each), "step": 1}) for each in groups]
    after = its.observe(memory, groups)
    assert all(entry[1] == "" for entry in after["buffer"])  # what was used is gone; plain failures came in
    assert {entry[0] for entry in after["buffer"]} == {p.problem.id for p in plans if "feedback" not in p.prompt.text}


def test_fission_refuses_a_context_that_nobody_wrote():
    with pytest.raises(ConfigError, match="context fedback: wanted one of answer"):
        curriculum("fission", context="fedback")


def test_an_instance_says_nothing_of_the_plain_prompt_and_long_ones_come_plain():
    its = instances("fission", share=1.0)
    long = its.observe({}, [failed(0, "x" * 5000)])
    assert len(long["buffer"][0][1]) == 2000 + len("\n[...]\n")
    assert its.choose(1, Position(3, 1, 1), long) == instances("shuffled").choose(1, Position(3, 1, 1), {})
    config_history = make_curriculum(
        build({"seed": 3, "sample": {"group_size": 4}, "curriculum": {"name": "fission", "history": 9}}),
        problems(8),
        its.prompts,
    )
    shown = drawn(its.choose(1, Position(3, 1, 1), its.observe({}, [failed(0, "x")]))[0], True)
    assert config_history.observe({}, [failed(0, "x"), shown])["seen"] == {"p0": "0"}


def test_exit_starts_where_groups_disagreed_most():
    assert list(chances([0.25, 0.0], 1.0)) == pytest.approx([0.562177, 0.437823], abs=1e-6)
    assert variance(failed(0, *"abcdef", n_right=2)) == pytest.approx(0.1875)
    its = instances("exit", share=1.0, least=2, entries=4)
    memory = its.observe({}, [failed(0, "a"), failed(1, "b", "c", "d", n_right=1), failed(2, "e")])
    assert [(entry[1], entry[3]) for entry in memory["buffer"]] == [
        ("d", 0.1875),
        ("c", 0.1875),
        ("b", 0.1875),
        ("e", 0.0),
    ]
    plans = its.choose(200, Position(3, 1, 3), memory)
    counts = Counter(plan.prompt.text.split()[3] for plan in plans)
    assert counts["e"] < min(counts[name] for name in "bcd") and set(counts) == set("bcde")
    diverge = sum("diverge" in plan.prompt.text for plan in plans)
    assert 20 < diverge < 60 and its.choose(200, Position(3, 1, 3), memory) == plans
    assert instances("exit", least=5).choose(2, Position(3, 1, 3), memory) == instances("shuffled").choose(
        2, Position(3, 1, 3), {}
    )


def test_exit_scores_a_start_by_what_came_of_it_and_its_failures_inherit():
    its = instances("exit", share=1.0, least=1, entries=9)
    memory = its.observe({}, [failed(1, "b", n_right=1)])
    plan = its.choose(1, Position(3, 1, 1), memory)[0]
    after = its.observe(memory, [drawn(plan, True, True, True, False)])
    assert [(entry[1], entry[3]) for entry in after["buffer"]] == [("", 0.25), ("b", 0.1875)]
    solved = its.observe(memory, [drawn(plan, True, True)])
    assert [(entry[1], entry[3]) for entry in solved["buffer"]] == [("b", 0.0)]
