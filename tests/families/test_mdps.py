"""The families of Markov decision processes are what they say they are."""

import types

import jax
import numpy as np
import pytest

from jaxlqr import families
from jaxlqr.families import bandit, from_gymnasium, garnet, gridworld_goals, riverswim, text_map, two_ended_chain

LAKE = ["SFFF", "FHFH", "FFFH", "HFFG"]


def assert_distributions(mdps):
    P = np.asarray(mdps.P)
    assert P.min() >= 0
    np.testing.assert_allclose(P.sum(-1), 1, atol=1e-14)
    np.testing.assert_allclose(np.asarray(mdps.zeta).sum(-1), 1, atol=1e-14)


def test_garnets_branch_as_often_as_asked_and_differ():
    mdps = garnet(jax.random.key(0), 4, 7, 3, branching=2, gammas=(0.5, 0.9))
    assert_distributions(mdps)
    assert np.all((np.asarray(mdps.P) > 0).sum(-1) == 2)
    assert np.all((mdps.gamma >= 0.5) & (mdps.gamma <= 0.9))
    assert not np.allclose(mdps.P[0], mdps.P[1])
    np.testing.assert_array_equal(garnet(jax.random.key(0), 4, 7, 3, branching=2).P, mdps.P)


def test_gridworld_goals_stay_and_pay():
    mdps = gridworld_goals(jax.random.key(1), 5, size=4, slip=0.2, goals=[3, 15], start=0)
    assert_distributions(mdps)
    assert set(np.argmax(mdps.r[:, :, 0], axis=1).tolist()) <= {3, 15}
    for P, r in zip(np.asarray(mdps.P), np.asarray(mdps.r), strict=True):
        goal = r[:, 0].argmax()
        assert r.sum() == 4
        assert np.all(P[goal, :, goal] == 1)
    distinct = gridworld_goals(jax.random.key(1), 16, size=4, replace=False)
    assert sorted(np.argmax(distinct.r[:, :, 0], axis=1).tolist()) == list(range(16))
    # From an inner cell a move succeeds with 0.8 and slips to either side with 0.1.
    assert sorted(mdps.P[0, 5, 2][mdps.P[0, 5, 2] > 0].tolist()) == pytest.approx([0.1, 0.1, 0.8])


def test_the_frozen_lake_is_that_of_gymnasium():
    """One third in each of three directions; checked against its published table at two states."""
    lake = jax.tree.map(np.asarray, text_map(LAKE, slip=2 / 3))
    assert_distributions(lake)
    np.testing.assert_allclose(lake.P[0, 0][[0, 4]], [2 / 3, 1 / 3])
    np.testing.assert_allclose(lake.P[14, 1][[13, 14, 15]], [1 / 3, 1 / 3, 1 / 3])
    assert float(lake.r[14, 1]) == pytest.approx(1 / 3)
    assert np.all(lake.P[5, :, 5] == 1)


def test_walls_are_never_entered_and_the_start_is_shared():
    maze = text_map(["SWG", "FFF"])
    assert float(maze.P[0, 2, 0]) == 1.0
    others = [0, 2, 3, 4, 5]
    assert not np.asarray(maze.P)[others, :, 1].any()
    np.testing.assert_array_equal(text_map(["SG", "SF"]).zeta, [0.5, 0, 0.5, 0])
    np.testing.assert_array_equal(text_map(["FG", "FH"]).zeta, [0.5, 0, 0.5, 0])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["SWG"], "no goal G can be reached from the start"),
        (["SFF"], "no goal G can be reached"),
        (["SHG", "FHF"], "no goal G can be reached"),
        (["SF", "G"], "rows must be strings of one length"),
        ([], "rows must be strings of one length"),
        (["SXG"], "a map is made of S, F, H, G and W, got X"),
        (["GG"], "the map has no start"),
    ],
)
def test_an_unusable_map_is_refused(rows, message):
    with pytest.raises(ValueError, match=message):
        text_map(rows)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: text_map(LAKE, slip=1.0), r"slip must lie in \[0, 1\)"),
        (lambda: text_map(LAKE, gamma=1.0), "gamma must be one number strictly between 0 and 1"),
        (lambda: gridworld_goals(jax.random.key(0), 2, size=1), "size must be at least 2"),
        (lambda: gridworld_goals(jax.random.key(0), 2, gamma=0.0), "gamma must be one number"),
        (lambda: gridworld_goals(jax.random.key(0), 2, goals=[81]), "goals must be cells from 0 to 80"),
        (lambda: gridworld_goals(jax.random.key(0), 3, goals=[1, 2], replace=False), "num_tasks must be at most 2"),
        (lambda: gridworld_goals(jax.random.key(0), 2, start=81), "start must be a cell from 0 to 80"),
        (lambda: garnet(jax.random.key(0), 1, 3, 2, branching=4), "branching between 1 and num_states"),
        (lambda: garnet(jax.random.key(0), 1, 3, 2, gammas=(0.5, 1.0)), "gammas must be two increasing numbers"),
        (lambda: riverswim(num_states=1), "num_states must be at least 2"),
        (lambda: two_ended_chain(0), "num_tasks must be at least 1"),
        (lambda: bandit([]), r"rewards must have shape \[A\]"),
        (lambda: from_gymnasium(object()), "environment must have a transition table P"),
    ],
)
def test_bad_input_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_riverswim_and_the_chain():
    river = riverswim(num_states=6)
    assert_distributions(river)
    np.testing.assert_allclose(river.P[2, 1, 1:4], [0.05, 0.6, 0.35])
    chain = two_ended_chain(3, num_states=5)
    assert_distributions(chain)
    assert chain.r[:, :, 0].argmax(1).tolist() == [0, 4, 0]
    np.testing.assert_allclose(chain.P[0, 2, 1], [0, 0.1, 0, 0.9, 0])


def test_a_gymnasium_table_becomes_a_process_whose_episodes_end():
    # The interface of a toy-text environment: P[s][a] = [(probability, next state, reward, ended), ...].
    table = {0: {0: [(0.5, 1, 2.0, True), (0.5, 0, 0.0, False)]}, 1: {0: [(1.0, 1, 0.0, True)]}}
    environment = types.SimpleNamespace(P=table, initial_state_distrib=np.array([1.0, 0.0]))
    mdp = from_gymnasium(types.SimpleNamespace(unwrapped=environment), gamma=0.9)
    np.testing.assert_allclose(mdp.P[0, 0], [0.5, 0, 0.5])
    assert mdp.r.tolist() == [[1.0], [0.0], [0.0]]
    assert float(mdp.P[2, 0, 2]) == 1.0


def uniform_and_optimal(mdp):
    from jaxlqr.mdp import evaluate, optimal_policy

    uniform = np.full(mdp.r.shape, 1 / mdp.r.shape[1])
    return float(evaluate(mdp, uniform).J), float(evaluate(mdp, optimal_policy(mdp)).J)


def test_frozen_lake_of_gymnasium_itself():
    gymnasium = pytest.importorskip("gymnasium")
    mdp = from_gymnasium(gymnasium.make("FrozenLake-v1"))
    assert_distributions(mdp)
    assert mdp.P.shape == (17, 4, 17)
    np.testing.assert_allclose(uniform_and_optimal(mdp), uniform_and_optimal(text_map(LAKE, slip=2 / 3)), rtol=1e-12)


def test_cliff_walking_of_gymnasium_itself():
    """The best path has 13 steps of reward -1, the first of them not discounted; then nothing more is paid."""
    gymnasium = pytest.importorskip("gymnasium")
    mdp = from_gymnasium(gymnasium.make("CliffWalking-v1"), gamma=0.9)
    assert_distributions(mdp)
    assert mdp.P.shape == (49, 4, 49)
    assert uniform_and_optimal(mdp)[1] == pytest.approx(-(1 - 0.9**13), rel=1e-12)


def test_taxi_of_gymnasium_itself():
    """The optimal policy, played in the environment itself, returns what the process says."""
    pytest.importorskip("gymnasium")
    from gymnasium.envs.toy_text.taxi import TaxiEnv

    environment = TaxiEnv()  # by class: its number differs between versions of gymnasium
    from jaxlqr.mdp import evaluate, optimal_policy

    mdp = from_gymnasium(environment, gamma=0.9)
    assert_distributions(mdp)
    assert mdp.P.shape == (501, 6, 501)
    policy = optimal_policy(mdp)
    V, actions = np.asarray(evaluate(mdp, policy).V), np.asarray(policy).argmax(axis=1)
    for seed in range(20):
        state, _ = environment.reset(seed=seed)
        start, total, discount, ended = state, 0.0, 1.0, False
        while not ended:
            state, reward, ended, _, _ = environment.step(int(actions[state]))
            total, discount = total + discount * float(reward), 0.9 * discount
        assert total == pytest.approx(V[start] / (1 - 0.9), rel=1e-9)


def test_random_lakes_of_gymnasium_are_tasks():
    """Maps that nobody here drew, as a family to meta-learn on."""
    pytest.importorskip("gymnasium")
    from gymnasium.envs.toy_text.frozen_lake import FrozenLakeEnv, generate_random_map

    import jaxlqr
    from jaxlqr.mdp import ProximalLoss, make_tasks, meta_gradient, stack_mdps

    lakes = [FrozenLakeEnv(desc=generate_random_map(size=4, seed=seed)) for seed in range(6)]
    tasks = make_tasks(stack_mdps([from_gymnasium(lake) for lake in lakes]))
    theta = np.zeros((17, 4))
    automatic = jax.grad(
        lambda t: -jaxlqr.maml_loss(ProximalLoss(20.0), t, tasks, inner_step_size=0.0, num_inner_steps=0)
    )(theta)
    np.testing.assert_allclose(meta_gradient(theta, tasks, 20.0), automatic, atol=1e-14)
    result = jaxlqr.meta_train(
        ProximalLoss(20.0), theta, tasks, num_steps=20, objective=jaxlqr.Mean(), outer_step_size=50.0
    )
    assert result.history["loss"][-1].mean() < 0.7 * result.history["loss"][0].mean()


def test_families_are_public():
    assert {"garnet", "gridworld_goals", "riverswim", "two_ended_chain", "bandit", "text_map"} <= set(dir(families))
