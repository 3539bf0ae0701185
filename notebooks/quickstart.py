# %% [markdown]
# # Quickstart
#
# One linear-quadratic task, its cost, exact derivatives, and gradient descent on the feedback gain. JAX computes in
# float32 unless told otherwise, which is not enough near the boundary of stability.

# %%
import jax
import numpy as np

import jaxlqr
from jaxlqr.plots import new_figure

# %matplotlib inline
jax.config.update("jax_enable_x64", True)

# %% [markdown]
# A double integrator: the state is position and speed, the input a force, the feedback $u = -Kx$. The weights $Q$, $R$
# and the second moment $\Sigma_0$ of the initial state are the identity unless given. We start from a gain that is too
# weak, a fifth of the optimum.

# %%
task = jaxlqr.make_task(A=[[1.0, 0.1], [0.0, 1.0]], B=[[0.0], [0.1]])
best = jaxlqr.optimal_gain(task)
K0 = best / 5
print("cost", jaxlqr.cost(K0, task), "least", jaxlqr.optimal_cost(task), "radius", jaxlqr.spectral_radius(K0, task))

# %% [markdown]
# The cost is one differentiable function, so its gradient and the product of its Hessian with a direction are JAX's.

# %%
gradient = jax.grad(jaxlqr.cost)(K0, task)
_, product = jax.jvp(lambda K: jax.grad(jaxlqr.cost)(K, task), (K0,), (gradient,))
print("gradient", gradient)
print("Hessian times gradient", product)

# %% [markdown]
# Gradient descent. A step that would destabilise the task is halved until it does not; `check()` raises if the run went
# wrong.

# %%
result = jaxlqr.policy_gradient(jaxlqr.cost, K0, task, num_steps=150, step_size=2e-3).check()
print("gain", result.params, "gap", result.history["gap"][-1])


# %%
def positions(K, steps=80):
    """Position over time from rest at 1 under u = -K x."""
    loop = np.asarray(task.A - task.B @ K)
    return [(np.linalg.matrix_power(loop, t) @ [1.0, 0.0])[0] for t in range(steps)]


figure, axes = new_figure(num_rows=1, num_columns=2)
axes[0, 0].semilogy(result.history["gap"])
axes[0, 0].set(xlabel="step", ylabel="cost above the least")
for K, label in ((K0, "before"), (result.params, "after"), (best, "optimal")):
    axes[0, 1].plot(positions(K), label=label, linestyle="--" if label == "optimal" else "-")
axes[0, 1].set(xlabel="time", ylabel="position")
axes[0, 1].legend()
figure
