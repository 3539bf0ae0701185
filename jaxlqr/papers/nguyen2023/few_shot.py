r"""Few-shot classification: episodes drawn from classes of images, and the losses on them.

An episode is one task: ``ways`` classes, some labelled drawings of each to learn from (the support), and others to be
classified (the queries). Labels 0, ..., ways - 1 are given out at random, so that nothing can be known in advance.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.core import Tracer

from jaxlqr.core.types import PyTree
from jaxlqr.papers.nguyen2023.conv_network import ConvNetwork


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True)
class ImageClasses:
    """Classes of images on the device, a pytree of arrays.

    Attributes:
        pixels: bytes, 0 to 255 [classes, drawings, side, side]; classes with fewer drawings are padded.
        counts: drawings of each class [classes].
        groups: number of the group (the alphabet) that each class belongs to [classes].
        group_names: static.
    """

    pixels: Array
    counts: Array
    groups: Array
    group_names: tuple[str, ...] = field(metadata={"static": True})

    @property
    def side(self) -> int:
        """Side of the images."""
        return self.pixels.shape[-1]


class Design(NamedTuple):
    """The sizes of episodes.

    Attributes:
        ways: classes of an episode.
        shots: labelled drawings of each class; the fewest, with ``max_shots``.
        queries: drawings of each class to be classified.
        max_shots: any-shot episodes: in half of them every class has its own number of shots, uniform between ``shots``
            and ``max_shots``, in the others all classes share one such number. None: ``shots`` always.
        within_groups: take the classes of an episode from one group, chosen uniformly among those with enough classes.
    """

    ways: int = 5
    shots: int = 1
    queries: int = 5
    max_shots: int | None = None
    within_groups: bool = True

    @property
    def most_shots(self) -> int:
        """Places for labelled drawings of each class."""
        return self.shots if self.max_shots is None else self.max_shots


class Episode(NamedTuple):
    """One task, or a stack of them; N = ways * most_shots labelled images, Q = ways * queries others.

    Attributes:
        support, support_labels, support_weights: bytes [N, side, side], [N], and 1, or 0 for an empty place [N].
        query, query_labels: [Q, side, side], [Q].
    """

    support: Array
    support_labels: Array
    support_weights: Array
    query: Array
    query_labels: Array


def episodes(key: Array, images: ImageClasses, design: Design, shape: tuple[int, ...] = ()) -> Episode:
    """Draw a stack of episodes with leading axes ``shape``; the same key and images give the same episodes.

    Raises:
        ValueError: as :func:`check_design`, unless the images are traced.

    >>> pixels = jnp.zeros((6, 4, 8, 8), jnp.uint8)
    >>> images = ImageClasses(pixels=pixels, counts=jnp.full(6, 4), groups=jnp.zeros(6, int), group_names=("a",))
    >>> stack = episodes(jax.random.key(0), images, Design(ways=5, shots=1, queries=3), (2, 10))
    >>> stack.support.shape, stack.query_labels.shape
    ((2, 10, 5, 8, 8), (2, 10, 15))

    Source: nguyen2023, sections 5.1 and 5.2.
    """
    if not isinstance(images.counts, Tracer):
        check_design(images, design)
    keys = jax.random.split(key, int(np.prod(shape, dtype=int)))
    drawn = jax.vmap(lambda one: _episode(one, images, design))(keys)
    return jax.tree.map(lambda leaf: leaf.reshape(*shape, *leaf.shape[1:]), drawn)


def check_design(images: ImageClasses, design: Design) -> None:
    """Raise ``ValueError`` when no episode of the design can be drawn from the images."""
    for name, value in design._replace(max_shots=design.most_shots)._asdict().items():
        if name != "within_groups" and (not isinstance(value, int | np.integer) or value < 1 + (name == "ways")):
            raise ValueError(
                f"{name} of an episode must be an integer of at least {1 + (name == 'ways')}, got {value!r}."
            )
    if design.most_shots < design.shots:
        raise ValueError(f"max_shots must be at least shots, got {design.max_shots} and {design.shots}.")
    sizes = np.bincount(np.asarray(images.groups), minlength=len(images.group_names))
    enough = sizes >= design.ways
    if not (enough.any() if design.within_groups else sizes.sum() >= design.ways):
        kind = "the largest group of the images has" if design.within_groups else "the images have"
        count = sizes.max() if design.within_groups else sizes.sum()
        raise ValueError(
            f"episodes of {design.ways} classes were asked for, but {kind} only {count}; ask for fewer ways."
        )
    used = np.asarray(images.counts)[enough[np.asarray(images.groups)] | (not design.within_groups)]
    needed = design.most_shots + design.queries
    if used.min() < needed:
        raise ValueError(
            f"episodes of {design.most_shots} shots and {design.queries} queries need {needed} drawings of a class, "
            f"but some class has only {used.min()}; ask for fewer shots or queries."
        )


def _episode(key: Array, images: ImageClasses, design: Design) -> Episode:
    ways, shots, queries = design.ways, design.most_shots, design.queries
    group_key, class_key, drawing_key, shot_key = jax.random.split(key, 4)
    num_groups, num_classes = len(images.group_names), images.groups.shape[0]
    eligible = jnp.ones(num_classes, bool)
    if design.within_groups:
        sizes = jnp.zeros(num_groups, int).at[images.groups].add(1)
        group = jax.random.categorical(group_key, jnp.where(sizes >= ways, 0.0, -jnp.inf))
        eligible = images.groups == group
    scores = jnp.where(eligible, jax.random.uniform(class_key, (num_classes,)), -1.0)
    classes = lax.top_k(scores, ways)[1]
    scores = jax.random.uniform(drawing_key, (ways, images.pixels.shape[1]))
    present = jnp.arange(images.pixels.shape[1])[None, :] < images.counts[classes][:, None]
    drawings = lax.top_k(jnp.where(present, scores, -1.0), shots + queries)[1]
    chosen = images.pixels[classes[:, None], drawings]
    labels = jnp.arange(ways, dtype=jnp.int32)
    given = jnp.arange(shots)[None, :] < _shots(shot_key, design)[:, None]
    side = images.side
    return Episode(
        support=chosen[:, :shots].reshape(-1, side, side),
        support_labels=jnp.repeat(labels, shots),
        support_weights=given.reshape(-1).astype(jnp.result_type(float)),
        query=chosen[:, shots:].reshape(-1, side, side),
        query_labels=jnp.repeat(labels, queries),
    )


def _shots(key: Array, design: Design) -> Array:
    """Shots of each class [ways]."""
    if design.max_shots is None:
        return jnp.full(design.ways, design.shots)
    coin_key, own_key = jax.random.split(key)
    own = jax.random.randint(own_key, (design.ways,), design.shots, design.max_shots + 1)
    return jnp.where(jax.random.bernoulli(coin_key), own, jnp.broadcast_to(own[:1], own.shape))


@dataclass(frozen=True)
class SupportRisk:
    """Mean cross-entropy of a network with a linear layer on the support; what MAML adapts to."""

    network: ConvNetwork

    def __call__(self, params: PyTree, episode: Episode) -> Array:
        """Risk at ``params``, a scalar."""
        outputs = self.network(params, episode.support, episode.support_weights)
        return _cross_entropy(outputs, episode.support_labels, episode.support_weights)


@dataclass(frozen=True)
class QueryRisk:
    """Mean cross-entropy of a network with a linear layer on the queries; the risk after adaptation."""

    network: ConvNetwork

    def __call__(self, params: PyTree, episode: Episode) -> Array:
        """Risk at ``params``, a scalar."""
        return _cross_entropy(self.network(params, episode.query), episode.query_labels)


@dataclass(frozen=True)
class PrototypicalRisk:
    r"""Mean cross-entropy of softmax(-|z - c_k|^2), z the features of a query and c_k the mean of those of class k."""

    network: ConvNetwork
    ways: int

    def __call__(self, params: PyTree, episode: Episode) -> Array:
        """Risk at ``params``, a scalar."""
        return _cross_entropy(self.scores(params, episode), episode.query_labels)

    def scores(self, params: PyTree, episode: Episode) -> Array:
        """Minus squared distances to the prototypes [Q, ways]."""
        images = jnp.concatenate([episode.support, episode.query])
        weights = jnp.concatenate(
            [episode.support_weights, jnp.ones(len(episode.query), episode.support_weights.dtype)]
        )
        support, query = jnp.split(self.network(params, images, weights), [len(episode.support)])
        member = jax.nn.one_hot(episode.support_labels, self.ways, dtype=support.dtype, axis=0)  # [ways, N]
        member = member * episode.support_weights.astype(support.dtype)[None, :]
        prototypes = member @ support / jnp.sum(member, axis=1, keepdims=True)
        return -jnp.sum((query[:, None, :] - prototypes[None, :, :]) ** 2, axis=-1)


def accuracy(scores: Array, labels: Array) -> Array:
    """Share of rows of scores [Q, ways] whose largest entry is that of the label [Q].

    >>> float(accuracy(jnp.array([[2.0, 1.0], [3.0, 4.0]]), jnp.array([0, 0])))
    0.5
    """
    return jnp.mean((jnp.argmax(scores, axis=-1) == labels).astype(scores.dtype))


def _cross_entropy(scores: Array, labels: Array, weights: Array | None = None) -> Array:
    at_label = jnp.take_along_axis(scores, labels[:, None], axis=1)[:, 0]
    losses = jax.nn.logsumexp(scores, axis=1) - at_label
    if weights is None:
        return jnp.mean(losses)
    return jnp.sum(weights * losses) / jnp.sum(weights)
