"""Prompts follow the templates, hold their budgets and list answers as the method says."""

import pytest

from lte_jax.config import HintConfig, PromptConfig
from lte_jax.host.prompts import PromptBuilder, fill
from lte_jax.host.tokenizers.special_tokens import Part
from lte_jax.records import FailureMode, Problem, Prompt

HINTS = {"concise": "{problem} C", "concise_hint": "{problem} CH[{answers}]", "hint": "{problem} H[{answers}]"}
PROBLEM = Problem("p1", "one two", "3")


class WordTokenizer:
    """One token per word; a chat wraps the message in visible marks."""

    bos_ids = (99,)
    no_chat = ""

    def read(self, parts):
        return [len(word) for word in "".join(part.text for part in parts).split()]

    def chat(self, user, system="", enable_thinking=False):
        text = f"<{system}|{''.join(part.text for part in user)}|{enable_thinking}>"
        return Prompt(text, tuple(self.read([Part(text, True)])))


def builder(hints=None, tokenizer=None, **settings):
    config = PromptConfig(**{"text": "{problem} P", "hints": HintConfig(**HINTS | (hints or {})), **settings})
    return PromptBuilder(config, tokenizer or WordTokenizer())


def test_a_plain_prompt_is_the_filled_template_after_bos():
    assert builder().plain(PROBLEM) == Prompt("one two P", (99, 3, 3, 1))


def test_a_chat_prompt_is_the_filled_template_inside_the_chat_template():
    chat = builder(template="chat", system="S", enable_thinking=True)
    assert chat.plain(PROBLEM).text == "<S|one two P|True>"
    prompt, _ = chat.hinted(PROBLEM, FailureMode.NONE_TRUNCATED, ["4"])
    assert prompt.text == "<S|one two H[4]|True>"


def test_a_plain_prompt_over_budget_is_refused_with_figures():
    assert len(builder(budget=4).plain(PROBLEM).ids) == 4
    with pytest.raises(ValueError, match=r"problem p1: its prompt has 4 tokens, more than prompt.budget = 3"):
        builder(budget=3).plain(PROBLEM)


@pytest.mark.parametrize(
    ("mode", "answers", "text", "listed"),
    [
        (FailureMode.ALL_TRUNCATED, [], "one two C", ()),
        (FailureMode.ALL_TRUNCATED, ["4"], "one two C", ()),
        (FailureMode.SOME_TRUNCATED, ["4", "5"], "one two CH[4, 5]", ("4", "5")),
        (FailureMode.SOME_TRUNCATED, [], "one two C", ()),
        (FailureMode.NONE_TRUNCATED, ["5", "4"], "one two H[5, 4]", ("5", "4")),
    ],
)
def test_the_failure_mode_chooses_the_template(mode, answers, text, listed):
    prompt, used = builder().hinted(PROBLEM, mode, answers)
    assert (prompt.text, used) == (text, listed)
    assert prompt.ids[0] == 99 and len(prompt.ids) == 1 + len(text.split())


def test_without_an_answer_to_list_there_is_no_hint():
    assert builder().hinted(PROBLEM, FailureMode.NONE_TRUNCATED, []) is None
    assert builder().hinted(PROBLEM, FailureMode.NONE_TRUNCATED, [" \n", "x" * 65]) is None
    assert builder().hinted(PROBLEM, FailureMode.NO_ANSWER, []) is None


def test_listed_answers_are_short_single_lines_without_repeats_and_few():
    answers = ["a\nb", "long" * 3, " a  b ", "", "1", "2", "3"]
    hinted = builder({"max_answers": 3, "max_answer_chars": 11}).hinted(PROBLEM, FailureMode.NONE_TRUNCATED, answers)
    assert hinted[1] == ("a b", "1", "2") and hinted[0].text == "one two H[a b, 1, 2]"


def test_answers_are_dropped_from_the_end_until_the_budget_holds():
    answers = ["4", "5", "6", "7"]
    for budget, kept in ((7, 4), (6, 3), (4, 1)):  # bos, two words of problem, one word per answer
        prompt, listed = builder(hinted_budget=budget).hinted(PROBLEM, FailureMode.NONE_TRUNCATED, answers)
        assert listed == tuple(answers[:kept]) and len(prompt.ids) <= budget
        assert prompt.text.startswith("one two H[")


def test_where_no_answer_fits_the_hint_falls_back():
    tight = builder(hinted_budget=4)
    assert tight.hinted(PROBLEM, FailureMode.NONE_TRUNCATED, ["4 5"]) is None
    assert tight.hinted(PROBLEM, FailureMode.SOME_TRUNCATED, ["4 5"]) == (Prompt("one two C", (99, 3, 3, 1)), ())


@pytest.mark.parametrize("mode", [FailureMode.ALL_TRUNCATED, FailureMode.SOME_TRUNCATED])
def test_a_problem_too_long_for_its_hint_is_refused_with_figures(mode):
    said = r"problem p1: .*without any answer has 4 tokens, more than prompt.hinted_budget = 3"
    with pytest.raises(ValueError, match=said):
        builder(hinted_budget=3).hinted(PROBLEM, mode, ["4"])


def test_replacement_is_one_pass_and_other_braces_are_literal():
    problem = Problem("p", r"\frac{1}{2} {answers} {problem} {0} \1", "3")
    prompt, _ = builder().hinted(problem, FailureMode.NONE_TRUNCATED, ["{problem}"])
    assert prompt.text == r"\frac{1}{2} {answers} {problem} {0} \1 H[{problem}]"
    assert fill("{problem} in \\boxed{} {problem}", "x") == "x in \\boxed{} x"


@pytest.mark.parametrize(
    ("field", "settings"),
    [
        ("prompt.text", {"text": "P"}),
        ("prompt.text", {"text": "{problem} {answers}"}),
        ("prompt.hints.concise", {"hints": {"concise": "C"}}),
        ("prompt.hints.concise_hint", {"hints": {"concise_hint": "{problem}"}}),
        ("prompt.hints.hint", {"hints": {"hint": "{answers}"}}),
    ],
)
def test_a_template_without_its_placeholder_is_refused_by_field(field, settings):
    with pytest.raises(ValueError, match=f"{field} "):
        builder(**settings)


def test_chat_without_a_chat_template_is_refused():
    tokenizer = WordTokenizer()
    tokenizer.no_chat = "this tokenizer has none"
    with pytest.raises(ValueError, match="prompt.template is chat, but this tokenizer has none"):
        builder(tokenizer=tokenizer, template="chat")


def test_the_default_templates_work():
    PromptBuilder(PromptConfig(), WordTokenizer())
