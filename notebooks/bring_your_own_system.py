# %% [markdown]
# # Bring your own system
#
# From matrices in NumPy to one gain that works for a whole fleet, and adapts quickly to a member that it never saw. The
# example is a cart with a hanging load, a crane; the mass of the load and the length of the rope differ from crane to crane.

# %%
import jax
import jax.numpy as jnp
import numpy as np
import scipy.signal

import jaxlqr
from jaxlqr.plots import new_figure

# %matplotlib inline
jax.config.update("jax_enable_x64", True)

# %% [markdown]
# ## 1. Matrices
#
# The state is (position, speed, angle, angular speed), the input a force on the cart. Anything that NumPy reads is a
# matrix for `make_task`; a wrong shape, an indefinite $R$ or a NaN is refused with one sentence that says what to do.


# %%
def crane(load, rope, cart=1.0, gravity=9.81, dt=0.1):
    """One crane in discrete time (zero-order hold); masses in kg, lengths in m, dt in s."""
    sway = -(cart + load) * gravity / (cart * rope)
    A = np.array([[0, 1, 0, 0], [0, -0.2, load * gravity / cart, 0], [0, 0, 0, 1], [0, 0.2 / rope, sway, -0.05]])
    B = np.array([[0], [1 / cart], [0], [-1 / (cart * rope)]])
    A, B, *_ = scipy.signal.cont2discrete((A, B, np.eye(4), np.zeros((4, 1))), dt)
    return jaxlqr.make_task(A, B, Q=np.diag([1.0, 0.1, 10.0, 0.1]), R=[[0.1]])


rng = np.random.default_rng(0)
fleet = jaxlqr.stack_tasks([crane(*rng.uniform([0.2, 0.7], [1.0, 1.4])) for _ in range(8)])
newcomer = crane(load=0.3, rope=1.5)
print("one array for all cranes:", fleet.A.shape)

try:
    jaxlqr.make_task(np.eye(4), np.ones((3, 1)))
except ValueError as error:
    print("refused:", error)

# %% [markdown]
# ## 2. A first gain
#
# The optimum of the average crane; `check_stabilizes_all` names those that it does not stabilise.

# %%
from jaxlqr.lqr.stabilize import average_task_gain, check_stabilizes_all  # noqa: E402

K0 = average_task_gain(fleet)
check_stabilizes_all(K0, fleet)
radius = jax.vmap(jaxlqr.spectral_radius, in_axes=(None, 0))(K0, fleet)
print("spectral radii", np.round(radius, 3))

# %% [markdown]
# ## 3. Train
#
# With exact derivatives, since we have models. How long may a step be? One over the largest curvature.

# %%
hessians = jax.vmap(jax.hessian(jaxlqr.cost), in_axes=(None, 0))(K0, fleet).reshape(8, 4, 4)
step = float(1 / jnp.max(jnp.linalg.eigvalsh(hessians)))
result = jaxlqr.meta_train(
    jaxlqr.cost, K0, fleet, num_steps=400, objective=jaxlqr.Maml(inner_step_size=step / 2), outer_step_size=step
).check()
print(f"step {step:.1e}, mean gap {result.history['gap'][0].mean():.3f} -> {result.history['gap'][-1].mean():.3f}")

# %% [markdown]
# ## 4. Adapt to the newcomer
#
# Without its model: each step asks for the cost of forty gains.

# %%
options = {"num_steps": 60, "step_size": step / 2, "oracle": jaxlqr.ZerothOrderOracle(num_samples=20, radius=1e-2)}
adapted = {
    name: jaxlqr.policy_gradient(jaxlqr.cost, K, newcomer, **options).check()
    for name, K in (("from the first gain", K0), ("from the meta-trained gain", result.params))
}


# %%
def swing(K, steps=80):
    """States over time after the cart was put one metre from its goal."""
    loop, x = np.asarray(newcomer.A - newcomer.B @ K), np.array([1.0, 0.0, 0.0, 0.0])
    return np.array([x] + [x := loop @ x for _ in range(steps)])


figure, axes = new_figure(num_rows=1, num_columns=3)
axes[0, 0].semilogy(result.history["gap"])
axes[0, 0].set(xlabel="step", ylabel="cost above the least", title="training, each crane")
for name, run in adapted.items():
    axes[0, 1].semilogy(run.history["gap"], label=name)
axes[0, 1].set(xlabel="step", title="adapting to the newcomer")
for name, K, line in (("before", K0, ":"), ("after", run.params, "-")):
    axes[0, 2].plot(0.1 * np.arange(81), swing(K)[:, 0], line, color="C0", label=f"position, {name}")
    axes[0, 2].plot(0.1 * np.arange(81), swing(K)[:, 2], line, color="C1", label=f"angle, {name}")
axes[0, 2].set(xlabel="seconds", title="the newcomer")
for ax in axes[0, 1:]:
    ax.legend()
figure

# %% [markdown]
# The meta-trained gain is not what helps here: cranes that are alike have nearly the same optimum, and the average one is
# already close to it. [The notebook on toso2024](toso2024.py) finds the same with the paper's own systems.
#
# ## 5. Files, and other losses
#
# The command line trains from an `.npz` file with the arrays `A`, `B` and, if you have them, `Q`, `R`, `Sigma0`, `K0`:
#
# ```sh
# jaxlqr train --tasks cranes.npz --out run
# ```
#
# A loss is any function of (parameters, task). This one asks for small gains, too; everything above works with it.


# %%
def gentle(K, task):
    """The cost and a price on the size of the gain."""
    return jaxlqr.cost(K, task) + 5.0 * jnp.sum(K**2)


small = jaxlqr.meta_train(
    gentle, K0, fleet, num_steps=200, objective=jaxlqr.Maml(inner_step_size=step / 4), outer_step_size=step / 4
).check()
print("norm of the gain", float(jnp.linalg.norm(result.params)), "->", float(jnp.linalg.norm(small.params)))
