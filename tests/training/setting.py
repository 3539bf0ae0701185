"""The small LQR family that the training tests share, so that most of them reuse one compiled loop."""

import jax.numpy as jnp

import jaxlqr

# Two states, one input, unstable without feedback; the start is far from every optimum.
TASKS = jaxlqr.stack_tasks([jaxlqr.make_task([[1.05 + 0.01 * i, 0.2], [0.0, 0.9]], [[0.3], [1.0]]) for i in range(3)])
START = jnp.array([[0.5, 0.5]])
# A stable step: the largest Hessian eigenvalue on the way is some 200.
STEP = 2e-3


_OBJECTS = {
    "objective": (jaxlqr.Maml, ("inner_step_size", "num_inner_steps", "first_order", "perturbations")),
    "guard": (jaxlqr.Guard, ("max_backtracks", "feasible", "strict")),
    "limits": (jaxlqr.Limits, ("batch_size", "minibatch_size", "max_queries")),
    "output": (jaxlqr.Output, ("progress", "every", "callback", "metrics", "record_params", "checkpoints")),
}


def on_objects(*, safeguard=True, **options):
    """The options of a learner, with each that lives on an object there; ``safeguard=False`` is ``guard=None``."""
    objects = {}
    for name, (kind, names) in _OBJECTS.items():
        fields = {field: options.pop(field) for field in names if field in options}
        if fields:
            objects[name] = kind(**fields)
    return options | objects | ({} if safeguard else {"guard": None})


def train(**changes):
    """meta_train on the shared family."""
    arguments = {
        "loss": jaxlqr.cost,
        "params": START,
        "tasks": TASKS,
        "num_steps": 12,
        "inner_step_size": 1e-4,
        "every": 5,
        "progress": False,
    } | changes
    if "optimizer" not in changes and "outer_step_size" not in changes:
        arguments["outer_step_size"] = STEP
    return jaxlqr.meta_train(**on_objects(**arguments))


# A loss that compiles in a tenth of the time, for what does not depend on the loss.
POINTS = jnp.array([[0.3, -0.2], [0.5, 0.4], [-0.1, 0.6]])
ORIGIN = jnp.array([1.0, -1.0])


def quartic(params, task):
    """A smooth loss with its minimum near ``task``."""
    return jnp.sum((params - task) ** 2) + jnp.sum((params - task) ** 4) + params[0] * params[1] * task[0]


def train_quartic(**changes):
    """meta_train on the cheap loss."""
    changes = {"loss": quartic, "params": ORIGIN, "tasks": POINTS, "inner_step_size": 0.01} | changes
    if "optimizer" not in changes:
        changes = {"outer_step_size": 0.02} | changes
    return train(**changes)
