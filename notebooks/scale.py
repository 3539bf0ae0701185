# %% [markdown]
# # From one task to a million
#
# The functions of this library are written for one task; `jax.vmap` makes them functions of many. Two more words,
# `batch_size` and `shard_tasks`, take a family that fits no cache, or no single device.

# %%
import os
import time

# Two virtual devices on this machine's CPU; a real node has real ones. It must be said before JAX is imported.
os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=2")

import jax
import jax.numpy as jnp

import jaxlqr
from jaxlqr.plots import new_figure
from jaxlqr.training.sharding import make_mesh, shard_tasks

# %matplotlib inline
jax.config.update("jax_enable_x64", True)
print(jax.devices())

# %% [markdown]
# ## vmap
#
# A family of ten thousand perturbed aircraft, and all their costs, radii and gradients in one compiled call each. A gain
# that does not stabilise some of them gives `inf` in those lanes only.

# %%
nominal, K = jaxlqr.families.boeing(), jaxlqr.families.boeing_initial_gain()


def many(count, level=0.002):
    """``count`` tasks around the nominal one: A with entries moved by a normal draw."""
    noise = jax.random.normal(jax.random.key(0), (count, 4, 4))
    tasks = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (count, *leaf.shape)), nominal)
    return jaxlqr.LQRTask(tasks.A + level * noise, tasks.B, tasks.Q, tasks.R, tasks.Sigma0)


tasks = many(10_000)
costs = jax.jit(jax.vmap(jaxlqr.cost, in_axes=(None, 0)))(K, tasks)
gradients = jax.jit(jax.vmap(jax.grad(jaxlqr.cost), in_axes=(None, 0)))(K, tasks)
print("stabilised", int(jnp.isfinite(costs).sum()), "of", len(costs), "gradients", gradients.shape)

# %% [markdown]
# ## Chunks
#
# All at once, the intermediate arrays of ten thousand tasks fill the memory that a million would need tens of times over.
# `batch_size` works on so many at a time: the result is the same, the memory is bounded, and on a CPU it is even faster,
# since a chunk fits the cache.


# %%
def seconds(tasks, batch_size, repeats=3):
    """Best time of an exact MAML gradient, first call left out."""

    def run():
        return jaxlqr.maml_gradient(jaxlqr.cost, K, tasks, inner_step_size=1e-8, batch_size=batch_size)

    compiled = jax.jit(run)
    jax.block_until_ready(compiled())
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(compiled())
        times.append(time.perf_counter() - start)
    return min(times)


family = many(8000, level=1e-4)
sizes = [64, 1024, 8000]
times = [seconds(family, size) for size in sizes]
by_count = {100: seconds(many(100, level=1e-4), 1024), 8000: times[1], 50_000: seconds(many(50_000, level=1e-4), 1024)}

# %%
figure, axes = new_figure(num_rows=1, num_columns=2)
axes[0, 0].semilogx(sizes, [1e6 * t / 8000 for t in times], "o-")
axes[0, 0].set(xlabel="tasks at once, of 8000", ylabel="microseconds a task", ylim=(0, None))
axes[0, 1].loglog(list(by_count), list(by_count.values()), "o-")
axes[0, 1].set(xlabel="tasks", ylabel="seconds a meta-gradient")
figure

# %% [markdown]
# ## Shards
#
# A mesh of all devices of all processes, and tasks spread over it; the learners find them where they are. The result is
# that of one device to rounding.

# %%
spread = shard_tasks(many(512, level=1e-4), make_mesh())
print(spread.A.sharding)
settings = {
    "num_steps": 5,
    "objective": jaxlqr.Maml(inner_step_size=1e-8),
    "outer_step_size": 1e-7,
    "limits": jaxlqr.Limits(batch_size=256),
}
one = jaxlqr.meta_train(jaxlqr.cost, K, many(512, level=1e-4), **settings).check()
two = jaxlqr.meta_train(jaxlqr.cost, K, spread, **settings).check()
print("largest difference of the gains", float(jnp.max(jnp.abs(one.params - two.params))))

# %% [markdown]
# Ten million tasks need 4.5 GiB for the data alone; the benchmark page has measured rows up to a million, and the README
# the command for several nodes.
