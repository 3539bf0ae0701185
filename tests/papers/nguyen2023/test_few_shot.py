"""Episodes: what is drawn, how often, and always the same; and the losses on them against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlqr.papers.nguyen2023.conv_network import ConvNetwork
from jaxlqr.papers.nguyen2023.few_shot import (
    Design,
    ImageClasses,
    PrototypicalRisk,
    QueryRisk,
    SupportRisk,
    accuracy,
    check_design,
    episodes,
)

COUNTS = np.array([9, 8, 9, 9, 7, 9, 9, 9, 9, 9, 9])
GROUPS = np.array([0] * 4 + [1] * 5 + [2] * 2)  # the last is too small for three ways
NUM_EPISODES = 20_000


def labelled_images():
    """Images that say which class and drawing they are of: [class, drawing] in their first row, and 9 where padded."""
    pixels = np.zeros((11, 9, 2, 2), np.uint8)
    pixels[..., 0, 0] = np.arange(11)[:, None]
    pixels[..., 0, 1] = np.arange(9)[None, :]
    pixels[..., 1, 1] = np.where(np.arange(9)[None, :] < COUNTS[:, None], 0, 9)
    return ImageClasses(
        pixels=jnp.asarray(pixels),
        counts=jnp.asarray(COUNTS),
        groups=jnp.asarray(GROUPS),
        group_names=("a", "b", "c"),
    )


IMAGES = labelled_images()
DESIGN = Design(ways=3, shots=2, queries=4)


@pytest.fixture(scope="module")
def drawn():
    draw = jax.jit(lambda key: episodes(key, IMAGES, DESIGN, (NUM_EPISODES,)))
    return jax.tree.map(np.asarray, draw(jax.random.key(0)))


def test_shapes_and_types(drawn):
    assert drawn.support.shape == (NUM_EPISODES, 6, 2, 2)
    assert drawn.query.shape == (NUM_EPISODES, 12, 2, 2)
    assert drawn.support.dtype == np.uint8
    np.testing.assert_array_equal(drawn.support_labels, np.tile([0, 0, 1, 1, 2, 2], (NUM_EPISODES, 1)))
    np.testing.assert_array_equal(drawn.support_weights, 1)
    stack = episodes(jax.random.key(1), IMAGES, DESIGN, (2, 3))
    assert stack.query.shape == (2, 3, 12, 2, 2)
    assert episodes(jax.random.key(1), IMAGES, DESIGN).query.shape == (12, 2, 2)


def test_an_episode_has_other_drawings_of_the_same_classes_of_one_group(drawn):
    support = drawn.support.reshape(NUM_EPISODES, 3, 2, 4)
    query = drawn.query.reshape(NUM_EPISODES, 3, 4, 4)
    both = np.concatenate([support, query], axis=2)
    classes, drawings, padding = both[..., 0], both[..., 1], both[..., 3]
    assert np.all(classes == classes[..., :1])  # one class a label, in support and queries
    assert np.all(padding == 0)
    assert np.all(np.diff(np.sort(drawings, axis=2), axis=2) > 0)  # no drawing twice
    assert np.all(np.diff(np.sort(classes[..., 0], axis=1), axis=1) > 0)  # no class twice
    groups = GROUPS[classes[..., 0]]
    assert np.all(groups == groups[:, :1])
    assert not np.any(groups == 2)


def test_groups_classes_and_drawings_are_equally_likely(drawn):
    classes = drawn.support.reshape(NUM_EPISODES, 3, 2, 4)[:, :, 0, 0]
    for label in range(3):  # labels are given out at random, so each label is of each class equally often
        of_first_group = np.bincount(classes[:, label], minlength=11)
        wanted = np.array([0.5 / 4] * 4 + [0.5 / 5] * 5 + [0, 0])
        error = np.sqrt(wanted * (1 - wanted) / NUM_EPISODES)
        assert np.all(np.abs(of_first_group / NUM_EPISODES - wanted) <= 5 * error)
        assert np.all(error[:9] < 0.025 * wanted[:9])
    first = drawn.support[:, 0]
    for which in (1, 4):  # of eight drawings, and of seven
        drawings = np.bincount(first[first[:, 0, 0] == which, 0, 1], minlength=9)
        count, total = COUNTS[which], drawings.sum()
        assert np.all(drawings[count:] == 0)
        assert np.all(np.abs(drawings[:count] - total / count) <= 5 * np.sqrt(total / count))


def test_seeds_decide_and_episodes_do_not_depend_on_their_neighbours():
    eight = jax.jit(lambda key: episodes(key, IMAGES, DESIGN, (8,)))
    one, other = eight(jax.random.key(3)), eight(jax.random.key(4))
    again = jax.jit(lambda key: episodes(key, IMAGES, DESIGN, (2, 4)))(jax.random.key(3))
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b.reshape(a.shape)), one, again)
    assert not np.array_equal(one.support, other.support)
    assert len(np.unique(np.asarray(one.support).reshape(8, -1), axis=0)) == 8


def test_any_shot_is_unequal_in_half_of_the_episodes():
    design = Design(ways=3, shots=1, queries=2, max_shots=5)
    drawn = jax.jit(lambda key: episodes(key, IMAGES, design, (NUM_EPISODES,)))(jax.random.key(0))
    given = np.asarray(drawn.support_weights).reshape(NUM_EPISODES, 3, 5)
    shots = given.sum(axis=2)
    assert set(np.unique(given)) == {0, 1}
    assert np.all(np.diff(given, axis=2) <= 0)  # empty places come last
    frequencies = np.stack([np.bincount(shots[:, k].astype(int), minlength=6)[1:] for k in range(3)]) / NUM_EPISODES
    assert np.all(np.abs(frequencies - 0.2) < 5 * np.sqrt(0.16 / NUM_EPISODES))
    # Equal in half of the episodes, and by chance in 1 of 25 of the others.
    equal, wanted = np.mean(np.ptp(shots, axis=1) == 0), 0.5 + 0.5 / 25
    assert abs(equal - wanted) < 5 * np.sqrt(wanted * (1 - wanted) / NUM_EPISODES)


def test_classes_across_groups_when_asked():
    design = DESIGN._replace(ways=10, within_groups=False)
    drawn = jax.jit(lambda key: episodes(key, IMAGES, design, (20,)))(jax.random.key(0))
    classes = np.asarray(drawn.support.reshape(20, 10, 2, 4)[:, :, 0, 0])
    assert np.all(np.diff(np.sort(classes, axis=1), axis=1) > 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ways": 6}, "episodes of 6 classes were asked for, but the largest group of the images has only 5"),
        ({"ways": 12, "within_groups": False}, "but the images have only 11; ask for fewer ways"),
        ({"queries": 6}, "2 shots and 6 queries need 8 drawings of a class, but some class has only 7"),
        ({"max_shots": 4}, "episodes of 4 shots and 4 queries need 8 drawings"),
        ({"max_shots": 1}, "max_shots must be at least shots, got 1 and 2"),
        ({"ways": 1}, "ways of an episode must be an integer of at least 2, got 1"),
        ({"shots": 0}, "shots of an episode must be an integer of at least 1, got 0"),
        ({"queries": 2.5}, r"queries of an episode must be an integer of at least 1, got 2\.5"),
    ],
)
def test_designs_that_cannot_be_drawn_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        episodes(jax.random.key(0), IMAGES, DESIGN._replace(**change), (2,))


def test_small_classes_of_groups_that_are_never_used_do_not_matter():
    counts = jnp.asarray(np.where(GROUPS == 2, 1, COUNTS))
    check_design(ImageClasses(pixels=IMAGES.pixels, counts=counts, groups=IMAGES.groups, group_names=("a", "b", "c")),
                 DESIGN)  # fmt: skip


# Losses, on a small network.

SIDE = 6


def one_episode(*, max_shots=None, shots=2):
    rng = np.random.default_rng(0)
    images = ImageClasses(
        pixels=jnp.asarray(rng.integers(0, 256, size=(4, 8, SIDE, SIDE), dtype=np.uint8)),
        counts=jnp.full(4, 8),
        groups=jnp.zeros(4, int),
        group_names=("a",),
    )
    return jax.jit(lambda key: episodes(key, images, Design(3, shots, 4, max_shots)))(jax.random.key(5))


def log_softmax(scores):
    return scores - np.log(np.sum(np.exp(scores), axis=1, keepdims=True))


def random_params(network):
    params = network.init(jax.random.key(0))
    leaves, structure = jax.tree.flatten(params)
    rng = np.random.default_rng(1)
    return structure.unflatten([leaf + 0.3 * rng.normal(size=leaf.shape) for leaf in leaves])


def test_cross_entropy_of_support_and_queries():
    network = ConvNetwork(SIDE, 3, 3, num_blocks=2)
    params, episode = random_params(network), one_episode()
    for risk, images, labels in (
        (SupportRisk(network), episode.support, episode.support_labels),
        (QueryRisk(network), episode.query, episode.query_labels),
    ):
        outputs = log_softmax(np.asarray(jax.jit(network.__call__)(params, images)))
        wanted = -np.mean(outputs[np.arange(len(labels)), labels])
        np.testing.assert_allclose(jax.jit(risk)(params, episode), wanted, rtol=1e-13)
    assert SupportRisk(network) == SupportRisk(ConvNetwork(SIDE, 3, 3, num_blocks=2))
    assert hash(QueryRisk(network)) == hash(QueryRisk(ConvNetwork(SIDE, 3, 3, num_blocks=2)))


def test_prototypes_are_means_of_the_drawings_that_are_there():
    network = ConvNetwork(SIDE, 3, num_blocks=2)
    params, episode = random_params(network), one_episode(shots=1, max_shots=4)
    weights = np.asarray(episode.support_weights)
    assert 0 < weights.sum() < len(weights)
    there = weights > 0
    # By hand, without the empty places: one batch of what is there, normalised together.
    images = np.concatenate([np.asarray(episode.support)[there], np.asarray(episode.query)])
    features = np.asarray(jax.jit(network.__call__)(params, jnp.asarray(images)))
    support, query = features[: there.sum()], features[there.sum() :]
    labels = np.asarray(episode.support_labels)[there]
    prototypes = np.stack([support[labels == label].mean(axis=0) for label in range(3)])
    scores = -np.sum((query[:, None] - prototypes[None]) ** 2, axis=-1)
    risk = PrototypicalRisk(network, 3)
    np.testing.assert_allclose(jax.jit(risk.scores)(params, episode), scores, rtol=1e-12)
    wanted = -np.mean(log_softmax(scores)[np.arange(12), episode.query_labels])
    np.testing.assert_allclose(jax.jit(risk)(params, episode), wanted, rtol=1e-12)


@pytest.mark.parametrize("kind", ["support", "prototypes"])
def test_empty_places_change_neither_losses_nor_gradients(kind):
    network = ConvNetwork(SIDE, 3, 3 if kind == "support" else None, num_blocks=2)
    risk = SupportRisk(network) if kind == "support" else PrototypicalRisk(network, 3)
    params, episode = random_params(network), one_episode(shots=1, max_shots=4)
    empty = episode.support_weights == 0
    other = episode._replace(support=jnp.where(empty[:, None, None], 255 - episode.support, episode.support))
    assert not np.array_equal(other.support, episode.support)
    one, two = (jax.jit(jax.value_and_grad(risk))(params, which) for which in (episode, other))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-14), one, two)


def test_accuracy():
    scores = jnp.array([[0.1, 0.9, 0.0], [0.5, 0.2, 0.3], [0.0, 0.1, 0.9]])
    np.testing.assert_allclose(accuracy(scores, jnp.array([1, 2, 2])), 2 / 3)
