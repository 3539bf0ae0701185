"""Shapes in annotations are not decoration: the tests run with them checked (pyproject.toml), which is checked here."""

import importlib
import inspect
import tomllib
import typing
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from jaxtyping import AbstractArray, TypeCheckError, jaxtyped

import jaxlqr
from jaxlqr import LQRTask, closed_form
from jaxlqr.lqr.rollout import rollout
from jaxlqr.matrix_equations.lyapunov import stable_discrete_lyapunov

PROJECT = Path(__file__).parents[1] / "pyproject.toml"
TASK = jaxlqr.make_task([[0.9, 0.1], [0.0, 0.5]], [[0.0], [1.0]])
K = jnp.array([[0.1, 0.2]])


def checked_modules():
    options = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["tool"]["pytest"]["ini_options"]["addopts"]
    (names,) = [option.partition("=")[2] for option in options.split() if option.startswith("--jaxtyping-packages")]
    return names.split(",")[:-1]  # the last is what checks


def shaped(annotation):
    """Whether a shape occurs in an annotation."""
    if isinstance(annotation, type) and issubclass(annotation, AbstractArray):
        return True
    return any(shaped(part) for part in typing.get_args(annotation))


@pytest.mark.parametrize("name", checked_modules())
def test_public_functions_say_what_shape_they_return(name):
    module = importlib.import_module(name)
    public = [f for key, f in inspect.getmembers(module, inspect.isfunction) if key[0] != "_" and f.__module__ == name]
    assert public or hasattr(module, "Regulator")
    for function in public:
        annotations = inspect.get_annotations(function, eval_str=True)
        if annotations["return"] is jax.Array:
            raise AssertionError(f"{name}.{function.__name__} returns an array of a shape that it does not say")


# Behind the checks of shapes that these functions make themselves (tests/test_mistakes.py).
WRONG = {
    "two gains": lambda: closed_form.hessian_vector_product.__wrapped__(K, K.T, TASK),
    "gain and batch": lambda: jaxlqr.cost.__wrapped__(K[None], TASK),
    "integers": lambda: jaxlqr.cost.__wrapped__(jnp.ones((1, 2), int), TASK),
    "states and noise": lambda: rollout.__wrapped__(K, TASK, jnp.ones(2), jnp.ones((5, 3))),
    "two matrices": lambda: stable_discrete_lyapunov(jnp.eye(2), jnp.eye(3)),
    "a list for an array": lambda: jaxlqr.spectral_radius.__wrapped__([[0.1, 0.2]], TASK),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_shape_is_found_where_it_enters(case):
    with pytest.raises(TypeCheckError):
        WRONG[case]()


def holds(task):
    """Whether the arrays of a task have the shapes that its class says, with the same letters for all of them."""

    @jaxtyped(typechecker=None)
    def together():
        hints = typing.get_type_hints(LQRTask)
        return all(isinstance(getattr(task, name), hint) for name, hint in hints.items())

    return together()


def test_tasks_and_stacks_have_the_shapes_that_their_class_says():
    assert holds(TASK)
    assert holds(jaxlqr.stack_tasks([TASK, TASK]))
    assert holds(jaxlqr.families.perturb(jax.random.key(0), TASK, 3, level=0.01))
    assert not holds(LQRTask(TASK.A, TASK.B, TASK.Q, TASK.Q, TASK.Sigma0))  # R of the shape of Q
    assert not holds(LQRTask(TASK.A[None], TASK.B, TASK.Q, TASK.R, TASK.Sigma0))
