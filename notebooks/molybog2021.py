# %% [markdown]
# # Global convergence of MAML for LQR
#
# Molybog, Lavaei, 2021 (*molybog2021* here).
#
# **What it claims.** With one task, every local minimum of the MAML objective is global; with several it need not be, and
# families that are alike enough are safe (*epsilon-global*).
#
# **What we measured.** A scalar gain usually has three global minima and not one; at an inner step slightly below the
# inverse of the least curvature one of them turns spurious, and for a matrix gain one task may have a spurious minimum at
# a small step, too (erratum L4). A *small* inner step is the worse choice, and more heterogeneity is not always
# worse ([landscapes](../docs/landscape.md)). The optimal gain is printed with one sign too many (L2), and the table of
# parameters is missing (L1). All of it: [errata of molybog2021](../docs/papers/molybog2021/errata.md).

# %%
import jax
import jax.numpy as jnp
import numpy as np
from ipywidgets import FloatLogSlider, FloatSlider, interact

import jaxlqr
from jaxlqr.lqr.closed_form import scalar_cost  # the same as jaxlqr.cost for one state and one input, and quicker
from jaxlqr.meta import landscape
from jaxlqr.plots import new_figure

# %matplotlib inline
jax.config.update("jax_enable_x64", True)
grid = np.linspace(-0.1, 2.1, 1101).reshape(-1, 1, 1)

# %% [markdown]
# ## The landscape of scalar tasks
#
# The gain of $x' = x + u$ is one number, $0 < K < 2$. `h` is the mean cost after one gradient step. All its stationary
# points are found: each change of sign of its derivative is refined by Newton's method.


# %%
def family(heterogeneity):
    """Five scalar tasks around a = b = q = r = 1."""
    offsets = heterogeneity * np.array([0.0, 1.0, -1.0, 0.5, -0.5])
    return jaxlqr.families.scalar(1 + offsets, 1 - offsets[::-1], 1 + 2 * offsets, 1 - offsets)


def show(ax, tasks, inner_step):
    """The landscape and its minima; returns by how much the worst local minimum lies above the least."""
    values = landscape.evaluate(scalar_cost, grid, tasks, inner_step, per_task=True)
    values = np.where(np.isfinite(values), values, np.nan)
    ax.plot(grid.ravel(), values, color="#999999", linewidth=0.7)
    ax.plot(grid.ravel(), values.mean(axis=1), color="#0072B2")
    points = landscape.stationary_points(scalar_cost, grid, tasks, inner_step)
    worst = float(landscape.excess(points))
    ax.plot(points.params[points.minima].ravel(), points.values[points.minima], "o", color="#D55E00")
    ax.set(
        xlabel="gain K",
        ylim=(points.least - 0.2, points.least + 1.2),
        title=f"step {inner_step:.2f}, excess {worst:.4f}",
    )
    return worst


figure, axes = new_figure(num_rows=1, num_columns=3)
for ax, tasks, inner_step in (
    (axes[0, 0], jaxlqr.families.scalar(a=[1.0, 1.0]), 0.08),
    (axes[0, 1], jaxlqr.families.scalar(a=1.0, q=[1.0, 0.7], r=[1.0, 0.7]), 0.1),
    (axes[0, 2], family(0.01), 0.08),
):
    show(ax, tasks, inner_step)
axes[0, 0].set_ylabel("cost after adaptation")
figure

# %% [markdown]
# One task (twice): three minima of equal value; the outer two are gains whose adaptation overshoots to the optimum. Two scaled
# copies of it: the outer ones are spurious. Grey: each task.


# %%
def explore(inner_step=0.08, heterogeneity=0.02):
    """One panel: try a step of 0.02, and of 0.3, where the outer minima are gone."""
    figure, axes = new_figure(panel_size=(4.5, 3.2))
    show(axes[0, 0], family(heterogeneity), inner_step)
    return figure


_ = interact(
    explore,
    inner_step=FloatLogSlider(0.08, min=-2, max=-0.4, step=0.05, continuous_update=False),
    heterogeneity=FloatSlider(0.02, min=0.0, max=0.1, step=0.005, readout_format=".3f", continuous_update=False),
)

# %% [markdown]
# ## Which step is safe?
#
# The excess of the worst minimum over a range of inner steps and heterogeneities. The small steps are the dangerous ones.

# %%
steps, levels = np.linspace(0.02, 0.32, 16), (0.002, 0.01, 0.05)
figure, axes = new_figure(panel_size=(4.5, 3.0))
for level in levels:
    excess = [landscape.excess(landscape.stationary_points(scalar_cost, grid, family(level), step)) for step in steps]
    axes[0, 0].plot(steps, excess, "o-", markersize=3, label=f"heterogeneity {level}")
axes[0, 0].set(xlabel="inner step", ylabel="excess of the worst minimum")
axes[0, 0].legend()
figure

# %% [markdown]
# ## One task, a matrix gain, a spurious minimum
#
# Theorem 2 would have this point be global. It is a strict minimum, at a value above the least one, which lies at the
# optimal gain.

# %%
task = jaxlqr.make_task([[1.0, 0.2], [0.0, 1.1]], [[0.0], [0.5]])


def h(K):
    """Cost after one step of 0.005."""
    return jaxlqr.cost(K - 0.005 * jax.grad(jaxlqr.cost)(K, task), task)


value, gradient = jax.jit(h), jax.jit(jax.grad(h))
hessian = jax.jit(lambda K: jax.hessian(h)(K).reshape(2, 2))
K = jnp.array([[0.46715, 4.05285]])
for _ in range(5):  # Newton's method, from these digits on
    K = K - jnp.linalg.solve(hessian(K), gradient(K).ravel()).reshape(1, 2)
print("at", K.ravel(), "gradient", float(jnp.linalg.norm(gradient(K))))
print("Hessian eigenvalues", np.linalg.eigvalsh(hessian(K)))
print("value", float(value(K)), "least", float(jaxlqr.optimal_cost(task)))
