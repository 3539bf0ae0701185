# %% [markdown]
# # A control engineer's first hour
#
# You know python-control. This is its first page in jaxlqr: a system, its responses, a loop around it, its sampled form. Then
# what python-control cannot do: derivatives of all of it, and a thousand systems at once.

# %%
import jax
import jax.numpy as jnp
import numpy as np

import jaxlqr
from jaxlqr import plots, systems

# %matplotlib inline
jax.config.update("jax_enable_x64", True)

# %% [markdown]
# ## A system
#
# A mass on a spring with a damper, the first example of python-control: $m \ddot q + c \dot q + k q = u$. A system is four
# matrices; without `dt` its time is continuous. Names survive all that follows.

# %%
m, c, k = 250.0, 60.0, 40.0


def spring(m, c, k):
    """The mass on a spring, from force to position."""
    A = jnp.array([[0.0, 1.0], [0.0, 0.0]]) + jnp.stack([jnp.zeros(2), -jnp.stack([k / m, c / m])])
    return systems.ss(A, jnp.stack([jnp.zeros(1), jnp.ones(1) / m]), [[1.0, 0.0]], inputs=["u"], outputs=["q"])


plant = spring(jnp.asarray(m), jnp.asarray(c), jnp.asarray(k))
print(plant)
print("poles", systems.poles(plant), "gain at rest", systems.dc_gain(plant))
print(systems.damping(plant).ratios)

# %% [markdown]
# ## Responses
#
# The step response is exact at its samples. The Bode diagram chooses its frequencies by the poles.

# %%
figure, axes = plots.new_figure(num_rows=1, num_columns=3)
plots.plot_step(plant, ax=axes[0, 0])
plots.plot_bode(plant, axes=axes[0, 1:])
figure

# %% [markdown]
# ## A loop
#
# A PI controller with a filtered derivative, in series with the plant, in negative feedback. Matrices stand for static gains.

# %%
kp, ki, kd, filtered = 350.0, 60.0, 300.0, 0.05
pid = systems.parallel(
    systems.ss([[0.0]], [[1.0]], [[ki]], [[kp]]),
    systems.ss([[-1 / filtered]], [[1.0]], [[-kd / filtered**2]], [[kd / filtered]]),
)
loop = systems.series(pid, plant)
closed = systems.feedback(loop)
print("stable:", bool(jnp.all(systems.poles(closed).real < 0)), "follows steps:", systems.dc_gain(closed))
figure, axes = plots.new_figure(num_rows=1, num_columns=2, panel_size=(4.4, 2.8))
plots.plot_nyquist(loop, ax=axes[0, 0])
plots.plot_step([closed, plant], ax=axes[0, 1], labels=["closed loop", "plant"])
figure

# %% [markdown]
# ## Samples
#
# A computer acts at samples. `sample` holds the input; Tustin's rule suits filters.

# %%
sampled = systems.sample(plant, 0.5)
print(sampled)
moved = systems.simulate(sampled, jnp.ones((40, 1)), x0=jnp.array([0.01, 0.0]))
print("position after 20 s", moved.outputs[-1])
plots.plot_step([plant, sampled], labels=["continuous", "sampled"]).figure

# %% [markdown]
# ## A regulator
#
# The weights are integrals over continuous time. `continuous_task` samples them exactly, cross term included.

# %%
problem = jaxlqr.lqr.continuous_task(plant, Q=np.diag([1e4, 1e3]), R=[[0.01]], dt=0.5)
K = problem.gain(jaxlqr.optimal_gain(problem.task))
print("gain", K, "cost", jaxlqr.optimal_cost(problem.task))

# %% [markdown]
# ## What is new: derivatives
#
# How does the overshoot depend on mass, damping and stiffness? One gradient, through the connections and the simulation.


# %%
def overshoot(parameters):
    """Of the step of the closed loop, over its final value."""
    closed = systems.feedback(systems.series(pid, spring(*parameters)))
    return jnp.max(systems.step_response(closed, 200, dt=0.1).outputs) - 1.0


parameters = jnp.array([m, c, k])
print("overshoot", overshoot(parameters), "sensitivity per 1 %", 0.01 * parameters * jax.grad(overshoot)(parameters))

# %% [markdown]
# ## What is new: a thousand systems
#
# The parameters are known to ten percent. `jax.vmap` simulates a thousand plants as one program.

# %%
draws = parameters * (1 + 0.1 * jax.random.normal(jax.random.key(0), (1000, 3)))
spread = jax.jit(jax.vmap(overshoot))(draws)
ax = plots.new_figure()[1][0, 0]
ax.hist(np.asarray(spread), bins=40)
ax.set(xlabel="overshoot", ylabel="plants")
print("mean", spread.mean(), "worst", spread.max())
ax.figure

# %% [markdown]
# And back: `systems.to_control(closed)` is a system of python-control.
