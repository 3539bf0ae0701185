"""One program for each choice of what is static: found again when functions behave alike, and only then."""

import gc
import weakref
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlqr.core.compiled import KEPT, compiled

traces = []


@compiled(static=("power",))
def total(function, x, power=1):
    """function(x) to a power."""
    traces.append(power)
    return function(x) ** power


@pytest.fixture(autouse=True)
def _no_traces():
    traces.clear()


FACTOR = 2.0


def _global(x):
    return FACTOR * x


def _through(x):
    return _global(x)


def test_local_functions_that_behave_alike_share_a_program():
    def scaled(factor):
        return lambda x: factor * x

    assert [float(total(scaled(3.0), 1.0)) for _ in range(3)] == [3.0] * 3
    assert len(traces) == 1
    assert float(total(scaled(4.0), 1.0)) == 4.0
    assert float(total(scaled(4), 1.0)) == 4.0
    assert [float(total(partial(lambda a, x: a * x, 5.0), 1.0)) for _ in range(2)] == [5.0] * 2
    assert len(traces) == 4


def test_a_number_that_changed_is_not_the_one_of_the_first_call(monkeypatch):
    factor = 1.0

    def nearby(x):
        return factor * x

    assert float(total(nearby, 1.0)) == 1.0
    factor = 7.0
    assert float(total(nearby, 1.0)) == 7.0
    assert float(total(_through, 1.0)) == 2.0
    monkeypatch.setitem(globals(), "FACTOR", 9.0)
    assert float(total(_through, 1.0)) == 9.0
    shared = [1.0]
    assert float(total(lambda x: shared[0] * x, 1.0)) == 1.0
    shared[0] = 8.0
    assert float(total(lambda x: shared[0] * x, 1.0)) == 8.0
    weights = np.ones(2)
    assert float(total(lambda x: weights.sum() * x, 1.0)) == 2.0
    weights[0] = 5.0
    assert float(total(lambda x: weights.sum() * x, 1.0)) == 6.0


def test_traced_numbers_may_hide_in_a_function():
    @jax.jit
    def outer(a):
        return total(lambda x: a * x, 2.0)

    assert float(outer(3.0)) == 6.0
    assert float(jax.grad(lambda a: total(lambda x: a * x, 2.0, power=2))(3.0)) == 24.0


def test_numbers_are_traced_and_named_arguments_are_static():
    for x in (1.0, 2.0, jnp.array(3.0)):
        total(abs, x)
    assert len(traces) <= 2  # a Python number is weakly typed
    assert float(total(abs, 3.0, power=2)) == 9.0
    assert traces[-1] == 2


def test_it_is_transparent_to_transformations():
    x = jnp.arange(3.0)
    function = partial(total, jnp.sin, power=2)
    np.testing.assert_allclose(jax.vmap(jax.grad(function))(x), jnp.sin(2 * x), atol=1e-15)  # rounding of a sine
    assert total.__doc__ == "function(x) to a power."


def test_programs_are_kept_for_some_functions_and_freed_with_them():
    class Loss:
        def __init__(self, factor):
            self.factor = factor

        def __call__(self, x):
            return self.factor * x

    first = Loss(0.0)
    alive = weakref.ref(first)
    total(first, 1.0)
    del first
    gc.collect()
    assert alive() is not None
    for number in range(KEPT):
        assert float(total(Loss(float(number)), 1.0)) == number
    gc.collect()
    assert alive() is None


def test_what_cannot_be_compared_still_works():
    class Unhashable:
        __hash__ = None

        def __call__(self, x):
            return 2 * x

    assert float(total(Unhashable(), 1.0)) == 2.0
