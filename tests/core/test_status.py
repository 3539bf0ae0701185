"""The error that names the lanes of a batch whose status is bad."""

import enum

import numpy as np
import pytest

from jaxlqr.core.status import check_lanes


class Weather(enum.IntEnum):
    FINE = 0
    RAIN = 1
    STORM = 2


ADVICE = {Weather.STORM: "stay in.", Weather.RAIN: "take an umbrella."}


def test_lanes_without_advice_pass():
    check_lanes(np.zeros((2, 3), np.int32), ADVICE, "days")
    check_lanes(0, ADVICE, "days")


def test_the_first_advice_comes_first_and_names_its_lanes():
    with pytest.raises(RuntimeError, match=r"^2 of 4 days STORM \(first: \[1, 3\]\): stay in\.$"):
        check_lanes([1, 2, 0, 2], ADVICE, "days")


def test_one_lane_is_not_numbered():
    with pytest.raises(ArithmeticError, match=r"^1 of 1 days RAIN: take"):
        check_lanes(1, ADVICE, "days", ArithmeticError)


def test_at_most_eight_lanes_are_named():
    with pytest.raises(RuntimeError, match=r"20 of 20 days RAIN \(first: \[0, 1, 2, 3, 4, 5, 6, 7\]\)"):
        check_lanes(np.ones(20), ADVICE, "days")
