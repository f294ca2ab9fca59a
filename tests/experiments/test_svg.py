"""Axes, ticks and names of drawings."""

from __future__ import annotations

from typing import Literal

import pytest

from experiments.page.markup import Html, escaped, tag
from experiments.page.svg import Axis, Labels, Plot, short_name


@pytest.mark.parametrize(
    ("low", "high", "scale"),
    [
        (0.0, 1.0, "linear"),
        (-0.3, 0.07, "linear"),
        (2.2, 8.8, "logarithmic"),
        (1e2, 1e8, "logarithmic"),
        (3e-7, 9e-7, "linear"),
    ],
)
def test_ticks_are_few_and_within_their_axis(low: float, high: float, scale: Literal["linear", "logarithmic"]) -> None:
    axis = Axis(low=low, high=high, scale=scale)
    assert 2 <= len(axis.ticks) <= 8
    assert list(axis.ticks) == sorted(axis.ticks)
    assert all(low * 0.999 <= tick <= high * 1.001 or low < 0 for tick in axis.ticks)
    places = [axis.share(tick) for tick in axis.ticks]
    assert all(0 <= place <= 1 for place in places) and places == sorted(places)
    assert (axis.share(low), axis.share(high), axis.share(high * 2)) == (0.0, 1.0, 1.0)


def test_what_is_not_markup_is_escaped_and_what_is_stays() -> None:
    inner = tag("b", "a < b")
    assert inner == "<b>a &lt; b</b>"
    assert tag("p", inner, "&", data_tip='"x"') == '<p data-tip="&quot;x&quot;"><b>a &lt; b</b>&amp;</p>'
    assert isinstance(escaped("x"), Html) and escaped(inner) is inner


def test_names_of_points_cover_neither_each_other_nor_a_point() -> None:
    plot = Plot(x=Axis(low=0, high=1), y=Axis(low=0, high=1))
    labels = Labels(plot)
    points = [(200.0, 60.0 + 5 * place) for place in range(6)]
    for x, y in points:
        labels.keep_free(x, y, y)
    for x, y in points:
        labels.place("a name", x, y, 0)
    names = labels.taken[len(points) :]
    assert len(names) >= 4
    for place, one in enumerate(labels.taken):
        for other in names[max(0, place + 1 - len(points)) :]:
            assert one is other or one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]


def test_short_names_keep_both_ends() -> None:
    name = short_name("compressed:steps@0.3#teacher", 15)
    assert len(name) == 15
    assert name.startswith("compressed"[:8]) and name.endswith("cher")
