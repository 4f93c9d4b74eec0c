"""Model text that wants to hang, grow, crash or run: each gets a status, quickly, and harms nobody."""

import random
import time

import pytest

from lte_jax.host.answers.decide import check_gold, decide
from lte_jax.host.answers.extract import extract
from lte_jax.host.verify import Verifier, grade
from lte_jax.records import Status


@pytest.fixture(scope="module")
def verifier():
    with Verifier(workers=2) as verifier:
        verifier.same_answer([("x+1", "1+x")])  # the zygote is up
        yield verifier


TOO_LARGE = {
    "tower": "9^{9^{9^{9^9}}}",
    "tower with a letter": "x^{x^{x^{x^{x}}}}",
    "tower of e": "e^{e^{e^{e^{10}}}}",
    "factorial": "10^9!",
    "factorial of a product": "(10^9)!",
    "nested factorials": "((x!)!)!" + "!" * 100,
    "binomial": r"\binom{10^9}{5*10^8}",
    "exponential": r"\exp(10^{10})",
    "power of a sum": "(x+1)^{1000000}",
    "parentheses": "(" * 60 + "1" + ")" * 60,
    "braces": "{" * 300 + "1" + "}" * 300,
    "fractions": r"\frac{1}{" * 40 + "x" + "}" * 40,
    "roots": r"\sqrt" * 200 + "2",
    "functions": r"\sin" * 100 + "x",
    "quotients": "1/" * 900 + "1",
    "digits": "1" * 3000,
    "length": "1" * 5000,
    "items": "1," * 1500 + "1",
    "exponent": "1e999999999",
    "sum": r"\sum_{k=1}^{100000} k",
    "sum of sums": r"\sum_{k=1}^{2000} \sum_{j=1}^{2000} (j+k)",
    "product": r"\prod_{k=1}^{6000} k",
    "dots": r"1+2+\cdots+10^9",
    "powers of a matrix": r"\begin{pmatrix}x&y\\z&w\end{pmatrix}" + "^3" * 8,
    "floor": r"\lfloor 10^{900}\pi^{9999}\rfloor",
}


@pytest.mark.parametrize("answer", TOO_LARGE.values(), ids=TOO_LARGE.keys())
def test_a_cap_decides_before_any_work(verifier, answer):
    for gold in ("5", r"\sqrt{2} + x"):
        assert verifier.grade_many([(gold, rf"\boxed{{{answer}}}", False)])[0].status is Status.TOO_LARGE


UNITS = (
    " ", r"\,", "~", r"\quad ", "\n", "1", "1 ", "12,", "{", "}", "{}", "$", "$$", "(", "[", "a ", "cm ", "5 cm ", r"\text{cm}",
    r"\text{", "and ", "or ", ", ", "111,", "x=1 or ", "+1", "/2", "^2", "_", "|", "\\", r"\frac12", r"\boxed{", r"\boxed{5}",
    r"\{1\},", "(1,2),", r"[1,2]\cup ", "for n is an integer ", r"\approx 1 ", r"\pm 1", "²", "…", "the answer is ", "1/", "1.1",
    "(A) ", "thousand ", r"\pmod{7} ", "f(x)=", r"\begin{pmatrix}", "1&", "⅓", "½", "{1}^{2}",
)  # fmt: skip


@pytest.mark.parametrize("unit", UNITS)
def test_a_unit_that_is_repeated_takes_this_thread_no_time(unit):
    """Processor time of this thread, which other work does not lengthen; 10 s and more before patterns were bounded."""
    for length in (1_200, 3_900, 100_000):
        inner = unit * (length // len(unit))
        for text in (
            inner,
            f"5{inner}x",
            rf"\boxed{{5{inner}x}}",
            f"The answer is {inner}.",
            f"{inner}, 5 for n integer",
        ):
            start = time.thread_time()
            found = extract(text)
            for answer in (found.answer, ", ".join(found.several)) if found else ():
                decide("1,2", answer)
            decide(text, "5")
            assert time.thread_time() - start < 2.0, text[:40]


def test_sets_of_sets_are_compared_a_bounded_number_of_times():
    def nested(n, order, last):
        inner = [",".join(map(str, [*range(n)[::order], last + i])) for i in range(n)][::order]
        return r"\{" + ",".join(rf"\{{{part}\}}" for part in inner) + r"\}"

    assert decide(nested(9, 1, 100), nested(9, -1, 100)) is Status.EQUAL
    assert decide(nested(9, 1, 100), nested(9, -1, 101)) is Status.DIFFERENT
    assert decide(nested(20, 1, 100), nested(20, -1, 100)) is Status.TOO_LARGE


@pytest.mark.parametrize(
    "answer",
    ["nan", "NaN", "inf", "-inf", "1e309", r"\infty", "0/0", "1/0", "0^0", "0^{-1}", r"\log_1 5", "x/0",
     r"\sqrt{-1}", "\ud800", "\u200b", "-" * 50, "|x" * 100, "²", "x!!!", r"\lfloor x^{x^x}\rfloor",
     "1 \\pm" * 20 + "1", "5" + "\u0338"],
)  # fmt: skip
def test_odd_values_are_neither_equal_nor_a_crash(verifier, answer):
    for gold in ("5", r"x^2+\sqrt{2}"):
        verdict = verifier.grade_many([(gold, rf"\boxed{{{answer}}}", False)])[0]
        assert not verdict.correct and verdict.decided


def test_unicode_digits_minus_signs_and_invisible_characters_are_read():
    readings = [("-5", "−5"), ("42", "４２"), ("42", "٤٢"), ("42", "4\u200b2"), ("x^{2}", "x²"), ("1e-6", "10⁻⁶")]
    for gold, answer in readings:
        assert grade(gold, rf"\boxed{{{answer}}}").correct, answer


INJECTIONS = [
    "__import__('pathlib').Path({canary!r}).touch()",
    "open({canary!r}, 'w')",
    "().__class__.__base__.__subclasses__()",
    "lambdify(x, 1)(__import__('os').system('touch {canary}'))",
    r"\text{{__import__('os').system('touch {canary}')}}",
    r"\operatorname{{eval}}(open({canary!r}, 'w'))",
    r"\write18{{touch {canary}}}",
    "$(touch {canary})",
    "`touch {canary}`",
    "5; import os; os.system('touch {canary}')",
    "sympify('open({canary!r}, \"w\")')",
    "{{{{cycler.__init__.__globals__.os.system('touch {canary}')}}}}",
    "5\n!touch {canary}",
    r"\input{{|touch {canary}}}",
    r"\immediate\write18{{touch {canary}}}",
    "$%{{touch {canary}}}",
    "%(__import__('os').system('touch {canary}'))s",
    "<script>require('fs').writeFileSync('{canary}', '')</script>",
    "'; DROP TABLE x; \\! touch {canary}",
    "!!python/object/apply:os.system ['touch {canary}']",
    "cos\nsystem\n(S'touch {canary}'\ntR.",
    "f(x)=exec(open('{canary}','w'))",
    "x.subs(x, open('{canary}', 'w'))",
    "(lambda: open('{canary}', 'w'))()",
]


@pytest.mark.parametrize("template", INJECTIONS)
def test_nothing_in_an_answer_is_executed(verifier, template, tmp_path):
    canary = tmp_path / "canary"
    text = template.format(canary=str(canary))
    responses = [rf"\boxed{{{text}}}", f"The answer is {text}", text, f"<answer>{text}</answer>"]
    items = [(gold, response, False) for gold in ("7", r"\sqrt{x}") for response in responses]
    for verdict in verifier.grade_many(items):
        assert not verdict.correct
    assert not canary.exists()


def test_an_answer_that_lists_everything_or_quotes_the_problem_is_wrong():
    everything = ", ".join(map(str, range(60)))
    for answer in (everything, rf"\{{{everything}\}}", "Find x such that x = 5", "x = 5 or x = 6", "5 = 5 = 6"):
        assert not grade("5", rf"\boxed{{{answer}}}").correct, answer
    assert not grade("1,2", "".join(rf"\boxed{{{n}}} " for n in range(60))).correct


def test_ten_megabytes_are_graded_quickly_and_leave_nothing_behind():
    for piece in ("(", "{", "[1,", r"\boxed{", r"\frac{1}{", "$", "9^", r"\text{", "<think>", "answer is ", "1 "):
        start = time.thread_time()
        verdict = grade("5", piece * (10_000_000 // len(piece)))
        assert not verdict.correct and verdict.decided, piece
        assert len(verdict.extracted or "") <= 262_144
        assert time.thread_time() - start < 1.5, piece


def test_hostile_answers_in_a_batch_leave_their_neighbours_verdicts_alone(verifier):
    fair = [(r"\sqrt8", r"\boxed{2\sqrt2}", False), (r"\sqrt8", r"\boxed{2\sqrt3}", False)]
    hostile = [("5", rf"\boxed{{{answer}}}", False) for answer in TOO_LARGE.values()]
    batch = [item for bad in hostile for item in (fair[0], bad, fair[1])]
    verdicts = verifier.grade_many(batch)
    assert [v.correct for v in verdicts] == [True, False, False] * len(hostile)
    assert all(v.decided for v in verdicts)


def test_random_noise_never_raises():
    pieces = (
        r"\frac \sqrt { } ( ) [ ] , = < \le \cup \infty \pi e i x y 1 10 0.5 1e5 + - * / ^ _ ! % \circ \pm \sin \log "
        r"\text{cm} \{ \} | \lfloor \rfloor \binom \begin{pmatrix} \end{pmatrix} \\ & or \in \overline{3} _8 "
        r"\boxed{ $ \( \) ' : ; é ² ٣ \left \right"
    ).split()
    source = random.Random(0)
    for _ in range(1500):
        gold, answer = ("".join(source.choices(pieces, k=source.randint(1, 12))) for _ in range(2))
        status = decide(gold, answer)
        assert status is None or isinstance(status, Status)
        assert check_gold(answer) != ""
