"""Batched factorisations that do not depend on each other must not wait for one another (docs/numerics.md)."""

import subprocess
import sys

import pytest

_TWO_EVALUATIONS_A_STEP = """
import jax, jax.numpy as jnp
from jaxlqr.mdp import MDP, evaluate, proximal_step

jax.config.update("jax_enable_x64", True)
lanes, S, A = 100, 81, 4
key = jax.random.key(0)
mdps = MDP(
    P=jax.random.dirichlet(key, jnp.ones(S), (lanes, S, A)),
    r=jax.random.uniform(key, (lanes, S, A)),
    gamma=jnp.full(lanes, 0.9),
    zeta=jnp.full((lanes, S), 1 / S),
)

def path(mdp):
    def step(policy, _):  # two factorisations of one matrix, neither of which needs the other
        return proximal_step(mdp, policy, 1.0), evaluate(mdp, policy).J
    return jax.lax.scan(step, jnp.full((S, A), 1 / A), length=11)[1]

run = jax.jit(jax.vmap(path))
for _ in range(10):
    returns = run(mdps).block_until_ready()
print(bool(jnp.all(jnp.diff(returns, axis=1) >= 0)))
"""


@pytest.mark.slow  # seconds of compilation
def test_two_evaluations_in_one_program_do_not_wait_for_each_other():
    # On two cores jaxlib's own batches stop here forever, in the first call or the next few.
    finished = subprocess.run(
        [sys.executable, "-c", _TWO_EVALUATIONS_A_STEP], capture_output=True, text=True, timeout=120, check=True
    )
    assert finished.stdout.strip() == "True"
