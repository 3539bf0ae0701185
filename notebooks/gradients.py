# %% [markdown]
# # Three ways to a gradient
#
# Automatic differentiation, the closed form of the literature, and cost queries alone. The learners take any of them: an
# *oracle* is an argument. Which one, and when?

# %%
import time

import jax
import jax.numpy as jnp
import numpy as np

import jaxlqr
from jaxlqr.plots import new_figure

# %matplotlib inline
jax.config.update("jax_enable_x64", True)
task, K = jaxlqr.families.boeing(), jaxlqr.families.boeing_initial_gain()

# %% [markdown]
# **1. Autodiff.** `jax.grad` of the cost solves one adjoint Lyapunov equation; nothing is unrolled. **2. The closed form**
# $2 E_K \Sigma_K$ is the same two solves written by hand. They agree to rounding.

# %%
autodiff = jax.jit(jax.grad(jaxlqr.cost))
closed = jax.jit(jaxlqr.closed_form.gradient)
exact = autodiff(K, task)
print("relative difference", float(jnp.linalg.norm(exact - closed(K, task)) / jnp.linalg.norm(exact)))

# %% [markdown]
# **3. Cost queries.** $2m$ costs at gains on a sphere of radius $r$ around $K$. The estimate is unbiased for the gradient
# of the cost *averaged over the ball*, so a large radius is biased and, near the boundary of stability, asks for gains
# that do not stabilise; these pairs are left out and counted.


# %%
@jax.jit
def relative_errors(radius, keys):
    """Errors of the estimates from 50 directions, relative to the norm of the exact gradient, one per key."""
    oracle = jaxlqr.ZerothOrderOracle(num_samples=50, radius=radius)
    estimates = jax.vmap(lambda key: oracle.gradient(jaxlqr.cost, K, task, key))(keys)
    return jnp.linalg.norm(estimates - exact, axis=(1, 2)) / jnp.linalg.norm(exact)


keys = jax.random.split(jax.random.key(0), 200)
radii = np.logspace(-18, -1, 18)
by_radius = np.array([relative_errors(radius, keys) for radius in radii])


# %%
@jax.jit
def errors_of_means(keys):
    """The same for the mean over the first 1, 2, 4, ... estimates: 50, 100, 200, ... directions."""
    oracle = jaxlqr.ZerothOrderOracle(num_samples=50, radius=1e-4)
    estimates = jax.vmap(lambda key: oracle.gradient(jaxlqr.cost, K, task, key))(keys)
    means = jnp.cumsum(estimates, axis=0) / jnp.arange(1, len(keys) + 1)[:, None, None]
    return jnp.linalg.norm(means - exact, axis=(1, 2)) / jnp.linalg.norm(exact)


counts = 2 ** np.arange(8)
by_count = np.array([errors_of_means(some)[counts - 1] for some in jax.random.split(jax.random.key(1), (40, 128))])
samples = 50 * counts

# %%
figure, axes = new_figure(num_rows=1, num_columns=2)
axes[0, 0].loglog(radii, np.nanmedian(by_radius, axis=1))
axes[0, 0].fill_between(radii, *np.nanquantile(by_radius, [0.05, 0.95], axis=1), alpha=0.25)
axes[0, 0].set(xlabel="radius of the queries", ylabel="relative error", title="50 directions")
axes[0, 1].loglog(samples, np.median(by_count, axis=0), color="C0", label="measured")
axes[0, 1].loglog(samples, by_count[:, 0].mean() * (samples / 50) ** -0.5, "--", label="slope -1/2")
axes[0, 1].set(xlabel="directions", ylabel="relative error", title="radius 1e-4")
axes[0, 1].legend()
figure

# %% [markdown]
# On the left a plateau over orders of magnitude: there the number of directions is what counts, not the radius. To its
# left the differences of costs drown in rounding, to its right the ball is too large. On the right, the price of not
# knowing a model: a hundred times the accuracy costs ten thousand times the queries.
#
# ## Seconds


# %%
def microseconds(function, *arguments, repeats=200):
    """Best of five means over calls, after one that compiles."""
    jax.block_until_ready(function(*arguments))
    found = []
    for _ in range(5):
        start = time.perf_counter()
        for _ in range(repeats):
            last = function(*arguments)
        jax.block_until_ready(last)
        found.append((time.perf_counter() - start) / repeats)
    return 1e6 * min(found)


oracle = jaxlqr.ZerothOrderOracle(num_samples=50, radius=1e-4)
sampled = jax.jit(lambda K, task, key: oracle.gradient(jaxlqr.cost, K, task, key))
hessian_product = jax.jit(lambda K, X, task: jaxlqr.hessian_vector_product(K, X, task))
for name, value in {
    "cost": microseconds(jax.jit(jaxlqr.cost), K, task),
    "autodiff": microseconds(autodiff, K, task),
    "closed form": microseconds(closed, K, task),
    "Hessian-vector product": microseconds(hessian_product, K, exact, task),
    "50 directions": microseconds(sampled, K, task, keys[0]),
}.items():
    print(f"{name:25s} {value:8.1f} microseconds")

# %% [markdown]
# ## When each wins
#
# | | take it when |
# |---|---|
# | autodiff, `ExactOracle` | you have a model: always. It also gives Hessian-vector products, and works for any loss |
# | closed form | you want to read the formula, or to check something against it; it is no faster |
# | cost queries, `ZerothOrderOracle` | the plant is a black box, or the loss is not differentiable. Its price is the variance above |
