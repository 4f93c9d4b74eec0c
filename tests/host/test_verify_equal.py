"""Which answers are the same: labelled pairs of our own, gold first, made from what the forms mean."""

import pytest

from lte_jax.host.verify import check_gold
from lte_jax.host.verify.judge import decide
from lte_jax.host.verify.slow import decide_fully

EQUAL = r"""
\frac{1}{2} ;; 0.5
\frac12 ;; 1/2
4a-2 ;; -2+4a
\sqrt{8} ;; 2\sqrt2
2\sqrt{3} ;; \sqrt{12}
\frac{\sqrt{3}}{3} ;; \frac{1}{\sqrt{3}}
x^2-1 ;; (x-1)(x+1)
x=5 ;; 5
5 ;; x = 5
1,-2 ;; -2, 1
\{4,5,7\} ;; \{7, 4, 5\}
4,5,7 ;; \{7, 4, 5\}
(2,\infty) ;; x > 2
x \in [-2,7] ;; [-2, 7]
x \in [-2,7] ;; -2 \le x \le 7
(-\infty, 2) \cup (3, \infty) ;; x<2 \text{ or } x>3
(-\infty, 2) \cup (3, \infty) ;; (3,\infty)\cup(-\infty,2)
1 \pm \sqrt{19} ;; 1+\sqrt{19}, 1-\sqrt{19}
\{1\pm\sqrt{5},-2\} ;; \{-2, 1+\sqrt{5}, 1-\sqrt5\}
3 \pm 2 \sqrt{2} ;; 3 + 2\sqrt{2}, 3 - 2\sqrt{2}
90^\circ ;; 90
145^\circ ;; 145 degrees
90 ;; 90°
\frac{270}7\text{ degrees} ;; \frac{270}{7}
864 \mbox{ inches}^2 ;; 864
864 \mbox{ inches}^2 ;; 864 square inches
5.4 \text{ cents} ;; 5.4
\$32,\!348 ;; 32348
\$32,\!348 ;; 32,348
\$18.90 ;; 18.9
10,\!080 ;; 10080
1{,}008{,}016 ;; 1,008,016
4.5e33 ;; 4.5 \times 10^{33}
4.5e33 ;; 4.5*10^33
4.5e33 ;; 4.5×10³³
2.88e-19 ;; 2.88 \cdot 10^{-19} \text{ J}
1e-3 ;; 10^{-3}
np.arcsin(10/13) ;; \arcsin(10/13)
np.arcsin(10/13) ;; \sin^{-1}\left(\frac{10}{13}\right)
-1./3 ;; -\frac13
\frac{1}{2a}(\exp{a*t} - \exp{-a*t}) ;; \frac{e^{at}-e^{-at}}{2a}
\frac{1}{2a}(\exp{a*t} - \exp{-a*t}) ;; \frac{\sinh(at)}{a}
1\frac{4}{5} ;; 9/5
1\frac{4}{5} ;; 1 4/5
137 \frac{1}{2} ;; 137.5
0.\overline{3} ;; 1/3
\frac{1}{3} ;; 0.\overline{3}
0.1\overline{6} ;; 1/6
62.5% ;; 0.625
62.5% ;; 62.5
62.5% ;; 62.5\%
62.5% ;; 5/8
8 ;; 8\%
52_8 ;; 52_{8}
52_8 ;; 52
4210_{5} ;; 4210_5
\begin{pmatrix} -7 \\ 16 \\ 5 \end{pmatrix} ;; \begin{bmatrix} -7 \\ 16 \\ 5 \end{bmatrix}
\begin{pmatrix} -7 \\ 16 \\ 5 \end{pmatrix} ;; (-7, 16, 5)
\begin{pmatrix} 1/5 \\ -18/5 \end{pmatrix} ;; \frac15\begin{pmatrix} 1 \\ -18 \end{pmatrix}
\begin{pmatrix} -1 & 0 \\ 0 & -1 \end{pmatrix} ;; -\begin{pmatrix} 1 & 0 \\ 0 & 1 \end{pmatrix}
5x - 7y + 11z + 4 = 0 ;; -5x+7y-11z-4=0
5x - 7y + 11z + 4 = 0 ;; 5x-7y+11z=-4
y = 2x + 3 ;; 2x - y + 3 = 0
y = 2x + 3 ;; 2x+3
\text{Evelyn} ;; Evelyn
\text{Evelyn} ;; evelyn
\text{east} ;; \textbf{East}
\text{(C)} ;; C
\text{(C)} ;; (C)
C ;; \text{C}
\text{(B)} ;; B) ellipse
B ;; \text{(B) } 12
(a+5)(b+2) ;; ab+2a+5b+10
\cot x ;; \frac{\cos x}{\sin x}
\sin^2 x ;; 1 - \cos^2 x
\frac{\log 2}{\log 2-\log 3} ;; \frac{\ln 2}{\ln 2-\ln 3}
\log_2 8 ;; 3
\ln(8) ;; 3\ln 2
\binom{5}{2} ;; 10
5! ;; 120
\frac{100!}{2^{50}} ;; \frac{100!}{2^{50}}
\binom{2n}{n} ;; \frac{(2n)!}{(n!)^2}
2^{1009} ;; 2\cdot 2^{1008}
f(x)=2 x ;; 2x
f(x)=2 x ;; f(t) = 2t
f(n)=n, g(n)=1 ;; f(n) = n, g(n) = 1
k \geqslant 2 ;; k \ge 2
k \geqslant 2 ;; [2, \infty)
\lfloor n/2 \rfloor ;; \left\lfloor \frac{n}{2} \right\rfloor
\lceil n / 2\rceil+1 ;; \lfloor (n+3)/2 \rfloor
-2+7i ;; 7i - 2
1+\sqrt{3} i ;; 2e^{i\pi/3}
\ln 2 + i\pi / 3 ;; \ln(1+i\sqrt3)
i \sqrt{3}, -i \sqrt{3} ;; \pm i\sqrt{3}
I(0) e^{-\frac{t}{R C}} ;; I(0) e^{-t/(RC)}
\frac{4}{3} ;; \frac{8}{6}
a=2, a=-6-4\sqrt2 ;; 2, -6-4\sqrt{2}
x=1 \text{ or } x=2 ;; 1, 2
\frac{1}{6} \pi, \frac{5}{6} \pi ;; \frac{\pi}{6}, \frac{5\pi}{6}
\left( 3, \frac{\pi}{2} \right) ;; (3,\pi/2)
30p \sqrt{p} ;; 30 p^{3/2}
3 ;; 2+1=3
10 ;; \binom{5}{2} = 10
(6,31,-1) ;; (x,y,z) = (6,31,-1)
(-2,1) ;; \left(-2,1\right)
12\pi ;; 12 \pi \text{ cm}^2
5 ;; 5 \text{ cm}
5 ;; 5 cm
-3 ;; −3
45^\circ ;; \frac{\pi}{4}
\frac{-1}{1997} ;; -\frac{1}{1997}
x \neq -8 ;; (-\infty, -8) \cup (-8, \infty)
13.18 ;; 13.1800
(3, 4] ;; 3 < x \le 4
e^{2} ;; \exp(2)
|x| ;; \sqrt{x^2}
4:30\text{ p.m.} ;; 4:30 PM
1:2 ;; 1:2
7 \text{ distinct integers} ;; 7
\sqrt[3]{8} ;; 2
\frac{8}{\sqrt[3]{7}} ;; 8 \cdot 7^{-1/3}
2\cdot 3 ;; 6
100,200 ;; 200, 100
9,12,15 ;; 9, 12, 15
$69$,$84$ ;; 84,69
E_{1},E_{2} ;; E_1, E_2
K=8 ;; K = 8
-6 + 6i ;; 6(i-1)
\sin 30^\circ ;; \frac12
2x^3 ;; 2*x^3
sqrt(2)/2 ;; \frac{\sqrt2}{2}
\{5\} ;; 5
0 ;; -0
x^{-2} ;; 1/x^2
\pi ;; π
\frac{\pi}{6} ;; pi/6
\mathbb{R} ;; (-\infty,\infty)
\frac{1}{2},\sqrt{x} ;; \sqrt{x}, 1/2
y^{\prime}+r y-r x(t)=0 ;; y'+ry=rx(t)
2,345 ;; 2345
12 ;; 12.
18.8^{\circ} ;; 18.8
-\log _{10} 250 ;; -\log_{10}(250)
"""

DIFFERENT = r"""
9007199254740993 ;; 9007199254740992
2^{53}+1 ;; 2^{53}
9007199254740993 ;; 9007199254740992.0
\frac13 ;; 0.333
(2,4) ;; [2,4]
(3,4] ;; [3,4)
(1,2) ;; (2,1)
(1,2) ;; \{1,2\}
x=5 ;; y=5
5 ;; x+y=5
5 ;; 5x
0.625 ;; 62.5\%
50 ;; 0.5
5 \text{ cents} ;; 5 dollars
5 \text{ cm} ;; 5 \text{ m}
C ;; B
C ;; (C) or (D)
C ;; A, B, C
\text{(B)} ;; A) 1 B) 2
52_8 ;; 42
52_8 ;; 52_9
1,-2 ;; 1
1 ;; 1,-2
1,-2 ;; 1,2
\{1,2\} ;; \{1,2,3\}
1 \pm \sqrt{19} ;; 1+\sqrt{19}
x^2-1 ;; x^2+1
\sqrt{2} ;; 1.41421
\text{east} ;; \text{seat}
\text{even} ;; \text{odd}
6m ;; 6
2k ;; 2
2k+2 ;; 2n+2
f(x)=2x ;; f(x)=3x
k \ge 2 ;; k > 2
k \le 2 ;; k \ge 2
90^\circ ;; 91
\pi ;; 3.14159
-3 ;; 3
13.18 ;; 13.28
\begin{pmatrix} 1 \\ 2 \end{pmatrix} ;; \begin{pmatrix} 1 & 2 \end{pmatrix}
\begin{pmatrix} 1 \\ 2 \end{pmatrix} ;; \begin{pmatrix} 2 \\ 1 \end{pmatrix}
5 ;; Find x such that x = 5
5 ;; 1,2,3,4,5,6,7
x \sqrt{x^2} ;; x^2
|x| ;; x
100! ;; 100!+1
\frac{100!}{2^{50}} ;; \frac{100!}{2^{51}}
10^{100} ;; 10^{100}+1
\sqrt{10^{60}+1} ;; 10^{30}
y = 2x+3 ;; y = 2x-3
\text{Evelyn} ;; \text{Carla}
3 ;; 2+1=4
4:30 ;; 4:31
4:30\text{ p.m.} ;; 4:30 a.m.
1:2 ;; 2:1
-\infty ;; \infty
5 ;; \infty
0 ;; 10^{-50}
2 ;; 2i
1,2,3 ;; (3,2,1)
\sin x ;; \cos x
(n-2) 2^{n}+1 ;; (n-2)2^n
\binom{2n}{n} ;; \binom{2n}{n-1}
a+b ;; a-b
3 ;; 3!=6
12 ;; 12 or 13
x=2 ;; x=2, y=3
"""


def pairs(table):
    return [tuple(line.split(" ;; ")) for line in table.strip().splitlines()]


def verdict(gold, answer):
    return decide(gold, answer) or decide_fully(gold, answer, {})


@pytest.mark.parametrize(("gold", "answer"), pairs(EQUAL))
def test_equal_answers_are_equal(gold, answer):
    assert verdict(gold, answer) == "equal"


@pytest.mark.parametrize(("gold", "answer"), pairs(DIFFERENT))
def test_near_misses_are_not_equal(gold, answer):
    assert verdict(gold, answer) in ("different", "unparsable")


def test_the_caller_decides_rational_answers_without_sympy():
    cheap = [("420", "420.0"), (r"\frac{1}{2}", "0.5"), ("(1,2)", "(1, 3)"), (r"\{1,2\}", r"\{2, 1\}")]
    for gold, answer in cheap:
        assert decide(gold, answer) is not None, (gold, answer)


def test_tolerance_is_only_for_an_inexact_gold_and_is_relative():
    assert verdict("8.7e8", "870050000") == "equal"
    assert verdict("8.7e8", "870100000") == "different"
    assert verdict("870000000", "870050000") == "different"
    assert verdict("1.4142", r"\sqrt{2}") == "equal"
    assert decide_fully("1.4142", r"\sqrt{2}", {"relative_tolerance": 0.0}) == "different"


@pytest.mark.parametrize(
    ("gold", "answer", "status"),
    [("5", r"\sqrt{", "unparsable"), (r"\frac{", "5", "bad_gold"), ("", "5", "bad_gold"), ("5", "10^9!", "too_large")],
)
def test_the_status_says_why(gold, answer, status):
    assert verdict(gold, answer) == status


def test_check_gold_names_what_it_cannot_read():
    assert check_gold(r"\left( 3, \frac{\pi}{2} \right)") is None
    assert "empty" in check_gold(" ")
    assert "cannot be read" in check_gold("$t(0,4]$")
    assert "too large" in check_gold("(" * 100 + "1" + ")" * 100)
