"""What refusing costs: the curve against counting, and its picture."""

import random

import pytest

from rag.evaluation.refusals import curve, draw, refused_at


def test_the_curve_counts_what_lies_below_each_threshold():
    points = curve([0.9, 0.8, 0.4, 0.7], [0.1, 0.4, 0.85])
    assert points[0] == (0, 0) and points[-1] == (1, 1)
    assert (0.25, 2 / 3) in points  # a threshold between .4 and .7
    assert points == sorted(points)


def test_the_share_at_a_price_is_the_best_of_all_thresholds():
    dice = random.Random(0)
    have = [dice.gauss(1, 1) for _ in range(200)]
    lack = [dice.gauss(0, 1) for _ in range(150)]
    best = max(
        sum(x < t for x in lack) / 150 for t in [*have, *lack, 99] if sum(x < t for x in have) / 200 <= 0.1
    )
    assert refused_at(have, lack, 0.1) == pytest.approx(best)
    assert refused_at(have, [], 0.1) is None


def test_the_picture_is_a_png(tmp_path):
    pytest.importorskip("matplotlib")
    draw({"near misses": curve([0.9, 0.5], [0.2, 0.6])}, 0.05, tmp_path / "c.png")
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")
