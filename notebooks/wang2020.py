# %% [markdown]
# # On the global optimality of model-agnostic meta-learning
#
# Wang, Cai, Yang, Wang, 2020 (*wang2020* here).
#
# **What it claims.** For tabular decision processes with a proximal (mirror descent) step as adaptation: the gradient of the
# meta-objective in closed form (Proposition 3.2), and a bound on how far a stationary point is from the best policy
# (Theorem 3.5).
#
# **What we measured.** The gradient lacks two factors $1/(1-\gamma)$; corrected it is autodiff to rounding (erratum W1).
# The theorem as printed is false, and corrected it is loose by four orders of magnitude; a sharper form is loose by 28 (W2).
# Theorem 4.4, on supervised learning, is right; with the task as an argument it is mostly much tighter (W4).
# All of it: [errata of wang2020](../docs/papers/wang2020/errata.md).

# %%
import jax
import jax.numpy as jnp
import numpy as np
from ipywidgets import FloatLogSlider, IntSlider, interact

import jaxlqr
from jaxlqr import families, mdp
from jaxlqr.papers.wang2020.printed import OtherGradientLoss, printed_meta_gradient
from jaxlqr.papers.wang2020.theory import theorem_3_5
from jaxlqr.plots import new_figure

# %matplotlib inline
jax.config.update("jax_enable_x64", True)
SIZE = 7

# %% [markdown]
# ## Goals on a gridworld
#
# The agent starts in one corner. Goals are drawn within a distance of the opposite corner: the larger it is, the more unlike
# the tasks. The policy is a table of logits, adapted to each task by one proximal step of size $\eta$.


# %%
def draw_tasks(spread, key=0):
    """Eight tasks whose goals lie within ``spread`` cells of the far corner."""
    rows, columns = np.divmod(np.arange(SIZE**2), SIZE)
    near = np.flatnonzero((SIZE - 1 - rows) + (SIZE - 1 - columns) <= spread).tolist()
    return mdp.make_tasks(families.gridworld_goals(jax.random.key(key), 8, size=SIZE, gamma=0.9, goals=near, start=0))


tasks, theta = draw_tasks(4), 0.1 * jax.random.normal(jax.random.key(1), (SIZE**2, 4))

# %% [markdown]
# ## The gradient: autodiff, corrected, printed


# %%
def objective(theta, tasks, eta):
    """Mean return after one proximal step."""

    def one(task):
        policy = task.policy(theta)
        adapted = mdp.proximal_step(task.mdp, policy, eta)
        return mdp.evaluate(task.mdp, adapted).J

    return jnp.mean(jax.vmap(one)(tasks))


exact = jax.jit(jax.grad(objective))(theta, tasks, 10.0)
for variant, formula in (("corrected", mdp.meta_gradient), ("printed", printed_meta_gradient)):
    gradient = formula(theta, tasks, 10.0)
    error = jnp.linalg.norm(gradient - exact) / jnp.linalg.norm(exact)
    cosine = jnp.sum(gradient * exact) / jnp.linalg.norm(gradient) / jnp.linalg.norm(exact)
    print(f"{variant:10s} relative error {error:.1e}, cosine {cosine:.4f}")

# %% [markdown]
# ## Training with either
#
# `ProximalLoss` contains the adaptation, so the learner is told not to adapt. Both gradients train, at step sizes that suit
# them; the printed one is another direction with another length.


# %%
def train(eta, spread, step_size, gradient="exact"):
    """Mean loss over 150 steps from the uniform policy."""
    loss = mdp.ProximalLoss(eta) if gradient == "exact" else OtherGradientLoss(eta)
    options = {"num_steps": 150, "objective": jaxlqr.Mean(), "outer_step_size": step_size}
    result = jaxlqr.meta_train(
        loss, jnp.zeros((SIZE**2, 4)), draw_tasks(spread), output=jaxlqr.Output(progress=False), **options
    )
    return result.params, -np.mean(result.history["loss"], axis=1)


def draw(axes, eta, spread, step_size):
    """Returns over training on the left, the policy that was learned on the right."""
    for gradient, line in (("printed", "--"), ("exact", "-")):
        learned, returns = train(eta, spread, step_size, gradient)
        axes[0].plot(returns, line, label=gradient)
    axes[0].set(xlabel="step", ylabel="return after one proximal step", title=f"eta {eta:.1f}, goals within {spread}")
    axes[0].legend()
    policy = np.asarray(jax.nn.softmax(learned, axis=1))
    rows, columns = np.divmod(np.arange(SIZE**2), SIZE)
    moves = np.array([(-1, 0), (0, 1), (1, 0), (0, -1)])  # up, right, down, left
    mean = policy @ moves
    axes[1].quiver(columns, rows, mean[:, 1], -mean[:, 0], scale=12)
    axes[1].invert_yaxis()
    axes[1].set(title="mean move of the learned start", aspect="equal")


figure, axes = new_figure(num_rows=1, num_columns=2)
draw(axes[0], 10.0, 4, 30.0)
figure


# %%
def explore(eta=10.0, spread=4, step_size=30.0):
    """The two panels."""
    figure, axes = new_figure(num_rows=1, num_columns=2)
    draw(axes[0], eta, spread, step_size)
    return figure


_ = interact(
    explore,
    eta=FloatLogSlider(10.0, min=-1, max=2, step=0.25, continuous_update=False),
    spread=IntSlider(4, min=1, max=12, continuous_update=False),
    step_size=FloatLogSlider(30.0, min=-1, max=3, step=0.25, continuous_update=False),
)

# %% [markdown]
# ## Theorem 3.5: the bound over the gap
#
# On thirty random families, at random parameters, with the best of ten others as comparator. Above 1 the theorem holds; how far
# above is how loose it is.


# %%
def random_family(key):
    """Three Garnets of six states, two actions and random features, a point and a comparator."""
    keys = jax.random.split(key, 3)
    features = jax.random.normal(keys[0], (6, 2, 4))
    points = jax.random.normal(keys[1], (11, 4))
    tasks = mdp.make_tasks(families.garnet(keys[2], 3, 6, 2), features=features)
    returns = returns_at(points, tasks)
    return points[int(np.argmax(returns))], points[int(np.argmin(returns))], tasks


returns_at = jax.jit(jax.vmap(lambda point, tasks: objective(point, tasks, 3.0), in_axes=(0, None)))
instances = [random_family(key) for key in jax.random.split(jax.random.key(3), 30)]
better, omegas, stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *instances)
figure, axes = new_figure(panel_size=(5.0, 2.8))
for form in ("printed", "corrected", "sharp", "l1"):
    bound = jax.jit(jax.vmap(lambda a, b, t, form=form: theorem_3_5(a, b, t, 3.0, 10.0, form=form)))
    told = bound(better, omegas, stacked)
    ratio = np.sort(told.bound / told.gap)
    print(f"{form:10s} median of bound over gap {np.median(ratio):.1f}")
    axes[0, 0].semilogx(ratio, (np.arange(30) + 0.5) / 30, drawstyle="steps-mid", label=form)
axes[0, 0].axvline(1, color="black", linestyle=":")
axes[0, 0].set(xlabel="bound over gap", ylabel="share of the families")
axes[0, 0].legend()
figure
