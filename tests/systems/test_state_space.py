"""StateSpace and ss: what they accept, keep and refuse."""

import dataclasses

import control
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal

from jaxlqr import SolveStatus, make_task, systems

A, B, C = [[0.0, 1.0], [-2.0, -0.5]], [[0.0], [1.0]], [[1.0, 0.0]]


def test_defaults_sizes_and_time():
    system = systems.ss(A, B)
    np.testing.assert_array_equal(system.C, np.eye(2))
    np.testing.assert_array_equal(system.D, np.zeros((2, 1)))
    assert (system.num_states, system.num_inputs, system.num_outputs, system.is_discrete) == (2, 1, 2, False)
    assert repr(system) == ("StateSpace(A=float64[2, 2], B=float64[2, 1], C=float64[2, 2], D=float64[2, 1], dt=None)")
    assert systems.ss(-1, 1).A.shape == (1, 1)
    assert systems.ss(A, B, dt=0).dt is None
    assert float(systems.ss(A, B, dt=True).dt) == 1
    assert systems.ss([], [], [], [[1.0, 2.0]]).num_states == 0
    assert systems.ss(np.float32(A), np.float32(B), C, dt=0.1).dt.dtype == jnp.float32
    assert dataclasses.replace(system, dt=jnp.asarray(0.1)).is_discrete
    assert systems.ss(system) is not None


def test_time_and_names_are_structure_and_matrices_are_leaves():
    system = systems.ss(A, B, C, dt=0.1, states=["position", "velocity"], inputs="force", outputs=("position",))
    leaves, structure = jax.tree.flatten(system)
    assert [leaf.shape for leaf in leaves] == [(2, 2), (2, 1), (1, 2), (1, 1), ()]
    assert jax.jit(lambda s: s)(system).states == ("position", "velocity")
    assert structure != jax.tree.structure(systems.ss(A, B, C))
    built = jax.jit(jax.vmap(lambda a, dt: systems.ss(a, B, C, dt=dt)))(jnp.stack([jnp.eye(2)] * 3), jnp.ones(3))
    assert (built.A.shape, built.dt.shape, built.is_discrete) == ((3, 2, 2), (3,), True)
    with pytest.raises(ValueError, match=r"C must have shape \[p, 2\]"):
        jax.jit(lambda a: systems.ss(a, B, jnp.ones((1, 3))))(jnp.eye(2))


FOREIGN = {
    "control": control.ss(A, B, C, 0, states=["q", "v"], inputs=["f"], outputs=["q"]),
    "control, discrete": control.ss(A, B, C, 0, 0.1, inputs=["f"]),
    "control, unknown time": control.ss(A, B, C, 0, True),
    "scipy": scipy.signal.StateSpace(A, B, C, [[0.0]]),
    "scipy, discrete": scipy.signal.StateSpace(A, B, C, [[0.0]], dt=0.1),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_systems_of_other_packages(name):
    theirs = FOREIGN[name]
    system = systems.ss(theirs)
    for field in "ABCD":
        np.testing.assert_array_equal(getattr(system, field), getattr(theirs, field))
    assert system.is_discrete == ("discrete" in name or "unknown" in name)
    back = systems.to_control(system)
    assert back.dt == (1 if "unknown" in name else 0.1 if "discrete" in name else 0)
    again = systems.ss(back)
    assert jax.tree.structure(again) == jax.tree.structure(system)
    if name == "control":
        assert (system.states, system.inputs, system.outputs) == (("q", "v"), ("f",), ("q",))
        assert back.state_labels == ["q", "v"]


def test_an_unknown_sampling_time_can_be_given():
    assert float(systems.ss(FOREIGN["control, unknown time"], dt=0.2).dt) == 0.2
    with pytest.raises(ValueError, match="dt must not be given with a StateSpace that has its own"):
        systems.ss(FOREIGN["control, discrete"], dt=0.2)


def test_tasks_are_made_from_systems():
    system = systems.ss(A, B, C)
    np.testing.assert_allclose(make_task(system, dt=0.1).A, make_task(FOREIGN["control"], dt=0.1).A, rtol=0)
    discrete = systems.ss(0.5 * np.eye(2), B, dt=0.1)
    np.testing.assert_array_equal(make_task(discrete, Q=2 * np.eye(2)).A, discrete.A)
    with pytest.raises(ValueError, match="continuous time and a task in discrete"):
        make_task(system)


def test_stacks():
    one, two = systems.ss(A, B, C, inputs=["f"]), systems.ss(A, B, C, inputs=["g"])
    stack = systems.stack_systems([one, two])
    assert (stack.A.shape, stack.inputs, stack.num_states) == ((2, 2, 2), None, 2)
    assert stack.status.tolist() == [0, 0]
    with pytest.raises(ValueError, match="must hold at least one"):
        systems.stack_systems([])
    with pytest.raises(ValueError, match=r"the same sizes, got \(n, m, p\) in"):
        systems.stack_systems([one, systems.ss(A, B)])
    with pytest.raises(ValueError, match="one time domain"):
        systems.stack_systems([one, systems.ss(A, B, C, dt=0.1)])
    with pytest.raises(ValueError, match="must be one system, got a stack"):
        systems.to_control(stack)


def test_check_names_what_is_not_finite():
    good = systems.ss(A, B, C)
    stack = systems.stack_systems([good, dataclasses.replace(good, D=jnp.full((1, 1), jnp.nan))])
    assert good.check() is good
    assert stack.status.tolist() == [SolveStatus.SOLVED, SolveStatus.NO_FINITE_SYSTEM]
    with pytest.raises(RuntimeError, match=r"1 of 2 systems NO_FINITE_SYSTEM \(first: \[1\]\)"):
        stack.check()


REFUSED = {
    "A not square": (([[1.0, 2.0]], [[1.0]]), {}, r"A must be a square matrix \[n, n\], got shape \(1, 2\)"),
    "B a vector": ((A, [0.0, 1.0]), {}, r"B must be a matrix, .* got shape \(2,\); write B\[:, None\]"),
    "C a vector": ((A, B, [1.0, 0.0]), {}, r"C must be a matrix, .*write C\[None, :\]"),
    "B too short": ((A, [[1.0]]), {}, r"B must have shape \[2, m\]"),
    "C too wide": ((A, B, [[1.0]]), {}, r"C must have shape \[p, 2\]"),
    "D": ((A, B, C, [[0.0, 1.0]]), {}, r"D must have shape \[1, 1\]"),
    "no B": ((A,), {}, "B must be given"),
    "NaN": (([[np.nan]], [[1.0]]), {}, r"A must be finite, got nan at index \(0, 0\)"),
    "complex": (([[1j]], [[1.0]]), {}, "A must be a real matrix, got complex"),
    "text": (("a", [[1.0]]), {}, "A must be a real matrix, got str"),
    "a stack": ((np.zeros((2, 2, 2)), B), {}, r"got shape \(2, 2, 2\); use stack_systems"),
    "dt negative": ((A, B), {"dt": -1.0}, "dt must be a positive"),
    "dt text": ((A, B), {"dt": "0.1"}, "dt must be a number"),
    "names": ((A, B), {"states": ["x"]}, "states must be 2 names"),
    "names twice": ((A, B), {"states": ["x", "x"]}, "states must be different names"),
    "system and B": ((FOREIGN["control"], B), {}, "must not be given with a system"),
    "a transfer function": ((control.tf([1.0], [1.0, 1.0]),), {}, "no states"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_mistakes_get_one_sentence(case):
    args, options, message = REFUSED[case]
    with pytest.raises(ValueError, match=message) as caught:
        systems.ss(*args, **options)
    assert "\n" not in str(caught.value)


def test_precisions_are_not_mixed_and_half_precision_is_refused():
    with pytest.raises(TypeError, match="must have the same precision, got A float32, B float64"):
        systems.ss(np.float32(A), np.asarray(B))
    with pytest.raises(TypeError, match="float32 or float64"):
        systems.ss(np.float16(A), np.float16(B))
