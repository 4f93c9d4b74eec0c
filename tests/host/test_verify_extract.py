"""Where the final answer is found in a response, and by which rule."""

import time

import pytest

from lte_jax.host.answers.extract import boxes, extract
from lte_jax.host.verify import grade

FOUND = [
    (r"so \boxed{ 4 }.", "box", "4"),
    (r"\fbox{\frac{1}{2}}", "box", r"\frac{1}{2}"),
    (r"\boxed{3} or rather \boxed{4}", "box", "4"),
    (r"\boxed{3} and then \boxed{} and \boxed{5", "box", "3"),
    (r"\boxed{\{1, 2\}}", "box", r"\{1, 2\}"),
    (r"\boxed{\boxed{4}}", "box", "4"),
    (r"\boxed{3} The answer is 7.", "box", "3"),
    ("<answer> 4 </answer>", "answer_tag", "4"),
    ("The answer is 42.", "marker", "42"),
    ("The answer is $x=5$, as claimed.", "marker", "x=5"),
    ("Answer: 3 apples, because 5 are gone", "marker", "3 apples"),
    ("The answers are $69$ and $84$.", "marker", "69, 84"),
    ("**Final Answer**: 12", "marker", "12"),
    ("The final answer is:\n\n42\n", "marker", "42"),
    ("#### 72", "marker", "72"),
    ("The answer is $18.90", "marker", "$18.90"),
    ("The correct option is (B).", "marker", "(B)"),
    ("First 3, then 1,234 in the end.", "last_number", "1,234"),
    ("we get -5", "last_number", "-5"),
    ("thus $y = 3$ and done", "last_formula", "y = 3"),
    (r"<think>\boxed{3}</think> so it is 4", "last_number", "4"),
    (r"\boxed 5", "box", "5"),
    ("\x08oxed{5}", "box", "5"),  # JSON has eaten the backslash
    ("boxed{7}", "box", "7"),
    ("The answer is: **42**.", "marker", "42"),
    ("**Answer:** 42", "marker", "42"),
    ("Final Answer: The final answer is $42$. I hope it is correct.", "marker", "42"),
    ("The answer would be 5.", "marker", "5"),
    ("Hence the answer equals 7.", "marker", "7"),
    ("The answer, therefore, is 9.", "marker", "9"),
    ("so the answer is that there are 5 ways.", "marker", "5 ways"),
    ("The answer is $x=1$ or $x=2$.", "marker", "x=1 or x=2"),
    ("The answer is x < 5.", "marker", "x < 5"),
    ("the answer is 3 (since 1+2=3).", "marker", "3"),
    ("答案是 5。", "marker", "5"),
    ("bla bla 5+3=8\n#### 8", "marker", "8"),
    ("x = 5", "whole", "x = 5"),
    ("sqrt(2)", "whole", "sqrt(2)"),
    (r"\frac{1}{2}", "whole", r"\frac{1}{2}"),
    ("2*x+1", "whole", "2*x+1"),
    ("(C)", "whole", "(C)"),
    ("Evelyn", "whole", "Evelyn"),
    ("So the value is sqrt(2).", "last_number", "sqrt(2)"),
    ("so we obtain x + 1 = 2*y + 3.", "last_number", "2*y + 3"),
    ("thus the point is (1, 2).", "last_number", "(1, 2)"),
    ("He pays $18.90 per day.", "last_number", "$18.90"),
    ("the polynomial is x^2 + 3x + 2.", "last_number", "x^2 + 3x + 2"),
    ("Thus (B) is correct.", "last_choice", "B"),
    (r"We pick \textbf{(E)}", "last_choice", "E"),
]


@pytest.mark.parametrize(("response", "rule", "answer"), FOUND)
def test_the_rule_and_the_answer(response, rule, answer):
    found = extract(response)
    assert (found.rule, found.answer) == (rule, answer)


@pytest.mark.parametrize("response", ["", "nothing here", r"\boxed{}", r"\boxed{ }", "</think>"])
def test_no_answer_is_found_where_there_is_none(response):
    assert extract(response) is None
    assert grade("5", response).status == "no_answer"


def test_a_truncated_response_is_graded_only_by_a_complete_answer():
    assert extract("so it is 42", truncated=True) is None
    assert extract("the answer is 4", truncated=True) is None  # it may have gone on to be 42
    assert extract(r"\boxed{4", truncated=True) is None
    assert extract(r"\boxed 4", truncated=True) is None
    assert extract("the answer is 4.", truncated=True) is None  # or 4.5
    assert extract("the answer is $4$", truncated=True) is None  # and $5$
    assert extract("Answer: $4", truncated=True) is None
    assert extract("Answer: $x + 4", truncated=True) is None  # a dollar that is not closed
    assert extract("the answer is not 4.\nLet me", truncated=True) is None
    assert extract("the answer is $4$.\nLet me", truncated=True).answer == "4"
    assert extract("the answer is 4.\nLet me", truncated=True).answer == "4"
    assert extract(r"\boxed{4} Let me", truncated=True).answer == "4"
    assert not grade("42", "so it is 42", truncated=True).correct


def test_boxes_are_joined_only_for_a_gold_that_is_a_list():
    response = r"Either \boxed{2} or \boxed{1}."
    assert grade("1,2", response).correct
    assert grade("1,2", response).rule == "boxes"
    assert grade("1", response).extracted == "2, 1"  # neither alone is the answer
    assert not grade("1", response).correct
    assert not grade("2", response).correct
    assert not grade("(2,1)", response).correct
    assert not grade("1,2", r"\boxed{2}, \boxed{1}, \boxed{3}").correct
    assert grade(r"1 \pm 2", r"\boxed{-1} and \boxed{3}").correct


BOXES = [
    ("1,2", r"$\boxed{1}$ and $\boxed{2}$", True),
    ("1,2", r"$x = \boxed{1}$ or $x = \boxed{2}$", True),
    ("1,2", r"$x_1 = \boxed{1}$, $x_2 = \boxed{2}$", True),
    ("1,2", r"(a) \boxed{1} (b) \boxed{2}", True),
    ("1,2", "\\boxed{1}\n\n\\boxed{2}", True),
    ("1,2", r"\boxed{1} \quad \text{and} \quad \boxed{2}", True),
    ("1,2", r"\boxed{1} was wrong. The sum is \boxed{2}.", False),
    ("1,2", r"\boxed{1}, no wait, \boxed{2}", False),
    ("1,2", r"\boxed{1} = 1 so \boxed{2}", False),
    ("1,2", r"The radius is \boxed{1} and the area is \boxed{2}.", False),
    ("1,2", r"\boxed{1} then 5 more: \boxed{2}", False),
    ("1,2", "\\boxed{1}" + " " * 500 + "\\boxed{2}", False),
    ("2", "\\boxed{1}\n\nAgain: \\boxed{2}", True),
    ("2", "\\boxed{1}\n\n\\boxed{2}", True),
    ("2", r"\boxed{2}, \boxed{2}", True),
    ("2", r"The radius is \boxed{1} and the area is \boxed{2}.", True),
    ("2", r"\boxed{1}, \boxed{2}", False),
    ("2", r"\boxed{1} and \boxed{2}", False),
    ("(3,5)", r"$x = \boxed{3}$, $y = \boxed{5}$", True),
    ("(3,5)", r"$y = \boxed{5}$, $x = \boxed{3}$", True),
    ("x=3,y=5", r"$y = \boxed{5}$ and $x = \boxed{3}$", True),
    ("x=3, y=5", r"so $x = \boxed{3}$ and hence $y=\boxed{5}$", True),
    ("(3,5)", r"$x = \boxed{5}$, $y = \boxed{3}$", False),
    ("(3,5)", r"\boxed{3}, \boxed{5}", False),
    ("(3,5)", r"$x = \boxed{3}$, $x = \boxed{5}$", False),
    ("(3,5)", r"$x = \boxed{3}$ was wrong, $y = \boxed{5}$", False),
    ("x=3,y=5", r"$a = \boxed{3}$, $b = \boxed{5}$", False),
    ("(3,5)", r"$y = \boxed{5}$", False),
]


@pytest.mark.parametrize(("gold", "response", "correct"), BOXES)
def test_only_boxes_that_belong_together_are_one_answer(gold, response, correct):
    verdict = grade(gold, response)
    assert verdict.correct is correct, (verdict.rule, verdict.extracted)


def test_the_formulas_of_the_last_sentence_are_joined_only_for_a_gold_that_is_a_list():
    response = "There are two roots. Therefore $x=1$ and $x=2$."
    assert grade("1,2", response).correct and grade("1,2", response).rule == "last_formulas"
    assert grade("2", response).extracted == "x=2"
    assert not grade("1", response).correct


def test_a_number_inside_an_expression_is_not_the_answer():
    for response in (
        "The value is sqrt(2).",
        "It equals 3/2.",
        r"We get \frac{7}{2}.",
        "the point (1, 2)",
        "x^2 = 2*y",
    ):
        assert not grade("2", response).correct, response


def test_unbalanced_and_nested_boxes_take_linear_time():
    start = time.process_time()
    extract(r"\boxed{" * 1_000_000 + "}" * 1_000_000)
    extract(r"\boxed{a" * 18_000 + "}" * 18_000)
    for noise in ("(", "{", "[", "$1", r"\(", "answer to ", "the answer is $", "</think>", "<answer>"):
        extract(noise * (10_000_000 // len(noise)))
    assert time.process_time() - start < 60  # 3 s on one machine; quadratic would take hours
    assert boxes(r"\boxed{" * 1000 + "4" + "}" * 1000) == ["4"]


RIGHT = [
    ("1/2", "1/2"),
    ("\\frac{1}{2}", "$\\frac{1}{2}$"),
    ("$x+1$", "x+1"),
    ("$(1,2)$", "(1,2)"),
    ("A", "The correct answer is **A**."),
    ("A", "**A**"),
    ("B", "The answer is B) 12"),
    ("B", "I would choose option B."),
    ("B", "Answer: B"),
    ("B", "(B)"),
    ("B", "\\boxed{\\text{B}}"),
    ("B", "ANSWER: B"),
    ("D", "So the answer is D."),
    ("D", "Therefore, the correct answer is (D) 42."),
    ("18", "Janet sells 9 eggs. 9*2 = 18. #### 18"),
    ("18", "... so she makes $18."),
    ("18", "She makes 18 dollars every day."),
    ("18", "The answer is $18.00."),
    ("72", "Natalia sold 48+24 = 72 clips altogether in April and May."),
    ("5", "Let x be 3. Then the answer is $\\boxed{5}$. Check: 3+2=5, 7-2=5."),
    ("5", "First guess \\boxed{4}, but actually \\boxed{5}."),
    ("\\frac{3}{4}", "<answer>3/4</answer>"),
    ("\\frac{3}{4}", "<answer>$\\frac34$</answer> done in 5 steps"),
    ("\\frac{3}{4}", "<think>maybe \\boxed{2}</think>\n\nThe answer is \\boxed{\\frac{3}{4}}."),
    ("x=1, x=2", "The solutions are $x = 1$ and $x = 2$."),
    ("\\{1,2\\}", "\\boxed{x=1}, \\boxed{x=2}"),
    ("(3,4)", "the intersection point is $(3, 4)$."),
    ("10", "The answer is 10 because 5 times 2 is 10."),
    ("10", "Final answer: 10"),
    ("10", "Final Answer: $10$"),
    ("10", "**Final Answer**\n\n\\[\n\\boxed{10}\n\\]"),
    ("10", "The final answer is $\\boxed{10}$. I hope it is correct."),
    ("10", "**Final Answer:** 10"),
    ("10", "### Final Answer\n10"),
    ("10", "Result: 10"),
    ("10", "=> 10"),
    ("10", "Thus, n = 10."),
    ("10", "Hence $n = 10$."),
    ("10", "the number of ways is $\\binom{5}{2} = 10$."),
    ("10", "$$n = 10$$"),
    ("10", "\\[ n = 10 \\]"),
    ("10", "\\begin{align*} n &= 5 + 5 \\\\ &= 10 \\end{align*}"),
    ("0.5", "50%... that is 0.5"),
    ("50\\%", "The probability is 50%."),
    ("50\\%", "\\boxed{0.5}"),
    ("2\\sqrt{3}", "the length is 2√3"),
    ("2\\sqrt{3}", "the length is $2\\sqrt{3}$ cm."),
    ("2\\sqrt{3}", "$\\boxed{2\\sqrt{3} \\text{ cm}}$"),
    ("[2,5)", "\\boxed{[2, 5)}"),
    ("[2,5)", "So $2 \\le x < 5$."),
    ("x^2+3x+2", "The polynomial is (x+1)(x+2)."),
    ("x^2+3x+2", "Expanding: $(x+1)(x+2) = x^2+3x+2$."),
    ("\\text{Evelyn}", "The answer is Evelyn."),
    ("\\text{Evelyn}", "\\boxed{\\text{Evelyn}}"),
    ("\\text{yes}", "The answer is yes."),
    ("\\text{even}", "The function is \\boxed{even}."),
    ("12{,}345", "It's 12,345."),
    ("1000000", "one million: \\boxed{1{,}000{,}000}"),
    ("-3", "So the answer is −3."),
    ("-3", "x = -3"),
    ("3+4i", "$z = 3+4i$"),
    ("3:30", "The answer is 3:30 p.m."),
    ("\\frac{\\pi}{4}", "The angle is π/4."),
    ("\\frac{\\pi}{4}", "The answer is pi/4"),
    ("2", "\\boxed{2} apples"),
    ("2", "\\boxed{\\boxed{2}}"),
    ("2", "$\\boxed{2}$."),
    ("2", "\\boxed{ 2}"),
    ("2", "\\boxed{\n2\n}"),
    ("2", "\\boxed{2\\,}"),
    ("2", "The answer is\n2"),
    ("2", "The answer is:\n$$2$$"),
    ("2", "<answer>\\boxed{2}</answer>"),
    ("2", "Answer: \\( 2 \\)"),
    ("2", "**2**"),
    ("2", "`2`"),
    ("2", "2"),
    ("2", "2."),
    ("2", "$2$"),
    ("2", "x=2"),
    ("2", " 2 \n"),
    ("2", "The answer is 2.\n\nTherefore, we have found it after 3 steps."),
    ("2", "So the answer is 2 (two)."),
    ("2", "Therefore the answer is exactly 2."),
    ("2", "The value of $x$ is $2$."),
    ("2", "$x$ equals 2"),
    ("7", "The sum is 3 + 4 = 7."),
    ("7", "3 + 4 = **7**"),
]
WRONG = [
    ("2", "The value is sqrt(2)."),
    ("2", "x^2"),
    ("2", "\\frac{1}{2}"),
    ("2", "1/2"),
    ("2", "(1,2)"),
    ("2", "$\\sqrt{2}$"),
    ("2", "The answer is 2 or 3."),
    ("2", "The answer is not 2 but 3"),
    ("2", "\\boxed{2} no wait \\boxed{3}"),
    ("2", "\\boxed{3} and the answer is 2"),
    ("2", "I think 2, no, 3"),
    ("2", "1, 2, 3, 4"),
    ("2", "\\boxed{1,2}"),
    ("2", "$12$"),
    ("2", "2 + x"),
    ("2", "x > 2"),
    ("2", "-2"),
    ("2", "The answer is -2."),
    ("2", "20%"),
    ("2", "<think>\\boxed{2}</think> \\boxed{3}"),
    ("2", "<answer>3</answer> 2"),
    ("2", "2^{2}"),
    ("2", "2!3"),
    ("2", "\\boxed{}"),
    ("2", ""),
    ("2", "two or three"),
    ("A", "The answer is B."),
    ("A", "A or B"),
    ("A", "\\boxed{A, B}"),
    ("A", "The answer is A and C"),
    ("A", "\\text{B}"),
    ("A", "Option B is right, not A"),
    ("A", "**B**"),
    ("B", "A. 12\nB. 13\nC. 14"),
    ("1,2", "\\boxed{1}"),
    ("1,2", "\\boxed{2}"),
    ("1,2", "\\boxed{1,2,3}"),
    ("1,2", "\\boxed{1} \\boxed{2} \\boxed{3}"),
    ("(1,2)", "\\boxed{1}"),
    ("[2,5)", "\\boxed{(2,5)}"),
    ("\\frac{3}{4}", "<answer>4/3</answer>"),
    ("10", "10 is wrong, so \\boxed{11}"),
    ("50\\%", "\\boxed{5}"),
    ("3:30", "The answer is 3:30:15"),
    ("12{,}345", "12,346"),
    ("12{,}345", "12.345"),
    ("3+4i", "3-4i"),
    ("x^2+3x+2", "x^2+3x-2"),
    ("\\text{Evelyn}", "Evelyne"),
    ("18", "180"),
    ("18", "1.8"),
    ("18", "18.5"),
    ("18", "18 or 19"),
]


@pytest.mark.parametrize(("gold", "response"), RIGHT)
def test_a_response_that_ends_in_the_gold_is_correct(gold, response):
    assert grade(gold, response).correct


@pytest.mark.parametrize(("gold", "response"), WRONG)
def test_a_response_that_only_holds_the_gold_somewhere_is_not(gold, response):
    assert not grade(gold, response).correct
