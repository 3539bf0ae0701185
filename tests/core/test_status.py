"""The one status enumeration, the error that names the lanes of a batch that failed, and the results that have it."""

import dataclasses
import enum
import importlib
import pkgutil
import re
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

import jaxlqr
from jaxlqr import SolveStatus
from jaxlqr.core.result import Result
from jaxlqr.core.status import check_lanes

GOOD = (SolveStatus.SOLVED, SolveStatus.CONVERGED, SolveStatus.COMPLETED, SolveStatus.NOT_IMPROVED)


@pytest.fixture(scope="module")
def classes():
    """Every class of the package, its papers and commands included."""
    found = set()
    for module in pkgutil.walk_packages(jaxlqr.__path__, "jaxlqr."):
        if not module.name.endswith("__main__"):
            names = vars(importlib.import_module(module.name))
            found |= {value for value in names.values() if isinstance(value, type)}
    return {each for each in found if each.__module__.startswith("jaxlqr")}


def test_successes_and_what_is_tolerated_pass():
    check_lanes(np.array([GOOD, [SolveStatus.ILL_CONDITIONED] * 4]), "days")
    check_lanes(0, "days")
    with pytest.raises(RuntimeError, match=r"1 of 1 days ILL_CONDITIONED: "):
        check_lanes(1, "days", allow_ill_conditioned=False)


@pytest.mark.parametrize("status", SolveStatus)
def test_each_failure_ends_with_its_advice(status):
    assert status.successful == (status in GOOD)
    if not status.successful:
        assert re.match(r"[a-z].+\.$", status.advice)
        with pytest.raises(ArithmeticError) as caught:
            check_lanes([0, status, 0], "days", ArithmeticError, allow_ill_conditioned=False)
        assert str(caught.value) == f"1 of 3 days {status.name} (first: [1]): {status.advice}"


def test_the_gravest_failure_comes_first_and_names_its_lanes():
    codes = [SolveStatus.ILL_CONDITIONED, SolveStatus.NOT_FINITE, SolveStatus.INACCURATE, SolveStatus.NOT_FINITE]
    with pytest.raises(RuntimeError, match=r"^2 of 4 days NOT_FINITE \(first: \[1, 3\]\): an argument"):
        check_lanes(codes, "days", allow_ill_conditioned=False)


def test_one_lane_is_not_numbered_and_at_most_eight_are_named():
    with pytest.raises(RuntimeError, match=r"^1 of 1 days SINGULAR: the"):
        check_lanes(SolveStatus.SINGULAR, "days")
    with pytest.raises(RuntimeError, match=r"20 of 20 days SINGULAR \(first: \[0, 1, 2, 3, 4, 5, 6, 7\]\)"):
        check_lanes(np.full(20, SolveStatus.SINGULAR), "days")


def test_codes_are_those_that_files_hold():
    # Another number would read an old checkpoint wrongly; a new member takes a new number.
    codes = "SOLVED ILL_CONDITIONED NOT_FINITE SINGULAR NOT_STABLE NO_STABILIZING_SOLUTION INACCURATE"
    codes += " NO_STABLE_SOLUTION NOT_UNIQUE CONVERGED COMPLETED NOT_IMPROVED COST_NOT_FINITE NO_FINITE_SYSTEM"
    codes += " NOT_SEPARATED NO_STEADY_STATE NO_START NOT_POSITIVE_DEFINITE DIVERGED STALLED NO_DECREASE MAX_STEPS"
    assert [SolveStatus(code).name for code in range(22)] == codes.split()
    assert SolveStatus.__members__.keys() == {status.name for status in SolveStatus}  # no second name for one code


def test_there_is_one_enumeration_and_each_member_is_returned_somewhere(classes):
    enumerations = {each for each in classes if issubclass(each, enum.Enum) and each.__name__.endswith("Status")}
    assert enumerations == {SolveStatus}
    source = "".join(path.read_text() for path in Path(jaxlqr.__file__).parent.rglob("*.py"))
    used = set(re.findall(r"SolveStatus\.([A-Z_]+)\b", re.sub(r'""".*?"""', "", source, flags=re.DOTALL)))
    assert {status.name for status in SolveStatus} <= used


def test_every_result_with_a_status_reports_and_checks_it_in_the_same_way(classes):
    with_status = [
        each
        for each in classes
        if dataclasses.is_dataclass(each) and "status" in {field.name for field in dataclasses.fields(each)}
    ]
    assert len(with_status) >= 10
    faults = []
    for each in with_status:
        if not (issubclass(each, Result) and each.__repr__ is Result.__repr__ and each.check is Result.check):
            faults.append(f"{each.__name__} must inherit from Result, with repr=False")
            continue
        entries = {field.name: jnp.zeros(2) for field in dataclasses.fields(each)}
        result = each(**entries | {"status": jnp.array([0, 3])})
        if "status=[1 SOLVED, 1 SINGULAR]" not in repr(result):
            faults.append(f"{each.__name__} shows {result!r}")
        with pytest.raises((ArithmeticError, RuntimeError), match=r"1 of 2 [\w -]+ SINGULAR \(first: \[1\]\)"):
            result.check()
    assert not faults
