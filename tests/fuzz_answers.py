"""Random answers of every form that the verifier reads, with what is known of them, and raw noise.

    python tests/fuzz_answers.py --minutes 30

runs the same checks as tests/host/test_verify_fuzz.py until the time is over and prints one JSON line: how many cases,
how many statuses of each kind, what failed.
"""

import argparse
import json
import random
import time
from collections import Counter
from collections.abc import Callable
from fractions import Fraction

from hypothesis import strategies as st

from lte_jax.host.answers.decide import decide
from lte_jax.host.answers.extract import extract
from lte_jax.host.answers.sentences import is_sentence
from lte_jax.host.verify import Verifier, check_gold
from lte_jax.records import Status

PIECES = (
    r"\frac \sqrt { } ( ) [ ] , = < \le \cup \infty \pi e i x y n 1 10 0.5 1e5 007 + - * / ^ _ ! % \circ \pm \sin \log "
    r"\text{cm} \text{or} \{ \} | \lfloor \rfloor \binom \begin{pmatrix} \end{pmatrix} \begin{cases} \end{cases} \\ & "
    r"or in \overline{3} _8 \boxed{ $ \( \) ' : ; é ² ٣ \left \right ... \ldots \mid \setminus \mathbb{R} \approx "
    r"\pmod{7} million th p.m. (A) B) \operatorname{cis} \over \choose \color{red} ** ` ] [ \vec \angle AB Area log2( "
    r"\sum_{k=1}^{3} \prod_{k=1}^{n} \ldots \bmod \det \| \in\mathbb{Z} k \begin{vmatrix} \end{vmatrix} ^T ^{-1} 3,5 out of "
    r"and \emptyset \text{ no } \, \! {, } ~ \displaystyle \begin{aligned} \end{aligned} \equiv \ne |x| \sqrt[3]{ \% \$"
).split()
SPACES = ("", "", " ")


@st.composite
def noise(draw) -> str:
    """Pieces of LaTeX and plain text in any order, or any characters at all."""
    if draw(st.booleans()):
        return draw(st.text(max_size=60))
    pieces = draw(st.lists(st.sampled_from(PIECES), min_size=1, max_size=14))
    return "".join(piece + draw(st.sampled_from(SPACES)) for piece in pieces)


# forms with a known value


def _fractions(value: Fraction) -> list[str]:
    top, bottom = value.numerator, value.denominator
    sign, size = ("-" if top < 0 else ""), abs(top)
    found = [rf"{sign}\frac{{{size}}}{{{bottom}}}", f"{top}/{bottom}", rf"\dfrac{{{top}}}{{{bottom}}}"]
    found += [rf"\frac{{{3 * top}}}{{{3 * bottom}}}", rf"{sign}\tfrac {{{size}}} {{{bottom}}}"]
    if bottom == 1:
        found += [str(top), f"{top}.0", f"{top}.", f"{top:,}".replace(",", "{,}"), f"{{{top}}}", rf"\mathbf{{{top}}}"]
        found += [rf"{sign}\sqrt{{{top * top}}}", f"({top - 1}+1)"]
    else:
        whole, rest = divmod(size, bottom)
        found += (
            [rf"{sign}{whole}\frac{{{rest}}}{{{bottom}}}", f"{sign}{whole} {rest}/{bottom}"] if whole and rest else []
        )
    return found + ([f"{float(value):.6f}"] if 10**6 % bottom == 0 else [])


WRAPPERS = ("{}", "${}$", r"\({}\)", r"\boxed{{{}}}", "x = {}", r"{}\text{{ cm}}", "{}.", r"\displaystyle {}", " {} ")
SHAPES: tuple[Callable[[list[str]], str], ...] = (
    lambda parts: parts[0],
    lambda parts: f"({', '.join(parts)})",
    lambda parts: rf"\{{{', '.join(parts)}\}}",
    lambda parts: f"[{parts[0]}, {parts[-1]})",
    lambda parts: rf"{parts[0]} + {parts[-1]}\sqrt{{2}}",
    lambda parts: r"\begin{pmatrix} " + r" \\ ".join(parts) + r" \end{pmatrix}",
    lambda parts: rf"{parts[0]} < x \le {parts[-1]}",
    lambda parts: rf"{parts[0]} x^2 + {parts[-1]} i",
)
VALUES = st.fractions(min_value=-2000, max_value=2000, max_denominator=60)


@st.composite
def pair(draw) -> tuple[str, str, bool]:
    """(gold, answer, are they equal?): two spellings of the same values, or of values of which one is another."""
    values = draw(st.lists(VALUES, min_size=2, max_size=3, unique=True))
    build = draw(st.sampled_from(SHAPES))
    others = list(values)
    if not (same := draw(st.booleans())):
        others[0] += draw(st.sampled_from([Fraction(1), Fraction(-1, 7), Fraction(1, 1000), -2 * others[0] or 1]))
        if len({*others}) < len(others) or set(others) == set(values):
            same, others = True, list(values)
    # A bare x in a wrapper would be a definition of something that already holds an x.
    wrapper = draw(st.sampled_from([w for w in WRAPPERS if build is SHAPES[0] or "=" not in w and "text" not in w]))
    gold = build([draw(st.sampled_from(_exact(value))) for value in values])
    return gold, wrapper.format(build([draw(st.sampled_from(_fractions(value))) for value in others])), same


def _exact(value: Fraction) -> list[str]:
    """Spellings without a decimal point, so that no tolerance applies."""
    return [text for text in _fractions(value) if "." not in text]


# what must hold


def check_noise(gold: str, answer: str) -> Status | None:
    """Nothing raises, the status is one of ours, and a readable text equals itself."""
    found = extract(answer)
    assert found is None or found.answer, ("empty", answer)
    status = decide(gold, answer)
    assert status is None or isinstance(status, Status)
    if "box" not in answer and not is_sentence(answer) and check_gold(answer) is None:
        assert decide(answer, answer) is Status.EQUAL, ("not itself", answer)
    return status


def check_pair(verifier: Verifier, gold: str, answer: str, same: bool) -> Status:
    """The verdict on a response that ends in the answer is the known one."""
    status = verifier.grade_many([(gold, rf"So we get \boxed{{{answer}}}", False)])[0].status
    assert status is (Status.EQUAL if same else Status.DIFFERENT), (gold, answer, same, status)
    return status


def check_both_ways(verifier: Verifier, left: str, right: str) -> None:
    """Without tolerances neither order of two answers is the better one. Only where both can be golds."""
    if check_gold(left) is None and check_gold(right) is None:
        one, other = verifier.same_answer([(left, right), (right, left)])
        assert None in (one, other) or one == other, ("not both ways", left, right)


def check_in_workers(verifier: Verifier, pairs: list[tuple[str, str]]) -> list[Status]:
    """No answer makes a worker crash, whatever it costs."""
    items = [(gold, rf"\boxed{{{answer}}}", False) for gold, answer in pairs]
    statuses = [verdict.status for verdict in verifier.grade_many(items)]
    assert Status.CRASH not in statuses, [p for p, s in zip(pairs, statuses, strict=True) if s is Status.CRASH]
    return statuses


def main() -> None:
    """Hypothesis draws; the loop is ours, so that it can run for a given time and count."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    statuses: Counter[str] = Counter()
    failures: list[str] = []
    slowest, n, start, seed = (0.0, ""), 0, time.monotonic(), arguments.seed
    with Verifier(workers=1) as verifier:
        while time.monotonic() - start < 60 * arguments.minutes:
            seed += 1
            for case in _drawn(seed):
                began = time.monotonic()
                try:
                    statuses.update(str(status) for status in _check(verifier, case))
                except Exception as error:
                    failures.append(f"{type(error).__name__}: {error}"[:400])
                n += 1
                slowest = max(slowest, (time.monotonic() - began, repr(case)[:200]))
    minutes = round((time.monotonic() - start) / 60, 1)
    report = {"cases": n, "minutes": minutes, "statuses": dict(statuses), "n_failures": len(failures)}
    print(json.dumps(report | {"failures": sorted(set(failures))[:40], "slowest": slowest}, ensure_ascii=False))


def _drawn(seed: int) -> list[tuple]:
    """A few hundred cases from hypothesis, the same for the same seed."""
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis import seed as seeded

    cases: list[tuple] = []

    @seeded(seed)
    @settings(
        max_examples=300, database=None, deadline=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(pair(), noise(), noise())
    def collect(known, gold, answer):
        cases.extend([known, (gold, answer), (mutated(known[0], seed), known[1])])

    collect()
    return cases


def mutated(text: str, seed: int) -> str:
    """A form with one piece put in, taken out or doubled."""
    source = random.Random(f"{text}{seed}")
    at = source.randrange(len(text) + 1)
    put_in = source.choice([source.choice(PIECES), "", text[max(0, at - 3) : at]])
    return text[:at] + put_in + text[at + source.randint(0, 2) :]


def _check(verifier: Verifier, case: tuple) -> list[Status]:
    if len(case) == 3:
        check_both_ways(verifier, *case[:2])
        return [check_pair(verifier, *case)]
    check_noise(*case)
    check_both_ways(verifier, *case)
    return check_in_workers(verifier, [case])


if __name__ == "__main__":
    main()
