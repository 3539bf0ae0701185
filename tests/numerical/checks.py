"""What holds for every batch of lanes: calls end, healthy lanes keep their bits beside sick ones."""

import faulthandler
from contextlib import contextmanager
from functools import partial

import jax
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings

# Examples of the slow set are batches of 32 lanes.
_SECONDS = 300


def fuzz(few: int, many: int, strategy):
    """Run a test on ``few`` batches by default and on ``many`` in the slow set; the same ones each time."""

    def decorate(test):
        def run(count, **fixtures):
            options = settings(
                max_examples=count,
                derandomize=True,
                database=None,
                deadline=None,
                phases=(Phase.generate,),  # no shrinking: what failed is one lane, and `about` names it
                report_multiple_bugs=False,
                print_blob=False,
                suppress_health_check=list(HealthCheck),
            )
            options(given(strategy)(test))(**fixtures)

        counts = [pytest.param(few, id="few")] if few else []
        counts.append(pytest.param(many, id="many", marks=pytest.mark.slow))

        @pytest.mark.parametrize("count", counts)
        def test_of(count):
            run(count)

        test_of.__doc__ = test.__doc__
        return test_of

    return decorate


@contextmanager
def about(lane):
    """Says of which lane an error is."""
    try:
        yield
    except Exception as error:
        error.add_note(f"lane: {lane}")
        raise


@contextmanager
def bounded():
    """A call that does not end in minutes ends the process, with a traceback: loops of XLA cannot be interrupted."""
    faulthandler.dump_traceback_later(_SECONDS, exit=True)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


def call(function, *arrays):
    """Results of a compiled batched function as NumPy arrays."""
    with bounded():
        return jax.tree.map(np.asarray, function(*arrays))


def call_beside_sick_lanes(function, healthy, *arrays):
    """Results of ``function``, after its finite lanes were found equal, bit by bit, where the others are cured.

    Arguments: ``healthy(results)`` tells which lanes are; ``arrays`` have a leading axis of lanes. A sick lane is cured
    by what stands in the first healthy one.
    """
    found = call(function, *arrays)
    well = healthy(found)
    if well.any() and not well.all():
        first = int(np.argmax(well))
        cured = [np.where(_like(well, array), array, array[first]) for array in arrays]
        alone = call(function, *cured)
        jax.tree.map(partial(_assert_same, well), found, alone)
    return found


def _like(lanes, array):
    return lanes.reshape(lanes.shape + (1,) * (array.ndim - lanes.ndim))


def _assert_same(lanes, beside, alone):
    np.testing.assert_array_equal(beside[lanes], alone[lanes])
