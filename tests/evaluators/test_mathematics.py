"""Mathematics compared: cases with known verdicts, each with its reason."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from evaluators.answers import is_number
from evaluators.mathematics.checker import Mathematics, looks_mathematical
from evaluators.mathematics.expressions import Judgement

SAME = [
    (r"\frac{1}{2}", "0.5", "a terminating decimal is its fraction"),
    (r"\frac12", "1/2", "LaTeX takes single digits without braces"),
    (r"2\frac{1}{2}", "5/2", "a mixed number is a sum"),
    ("2 1/2", "2.5", "a mixed number in plain text"),
    (r"-1\frac{1}{4}", "-1.25", "the sign of a mixed number is that of the whole"),
    ("2(3)", "6", "a number before a bracket multiplies"),
    ("(2)(3)", "6", "brackets side by side multiply"),
    (r"\frac{1}{2}(4)", "2", "a fraction before a bracket multiplies"),
    (r"\frac{\sqrt{2}}{2}", r"\frac{1}{\sqrt{2}}", "a rationalised denominator"),
    (r"\sqrt{50}", r"5\sqrt{2}", "a root simplified"),
    (r"\sqrt[3]{8}", "2", "a cube root"),
    (r"\sqrt{3+2\sqrt{2}}", r"1+\sqrt{2}", "(1 + sqrt 2)^2 = 3 + 2 sqrt 2"),
    ("2^10", "1024", "an exponent of two digits, as it is meant"),
    ("sqrt(2)/2", r"\frac{\sqrt{2}}{2}", "plain functions"),
    ("√2", r"\sqrt{2}", "a root sign of Unicode"),
    ("2π", r"2\pi", "Greek of Unicode"),
    ("pi/4", r"\frac{\pi}{4}", "pi in letters"),
    ("x^2-1", "(x-1)(x+1)", "an identity"),
    (r"\frac{x^2-1}{x-1}", "x+1", "equal wherever both have a value"),
    ("2x + 3", "3 + 2x", "order of a sum"),
    ("2xy", "2yx", "order of a product"),
    (r"\sin^2 x + \cos^2 x", "1", "an identity"),
    (r"\sin^{2}(x)", r"1-\cos^{2}(x)", "a power of a function is no product"),
    (r"\binom{5}{2}", "10", "a binomial coefficient"),
    ("5!", "120", "a factorial"),
    ("3+4i", "4i+3", "a complex number"),
    ("(1+i)^2", "2i", "i squared is -1"),
    (r"3 \times 10^{8}", "300000000", "scientific notation"),
    (r"1{,}234\pi", r"1234\pi", "thousands"),
    ("x=5", "5", "the value that a variable is given"),
    ("5", "x = 2 + 3 = 5", "a chain that holds"),
    ("y=2x+1", "2x+1", "the value of a function"),
    ("f(x)=2x+1", "1+2x", "the value of a function"),
    ("2x+y=1", "4x+2y=2", "an equation times 2"),
    ("x>5", "5<x", "an inequality turned round"),
    ("2x<4", "x<2", "an inequality divided by a positive number"),
    ("x>5", r"(5,\infty)", "the interval of an inequality"),
    (r"-1<x\le 3", "(-1,3]", "the interval of two inequalities"),
    (r"x \in [0, 1]", r"[0,1.0]", "an interval with its variable"),
    (r"(1,2)\cup(3,4)", r"(3,4) \cup (1,2)", "order of a union"),
    (r"\{1,2\}", r"\{2,1\}", "a set has no order"),
    (r"\{1,2\}", "2, 1", "a list given for a set"),
    (r"\pm 2", "2, -2", "both signs written out"),
    (r"1 \pm \sqrt{2}", r"1+\sqrt{2}, 1-\sqrt{2}", "both signs written out"),
    ("x=1 or x=2", "1, 2", "two solutions in order"),
    ("(1,2)", r"\left(1,\frac{4}{2}\right)", "a pair, value by value"),
    ("(x,y)=(1,2)", "(1,2)", "a pair with its variables"),
    ("50%", r"\frac{1}{2}", "percent are hundredths"),
    (r"\frac{3}{4}", r"75\%", "percent are hundredths, the other way round"),
    (r"90^\circ", "90", "a unit that one of them leaves out"),
    (r"5\sqrt{3} cm", r"5\sqrt{3}", "a unit that one of them leaves out"),
    (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{bmatrix}1\\2.0\end{bmatrix}", "brackets of a matrix do not matter"),
    (r"\log_{2} 8", "3", "a logarithm with its base"),
    (r"\ln e^2", "2", "the natural logarithm"),
    ("10^{100}+1", "1+10^{100}", "large numbers, exactly"),
]
"""(answer, given, why): the same, in either order."""

DIFFERENT = [
    (r"\frac{1}{3}", "0.333333", "a rounded decimal is another number"),
    (r"\sqrt{2}", "1.414214", "a rounded root is another number"),
    (r"\pi", "22/7", "an approximation"),
    (r"10^{-7}", r"2 \times 10^{-7}", "small numbers are not zero"),
    ("10^{100}+1", "10^{100}", "large numbers differ by one"),
    ("2(3)", "5", "no mixed number"),
    (r"2\frac{1}{2}", "1", "no product"),
    ("x^2", "2x", "two functions"),
    ("2x", "2y", "two variables"),
    ("x+1", "x-1", "two functions"),
    (r"\sqrt{x^2}", "x", "not for negative x"),
    ("5!", "5", "a factorial is not its argument"),
    ("12a", "12", "a variable is no unit"),
    ("3t", "3", "a variable is no unit"),
    (r"\{1,2\}", r"\{1,3\}", "two sets"),
    (r"\{1,2\}", r"\{1,2,3\}", "a set and more"),
    (r"x=1,y=2", "2", "half of an answer"),
    ("(1,2)", "(2,1)", "a pair has an order"),
    ("(0,1]", "(0,1)", "half open and open"),
    ("[0,1)", "(0,1]", "open at the other end"),
    (r"\infty", r"-\infty", "signs of infinity"),
    ("3+4i", "3-4i", "a conjugate"),
    (r"\begin{pmatrix}1&2\end{pmatrix}", r"\begin{pmatrix}1\\2\end{pmatrix}", "a row and a column"),
    (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{pmatrix}2\\1\end{pmatrix}", "two columns"),
    ("50%", r"\frac{1}{3}", "percent of another number"),
    (r"\frac{a+b}{c}", "a+b/c", "a slash divides what stands next to it"),
    (r"x^{\frac{1}{2}}", "x^1/2", "a power before a slash"),
    (r"\frac{1}{2}^2", r"\frac{1}{2}", "a power of a fraction"),
]
"""(answer, given, why): not the same, in either order."""

UNDECIDED = [
    ("2^3^2", "64", "a tower from the left or from the right"),
    (r"10^{-20}\pi", r"2 \times 10^{-20}\pi", "math-verify takes numbers this small for zero"),
    (r"10^{-30}\pi", r"10^{-31}\pi", "numbers as small as what rounding leaves"),
    ("6", "2x=6", "the equation says x = 3"),
    ("7", "2+2=7", "the equation does not hold"),
    ("x=5", "y=5", "another variable, perhaps by another name"),
    (r"r^2", "Rr", "two variables, or one written in two ways"),
    ("x+c", "x+C", "a constant in upper or lower case"),
    ("(1,2)", r"\{1,2\}", "a pair, an interval or a set"),
    ("(1,2)", "1,2", "a pair or a list"),
    ("(1,2)", "[1,2]", "an interval or a point in other brackets"),
    ("1,2", "2,1", "the order of a bare list may matter"),
    (r"\{1,1,2\}", r"\{1,2\}", "a set, or a list with a repeat"),
    ("0.5", "0,5", "a decimal comma or a list"),
    ("1/2x", r"\frac{x}{2}", "half of x, or one over 2x"),
    ("1010_2", "1010", "a number in base two"),
    ("3:45", "1:15", "times are no ratios"),
    (r"\sin 30^\circ", r"\sin 30", "degrees and radians"),
    (r"90^\circ", r"\frac{\pi}{2}", "an angle in degrees and in radians"),
    (r"5\sqrt{3} cm", r"5\sqrt{3} m", "two units"),
    (r"\log 100", "2", "base 10 or e"),
    (r"0.\overline{3}", "0.3", "a repeating decimal"),
    ("f'(x)", "f(x)", "a derivative"),
    ("x^2=-1", "x^2=-2", "no real solution of either"),
    ("(1,2)\\cup[2,3)", "(1,3)", "a union in one piece"),
    (r"\text{odd}+1", "1", "words"),
    ("so on 2+3", "no so 3+2", "words that would be products of letters"),
    (r"\int_0^1 x dx", "1/2", "what is not read"),
    ("2x2", "4x", "a letter before a number"),
    ("n!!", "(n!)!", "a double factorial"),
    ("3 sqrt", "3", "a root of nothing"),
    (r"5 \text{ thousand}\cdot 2", "10", "words that change a number"),
    (r"{}", r"\{\}", "nothing"),
]
"""(answer, given, why): neither may be said, in either order."""


@pytest.fixture(scope="module")
def mathematics() -> Iterator[Mathematics]:
    with Mathematics(deadline_seconds=10.0) as shared:
        yield shared


@pytest.mark.parametrize(
    ("answer", "given", "judged"),
    [
        pytest.param(answer, given, judged, id=f"{why}: {answer} | {given}")
        for judged, cases in (("same", SAME), ("different", DIFFERENT), ("undecided", UNDECIDED))
        for answer, given, why in cases
    ],
)
def test_answers_are_compared_in_either_order(
    mathematics: Mathematics, answer: str, given: str, judged: Judgement
) -> None:
    assert mathematics.compare(answer, given) == judged
    assert mathematics.compare(given, answer) == judged


@pytest.mark.parametrize("answer", [answer for cases in (SAME, DIFFERENT) for answer, _, _ in cases])
def test_what_is_compared_as_mathematics_looks_like_it_or_is_a_number(answer: str) -> None:
    assert looks_mathematical(answer) or is_number(answer)


@pytest.mark.parametrize("text", ["Paris", "well-known", "the 3 bears", "-17", "1,234.5", "seven", "New York", ""])
def test_words_and_plain_numbers_do_not_look_mathematical(text: str) -> None:
    assert not looks_mathematical(text)
