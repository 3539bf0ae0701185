# %% [markdown]
# # Convergence of gradient-based MAML in LQR
#
# Musavi, Dullerud, 2023 (*musavi2023* here).
#
# **What it claims.** With steps that satisfy its Condition 1 every iterate stabilises all tasks, before and after
# adaptation, and the meta-gradient tends to zero.
#
# **What we measured.** The steps do keep every task stable. The rule takes some 1400 times as many steps as backtracking,
# which keeps them stable as well (erratum M7). Its Lemma 2 has no constants that hold for any two stabilising gains (M5),
# Lemma 4 leaves out where its constant holds (M6), Theorem 1 needs one inner step for all iterations (M8), and the
# published steps need an initial state that is not published (M3). All of it: [errata of musavi2023](../docs/papers/musavi2023/errata.md).

# %%
import jax
import jax.numpy as jnp
import numpy as np
from ipywidgets import FloatLogSlider, FloatSlider, interact

import jaxlqr
from jaxlqr.meta import landscape
from jaxlqr.papers.musavi2023.setting import draw, stabilising_grid
from jaxlqr.papers.musavi2023.theory import CertifiedSteps, delta, smoothness
from jaxlqr.plots import new_figure
from jaxlqr.training import BacktrackingSteps

# %matplotlib inline
jax.config.update("jax_enable_x64", True)
tasks, start = draw(jax.random.key(0)), jnp.array([[1.0, -2.4]])

# %% [markdown]
# ## The meta-objective over all gains
#
# Ten tasks share their dynamics and differ in their costs; the gain has two entries, so the whole landscape is a picture.
# White gains do not stabilise, or the gain adapted to some task does not: the larger the inner step, the fewer are left.
# `spread` pulls the costs towards their mean (0) or leaves them as drawn (1).

# %%
grid = stabilising_grid(0.04)


def spread_costs(spread):
    """The tasks, with costs between their mean and themselves."""
    Q, R = (leaf.mean(axis=0) + spread * (leaf - leaf.mean(axis=0)) for leaf in (tasks.Q, tasks.R))
    return jaxlqr.LQRTask(tasks.A, tasks.B, Q, R, tasks.Sigma0)


def contours(ax, inner_step, spread):
    """Values over the grid and the least of them."""
    values = landscape.evaluate(jaxlqr.cost, grid, spread_costs(spread), inner_step)
    gains = grid[:, 0]
    finite = np.isfinite(values)
    ax.scatter(*gains.T, s=12, marker="s", color="#DDDDDD", label="adaptation destabilises")
    ax.scatter(*gains[finite].T, s=12, marker="s", c=np.log10(values[finite]), cmap="cividis")
    ax.plot(*gains[np.argmin(values)], "*", color="#D55E00", markersize=10, label="least value")
    ax.set(xlabel="$K_1$", title=f"inner step {inner_step:.1e}, feasible {finite.mean():.0%}")


figure, axes = new_figure(num_rows=1, num_columns=3)
for ax, inner_step in zip(axes[0], (5e-4, 6.6e-3, 3e-2), strict=True):
    contours(ax, inner_step, 1.0)
axes[0, 0].set_ylabel("$K_2$")
axes[0, 2].legend(loc="lower right")
figure


# %%
def explore(inner_step=6.6e-3, spread=1.0):
    """One panel."""
    figure, axes = new_figure(panel_size=(4.5, 3.5))
    contours(axes[0, 0], inner_step, spread)
    return figure


_ = interact(
    explore,
    inner_step=FloatLogSlider(6.6e-3, min=-4, max=-1.2, step=0.1, continuous_update=False),
    spread=FloatSlider(1.0, min=0.0, max=1.0, continuous_update=False),
)

# %% [markdown]
# ## The certified rule against backtracking
#
# Both stay feasible. The norm of the meta-gradient tells what the certificate costs.

# %%
rules = {
    "certified": CertifiedSteps(),
    "backtracking": BacktrackingSteps(jaxlqr.cost, inner_step_size=6.6e-3, outer_step_size=10.0),
}
figure, axes = new_figure(panel_size=(4.5, 3.0))
for name, rule in rules.items():
    run = jaxlqr.meta_train(jaxlqr.cost, start, tasks, num_steps=2000 if name == "certified" else 40, step_rule=rule)
    norms = run.check().history["gradient_norm"]
    print(f"{name}: inner step {run.history['inner_step'][0]:.1e}, outer {run.history['outer_step'][0]:.1e}")
    axes[0, 0].loglog(np.arange(1, len(norms) + 1), norms / norms[0], label=name)
axes[0, 0].set(xlabel="step, counted from 1", ylabel="norm of the meta-gradient, relative")
axes[0, 0].legend()
figure

# %% [markdown]
# ## Where the Lipschitz constants hold
#
# Lemma 2 says: for any two stabilising gains the gradient changes by at most $\ell(W)$ times their distance. On a ray from
# the first gain to the boundary the ratio of the two sides is far below one within the radius $\delta$ that we give, and
# has no bound beyond.

# %%
task, ray = jax.tree.map(lambda leaf: leaf[0], tasks), jnp.array([[0.0, -1.0]])
ell, radius = smoothness(start, task).ell, delta(start, task)
low, high = 0.0, 10.0
for _ in range(60):  # bisection: how far the ray is stabilising
    middle = (low + high) / 2
    low, high = (middle, high) if jaxlqr.is_stabilizing(start + middle * ray, task) else (low, middle)
lengths = low * jnp.concatenate([jnp.geomspace(1e-6, 0.5, 60), 1 - jnp.geomspace(0.5, 1e-6, 60)])
gradient = jax.jit(jax.vmap(jax.grad(jaxlqr.cost), in_axes=(0, None)))
change = gradient(start + lengths[:, None, None] * ray, task) - gradient(start[None], task)
figure, axes = new_figure(panel_size=(4.5, 3.0))
axes[0, 0].loglog(lengths / low, jnp.linalg.norm(change, axis=(1, 2)) / (ell * lengths))
axes[0, 0].axvline(radius / low, color="black", linestyle=":", label="the radius where it holds")
axes[0, 0].axhline(1, color="#D55E00", label="violated above")
axes[0, 0].set(xlabel="distance, relative to that of the boundary", ylabel="change over constant times distance")
axes[0, 0].legend()
figure
