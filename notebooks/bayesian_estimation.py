# %% [markdown]
# # A Bayesian posterior by exact gradients
#
# Interest rates, inflation and the output gap follow a model of expectations. Its likelihood is a chain of three solvers: the
# stable solution of the model, the stationary covariance, the Kalman filter. In jaxlqr each solver has exact derivatives of
# any order. So NUTS gets gradients, and the Hessian at the mode gives NUTS its units. All of it takes about a minute on one
# core, most of which is compilation.

# %%
import os

# Compilation takes most of the time here. Without optimisation it takes a third, and the draws a few seconds more.
os.environ["XLA_FLAGS"] = os.environ.get(
    "XLA_FLAGS", "--xla_cpu_use_fusion_emitters=false --xla_backend_optimization_level=0"
)

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import minimize

import jaxlqr
from jaxlqr import estimation
from jaxlqr.plots import new_figure

# %matplotlib inline
jax.config.update("jax_enable_x64", True)

# %% [markdown]
# ## The model
#
# The output gap $x$, inflation $\pi$ and the interest rate $i$ obey, in percent and with the discount factor 0.99,
#
# $$x_t = E_t x_{t+1} - (i_t - E_t \pi_{t+1}) + d_t, \qquad \pi_t = 0.99 E_t \pi_{t+1} + \kappa x_t + u_t, \qquad
# i_t = \phi_\pi \pi_t + \phi_x x_t + m_t.$$
#
# Demand $d$, costs $u$ and policy $m$ are autoregressions of first order. Stacked as $z = (d, u, m, x, \pi)$ the model is
# $A\,E z' + B z = 0$ with three states. `solve_linear_re` returns the jumps and the law of the states.
#
# The sampler moves on unconstrained numbers: logarithms of positive parameters, logits of persistences. Each has a normal
# prior.

# %%
names = ["kappa", "phi_pi", "phi_x", "rho_d", "rho_u", "rho_m", "sigma_d", "sigma_u", "sigma_m"]
truth = jnp.array([0.15, 1.4, 0.3, 0.8, 0.5, 0.3, 0.4, 0.3, 0.25])
prior_mean = jnp.array([jnp.log(0.2), 1.5, jnp.log(0.25), 0.0, 0.0, 0.0, *[jnp.log(0.3)] * 3])
prior_width = jnp.array([0.5, 0.25, 0.5, 1.0, 1.0, 1.0, 0.5, 0.5, 0.5])


def constrained(theta):
    """The nine parameters of nine unconstrained numbers."""
    return jnp.concatenate(
        [jnp.exp(theta[:1]), theta[1:2], jnp.exp(theta[2:3]), jax.nn.sigmoid(theta[3:6]), jnp.exp(theta[6:])]
    )


def solution(params):
    """A and B of the equations above, solved for the jumps and the law of the states; the rule for the interest rate."""
    kappa, phi_pi, phi_x = params[:3]
    demand = jnp.array([0.0, 0.0, 0.0, 1.0, 1.0])
    supply = jnp.array([0.0, 0.0, 0.0, 0.0, 0.99])
    A = jnp.concatenate([jnp.eye(3, 5), jnp.stack([demand, supply])])
    rule = jnp.stack([jnp.zeros(()), jnp.zeros(()), jnp.ones(()), phi_x, phi_pi])
    now = jnp.array([[1.0, 0.0, 0.0, -1.0, 0.0], [0.0, 1.0, 0.0, 0.0, -1.0]])
    now = jnp.stack([now[0] - rule, now[1] + kappa * jnp.eye(5)[3]])
    B = jnp.concatenate([jnp.eye(3, 5) * -params[3:6, None], now])
    return estimation.solve_linear_re(A, B, 3), rule


def state_space(params):
    """A, C, Q, R: the states are the shocks; the gap, inflation and the interest rate are measured."""
    model, rule = solution(params)
    everything = jnp.concatenate([jnp.eye(3), model.g_x])  # z as a function of the states
    C = jnp.concatenate([model.g_x, (rule @ everything)[None]])
    return model.h_x, C, jnp.diag(params[6:] ** 2), 0.05**2 * jnp.eye(3)


# %% [markdown]
# ## Data
#
# Twenty years of quarters, drawn from the model at known parameters. The gap is not published for the last four quarters, and
# one year of interest rates is lost. A missing entry is NaN.


# %%
def simulated(params, key, num_steps):
    A, C, Q, R = state_space(params)
    first, second = jax.random.split(key)
    shocks = jax.random.normal(first, (num_steps, 3)) @ jnp.sqrt(Q)
    noise = jax.random.normal(second, (num_steps, 3)) @ jnp.sqrt(R)
    _, states = jax.lax.scan(lambda x, w: (A @ x + w, x), jnp.zeros(3), shocks)
    return states @ C.T + noise


y = simulated(truth, jax.random.key(0), 80).at[-4:, 0].set(jnp.nan).at[50:54, 2].set(jnp.nan)


def log_density(theta):
    """The posterior, up to a constant; minus infinity where no unique stable solution exists."""
    value = estimation.log_likelihood(y, *state_space(constrained(theta)), method="exact")
    value = value - jnp.sum(((theta - prior_mean) / prior_width) ** 2) / 2
    return jnp.where(jnp.isnan(value), -jnp.inf, value)


value_and_gradient = jax.jit(jax.value_and_grad(log_density))
print("log density at the prior mean", f"{value_and_gradient(prior_mean)[0]:.3f}")
passive = prior_mean.at[1].set(0.8)  # a rule that reacts less than one for one does not determine inflation
status = jaxlqr.SolveStatus(int(solution(constrained(passive))[0].status))
print("phi_pi = 0.8:", value_and_gradient(passive)[0], status.name)

# %% [markdown]
# ## The mode, by gradients and Hessians
#
# A trust region needs a handful of steps with the exact Hessian. At the mode the Hessian is the precision of the Laplace
# approximation.


# %%
def loss(theta):
    """Minus the log density and its gradient, in NumPy."""
    value, gradient = value_and_gradient(theta)
    return -float(value), -np.asarray(gradient)


hessian = jax.jit(jax.hessian(log_density))
found = minimize(
    loss, prior_mean, jac=True, hess=lambda t: -np.asarray(hessian(t)), method="trust-exact", options={"gtol": 1e-6}
)
mode = jnp.asarray(found.x)
widths = jnp.linalg.cholesky(jnp.linalg.inv(-hessian(mode)))  # Laplace: theta = mode + widths @ standard normal
print(found.nit, "steps, largest gradient", f"{np.abs(found.jac).max():.1e}")

# %% [markdown]
# ## The posterior, by NUTS
#
# In the units of the Laplace approximation the posterior has about unit scale in every direction. NUTS then needs no warm-up
# for its mass matrix, and short trajectories.

# %%
import blackjax  # noqa: E402


@jax.jit
@jax.vmap
def chain(key):
    """400 draws in the units of the Laplace approximation, the first 100 of which are dropped."""
    nuts = blackjax.nuts(
        lambda w: log_density(mode + widths @ w), step_size=0.8, inverse_mass_matrix=jnp.ones(len(mode))
    )
    first, *keys = jax.random.split(key, 401)
    start = nuts.init(0.5 * jax.random.normal(first, mode.shape))

    def step(state, key):
        state, info = nuts.step(key, state)
        return state, (state.position, info.acceptance_rate, info.is_divergent, info.num_integration_steps)

    return jax.tree.map(lambda leaf: leaf[100:], jax.lax.scan(step, start, jnp.stack(keys))[1])


draws, accepted, diverged, lengths = chain(jax.random.split(jax.random.key(1), 4))
rhat = blackjax.diagnostics.potential_scale_reduction(draws)
effective = blackjax.diagnostics.effective_sample_size(draws)
print(f"accepted {accepted.mean():.2f}, divergent {int(diverged.sum())}, gradients a draw {lengths.mean():.1f}")
print(f"largest R-hat {rhat.max():.3f}, smallest effective sample size {effective.min():.0f} of {draws[..., 0].size}")

# %%
thetas = (mode + draws @ widths.T).reshape(-1, len(mode))
posterior = np.asarray(jax.vmap(constrained)(thetas))
normals = jax.random.normal(jax.random.key(2), (20_000, len(mode)))
priors = np.asarray(jax.vmap(constrained)(prior_mean + prior_width * normals))
laplace = np.asarray(jax.vmap(constrained)(mode + normals @ widths.T))

figure, axes = new_figure(num_rows=3, num_columns=3)
for k, (name, ax) in enumerate(zip(names, axes.flat, strict=True)):
    low, high = np.quantile(posterior[:, k], [0.0005, 0.9995])
    bins = np.linspace(1.3 * low - 0.3 * high, 1.3 * high - 0.3 * low, 40)
    ax.hist(posterior[:, k], bins, density=True, color="C0", alpha=0.6, label="NUTS")
    for sample, style, label in ((laplace, "C1-", "Laplace"), (priors, "C7--", "prior")):
        heights = np.histogram(sample[:, k], bins)[0] / len(sample) / (bins[1] - bins[0])
        ax.plot((bins[1:] + bins[:-1]) / 2, heights, style, label=label)
    ax.axvline(truth[k], color="k", linewidth=1, label="truth")
    ax.set(title=name, yticks=[])
    ax.locator_params(axis="x", nbins=5)
axes[0, 0].legend()
figure

# %% [markdown]
# ## What the posterior says
#
# A rise of the policy shock by one standard deviation lowers inflation and the gap. The band holds 90 % of the posterior:
# one call of `jax.vmap` solves the model for every draw.


# %%
@jax.vmap
def responses(theta):
    """Gap, inflation and interest rate in twelve quarters after a policy shock of one standard deviation."""
    params = constrained(theta)
    A, C, _, _ = state_space(params)
    start = jnp.zeros(3).at[2].set(params[8])
    return jax.lax.scan(lambda x, _: (A @ x, C @ x), start, length=12)[1]


paths = np.asarray(responses(thetas))
low, middle, high = np.quantile(paths, [0.05, 0.5, 0.95], axis=0)
figure, axes = new_figure(num_rows=1, num_columns=3)
for k, (title, ax) in enumerate(zip(["output gap", "inflation", "interest rate"], axes.flat, strict=True)):
    ax.fill_between(range(12), low[:, k], high[:, k], alpha=0.3)
    ax.plot(middle[:, k])
    ax.axhline(0, color="k", linewidth=0.5)
    ax.set(title=f"{title}, percent", xlabel="quarters")
figure

# %% [markdown]
# Other samplers and other packages: [how to](../docs/howto/samplers.md).
