"""The training runs whose results must not depend on how the tasks are spread."""

import jax
import jax.numpy as jnp
import numpy as np

import jaxlqr
from jaxlqr.families import perturb
from jaxlqr.lqr.stabilize import average_task_gain
from jaxlqr.meta.landscape import evaluate
from jaxlqr.training.sharding import make_mesh, shard_tasks, to_host
from tests.training.setting import START, STEP, TASKS

ORACLES = {"exact": None, "sampled": jaxlqr.ZerothOrderOracle(num_samples=10, radius=1e-2)}


def beyond_training(tasks) -> dict[str, np.ndarray]:
    """What else takes tasks: a landscape, the gain of the average task, and descents from many starts."""
    grid = jnp.stack([START * scale for scale in (0.9, 1.0, 1.1)])
    found = {"landscape": evaluate(jaxlqr.cost, grid, tasks, inner_step_size=1e-4)}
    found |= {"average gain": average_task_gain(tasks)}
    starts = np.broadcast_to(START, (16, *START.shape))
    descents = jaxlqr.policy_gradient(
        jaxlqr.cost, starts, tasks, num_steps=6, step_size=STEP, batched=True, output=jaxlqr.Output(progress=False)
    )
    found |= {"descents": to_host(descents.params), "descents cost": to_host(descents.history["cost"])}
    return found


def results(run_shards: int = 1, *, sharded: bool = True, training_only: bool = False) -> dict[str, np.ndarray]:
    """Gains and histories of short runs on 16 tasks, spread over all devices of all processes unless told otherwise."""
    nominal = jax.tree.map(lambda leaf: leaf[0], TASKS)
    tasks = perturb(jax.random.key(0), nominal, num_tasks=16, level=0.01)
    start = START
    batched = run_shards > 1
    if batched:
        tasks = jax.tree.map(lambda leaf: np.stack([leaf] * run_shards), tasks)
        start = jnp.stack([start * (1 + 0.01 * run) for run in range(run_shards)])
    if sharded:
        tasks = shard_tasks(tasks, make_mesh(run_shards), batched=batched)
    found = {} if training_only else beyond_training(tasks)
    for name, oracle in ORACLES.items():
        result = jaxlqr.meta_train(
            jaxlqr.cost,
            start,
            tasks,
            num_steps=6,
            objective=jaxlqr.Maml(inner_step_size=1e-4),
            outer_step_size=STEP,
            oracle=oracle,
            batched=batched,
            output=jaxlqr.Output(progress=False),
        )
        found[f"{name} gain"] = to_host(result.params)
        found |= {f"{name} {key}": to_host(result.history[key]) for key in ("cost", "gap", "gradient_norm")}
    return found
