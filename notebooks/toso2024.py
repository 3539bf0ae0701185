# %% [markdown]
# # Meta-learning linear quadratic regulators
#
# Toso, Zhan, Anderson, Wang, 2024 (*toso2024* here).
#
# **What it claims.** One gain, trained by MAML over ten aircraft that differ a little, adapts to a new one in a few
# steps; the closer the tasks, the better (heterogeneity); the gradient and Hessian may be estimated from costs alone.
#
# **What we measured.** With equal step sizes the levels of heterogeneity cannot be told apart
# (erratum T6), plain multi-task policy gradient does as well as MAML (T10), the Hessian estimate of Algorithm 2 is
# not one of the Hessian (T3), and the published step is twelve times the inverse of the curvature (T5). All of it, with
# numbers: [errata of toso2024](../docs/papers/toso2024/errata.md).

# %%
import jax
import jax.numpy as jnp
import numpy as np
from ipywidgets import FloatLogSlider, interact

import jaxlqr
from jaxlqr.lqr.stabilize import average_task_gain
from jaxlqr.papers.toso2024.printed import PrintedOracle
from jaxlqr.plots import new_figure

# %matplotlib inline
jax.config.update("jax_enable_x64", True)
nominal, K0 = jaxlqr.families.boeing(), jaxlqr.families.boeing_initial_gain()

# %% [markdown]
# ## MAML against plain policy gradient, at any step size and heterogeneity
#
# Ten tasks, exact derivatives, 200 steps from the paper's first gain. Steps that would lose a task are halved; without
# that a third of the runs of the released settings diverge (T9). The dotted line is the optimum of the average task, which
# whoever has models gets without any training.


# %%
def train(step_size, level):
    """Mean gap over tasks: after MAML, after plain policy gradient, and at the optimum of the average task."""
    tasks = jaxlqr.families.perturb(jax.random.key(0), nominal, 10, level=level)
    options = {"num_steps": 200, "outer_step_size": step_size}
    objectives = (jaxlqr.Maml(inner_step_size=step_size), jaxlqr.Mean())
    runs = [jaxlqr.meta_train(jaxlqr.cost, K0, tasks, objective=each, **options).check() for each in objectives]
    least = jax.vmap(jaxlqr.optimal_cost)(tasks)
    average = jax.vmap(jaxlqr.cost, in_axes=(None, 0))(average_task_gain(tasks), tasks) - least
    return *(run.history["gap"].mean(axis=1) for run in runs), float(average.mean())


def draw(ax, step_size, level):
    """The three on given axes."""
    maml, plain, average = train(step_size, level)
    ax.semilogy(maml, label="MAML")
    ax.semilogy(plain, "--", label="policy gradient")
    ax.axhline(average, color="black", linestyle=":", label="optimum of the average")
    ax.set(xlabel="step", title=f"step {step_size:.1e}, level {level:.3f}", ylim=(1e-3, 2e2))


figure, axes = new_figure(num_rows=1, num_columns=3)
for ax, level in zip(axes[0], (0.005, 0.01, 0.015), strict=True):
    draw(ax, 8e-6, level)
axes[0, 0].set_ylabel("mean gap over tasks")
axes[0, 0].legend()
figure

# %% [markdown]
# The curves of the paper's middle panel were drawn with steps of 8e-6, 4e-6 and 0.95e-6. Move the sliders: what the panel
# shows is the step size.


# %%
def explore(step_size=8e-6, level=0.01):
    """One panel."""
    figure, axes = new_figure()
    draw(axes[0, 0], step_size, level)
    axes[0, 0].legend()
    return figure


_ = interact(
    explore,
    step_size=FloatLogSlider(8e-6, min=-7, max=-4.5, step=0.1, continuous_update=False),
    level=FloatLogSlider(0.01, min=-3.5, max=-1.7, step=0.1, continuous_update=False),
)

# %% [markdown]
# ## The Hessian estimate
#
# At the optimal gain, 20,000 samples of the printed estimate against the exact Hessian along a direction. Its mean is about
# $-\frac{n_u}{2n_x} \mathrm{tr}(H) I$: the wrong sign, and no direction in it. The estimate by Stein's identity is the default.

# %%
K = jaxlqr.optimal_gain(nominal)
direction = jax.random.normal(jax.random.key(1), K.shape)
exact = jaxlqr.hessian_vector_product(K, direction, nominal)
for form, kind in (("stein", jaxlqr.ZerothOrderOracle), ("printed", PrintedOracle)):
    oracle = kind(num_samples=20_000, radius=1e-3)
    estimate = oracle.hessian_vector_product(jaxlqr.cost, K, direction, nominal, jax.random.key(2))
    cosine = jnp.sum(estimate * exact) / jnp.linalg.norm(estimate) / jnp.linalg.norm(exact)
    print(
        f"{form:8s} norm over the exact {jnp.linalg.norm(estimate) / jnp.linalg.norm(exact):7.3f}, cosine {cosine:6.3f}"
    )

# %% [markdown]
# ## The published step
#
# A step above 2 over the largest curvature is not descent on a quadratic.

# %%
curvature = np.linalg.eigvalsh(jax.hessian(jaxlqr.cost)(K0, nominal).reshape(K0.size, K0.size))[-1]
print(f"largest curvature {curvature:.3e}, published step times curvature {8e-6 * curvature:.1f}")
