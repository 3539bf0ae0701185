"""Public functions of the papers compile at their first call only, keep no memory, and promote no dtype."""

import jax
import pytest

from tests.papers.eager_calls import ROOMS
from tests.test_eager_calls import (
    assert_all_are_called,
    assert_calls_compile_once_and_keep_nothing,
    assert_second_calls_compile_nothing,
)

# Of each mechanism one that compiles quickly; the slow test calls all of them.
QUICK = {"musavi2023": ("inner_step_limit", "meta_smoothness"), "wang2020": ("f_omega",)}


@pytest.mark.parametrize("room", ROOMS)
def test_every_public_function_has_a_call(room):
    module, calls = ROOMS[room]
    assert_all_are_called(module, calls())


@pytest.mark.parametrize("room", QUICK)
def test_a_second_call_compiles_nothing_and_promotes_nothing(room):
    calls = ROOMS[room][1]()
    assert_second_calls_compile_nothing(calls, QUICK[room])
    with jax.numpy_dtype_promotion("strict"):
        for name in QUICK[room]:
            calls[name]()


@pytest.mark.slow
@pytest.mark.parametrize("room", ROOMS)
def test_no_public_function_compiles_again_keeps_memory_or_promotes(room):
    calls = ROOMS[room][1]()
    assert_calls_compile_once_and_keep_nothing(calls)
    with jax.numpy_dtype_promotion("strict"):
        for call in calls.values():
            call()
