"""Contexts: what fills a template, what gives way where it does not fit, and what the verifier says of an attempt."""

import pytest
from handmade import right, rollout, wrong
from test_prompts import WordTokenizer

from lte_jax.config import ConfigError, PromptConfig
from lte_jax.host.contexts import GOLD, TEMPLATES, Told, composed, feedback, holds_gold, share_of, shortened
from lte_jax.host.prompts import PromptBuilder
from lte_jax.host.tokenizers.special_tokens import Part
from lte_jax.records import Problem, Status

PROBLEM = Problem("p1", "one two", "3")


def builder(budget=99, **contexts):
    return PromptBuilder(PromptConfig(contexts=contexts, hinted_budget=budget), WordTokenizer())


def test_every_placeholder_is_replaced_in_one_pass_and_only_the_users_own_text_is_trusted():
    told = Told("A", "T {answer}", "X {problem}", "F", ("1", "{notes}"), ("n", "m"))
    template = r"{problem}|{answers}|{notes}|{answer}|{trace}|{attempt}|{feedback}|\frac{1}{2}{other}"
    parts = composed(template, "P {trace}", told, ", ")
    text = r"P {trace}|1, {notes}|n" + "\n" + r"m|A|T {answer}|X {problem}|F|\frac{1}{2}{other}"
    assert "".join(part.text for part in parts) == text
    untrusted = [part.text for part in parts if not part.trusted]
    assert untrusted == ["P {trace}", "1", "{notes}", "n", "m", "A", "T {answer}", "X {problem}", "F"]
    assert Part(", ", True) in parts and Part("\n", True) in parts


def test_a_context_that_lacks_something_is_none_and_one_that_nobody_wrote_is_refused():
    its = builder(mine="{problem} {answer} {attempt}")
    assert its.context("mine", PROBLEM, Told(answer="3", attempt="a b")).text == "one two 3 a b"
    assert its.context("mine", PROBLEM, Told(answer="3")) is None
    with pytest.raises(ConfigError, match="context mien: wanted one of answer, trace, .*, mine; prompt.contexts adds"):
        its.context("mien", PROBLEM, Told())
    with pytest.raises(ValueError, match=r"prompt.contexts.mine lacks \{problem\}, got '\{answer\}'"):
        builder(mine="{answer}")
    assert builder(answer="{problem} own {answer}").context("answer", PROBLEM, Told("3")).text == "one two own 3"


def test_lists_give_way_first_then_the_middle_of_the_attempt_and_never_the_problem():
    words = " ".join(f"w{n:02d}" for n in range(40))
    template, told = "{problem} {answers} : {attempt}", Told(answers=("1", "2", "3"), attempt=words)
    text = {n: builder(n, mine=template).context("mine", PROBLEM, told) for n in (47, 46, 45, 30, 10, 4)}
    assert text[47].text == f"one two 1, 2, 3 : {words}"  # bos, 2, 3, 1, 40
    assert text[46].text == f"one two 1, 2 : {words}" and text[45].text == f"one two 1 : {words}"
    assert text[30].text.startswith("one two 1 : w00 w01") and text[30].text.endswith("w38 w39")
    assert "[...]" in text[30].text and 28 <= len(text[30].ids) <= 30
    assert text[10] is not None and len(text[10].ids) <= 10 and text[4] is None


def test_an_attempt_keeps_its_beginning_and_its_end():
    assert shortened("abcdefgh", 5) == "abc\n[...]\ngh" and shortened("abc", 3) == "abc"


@pytest.mark.parametrize(
    ("its", "said"),
    [
        (wrong("7\n 8"), "its final answer 7 8 is not right."),
        (wrong("7", truncated=True), "it ran out of space before it was finished."),
        (rollout(Status.NO_ANSWER), "it gives no final answer in a box."),
        (rollout(Status.UNPARSABLE, "?"), "its final answer ? cannot be read."),
        (rollout(Status.TOO_LARGE, "9!!"), "its final answer is too long to be read."),
        (rollout(Status.TIMEOUT), ""),
        (right(), ""),
    ],
)
def test_the_diagnosis_never_says_the_gold(its, said):
    assert feedback(its) == said and its.verdict.gold not in feedback(its)


def test_the_share_of_a_trace_is_whole_steps_or_words_of_a_single_one():
    steps = "a b\n\nc\n\nd\n\ne f"
    assert [share_of(steps, share) for share in (0.25, 0.26, 0.75, 1)] == ["a b", "a b\n\nc", "a b\n\nc\n\nd", steps]
    assert share_of("one two three four", 0.5) == "one two"


def test_the_packages_templates_have_a_problem_and_only_those_that_say_so_hold_gold():
    assert all("{problem}" in template for template in TEMPLATES.values())
    assert {name for name, template in TEMPLATES.items() if holds_gold(template)} == {"answer", "trace", "trace_answer"}
    assert GOLD == ("{answer}", "{trace}")
