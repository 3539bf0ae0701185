"""Characters of many alphabets, drawn by twenty people each (Omniglot), and digits for those who have not got them."""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxlqr.papers.nguyen2023.drawings import (
    Cache,
    Pixels,
    find_sources,
    fingerprint,
    read_entries,
    resize,
    user_cache,
)
from jaxlqr.papers.nguyen2023.few_shot import Episode, ImageClasses

#: Held-out alphabets, for data without an evaluation set.
HELD_OUT = ("Japanese_(katakana)", "Sanskrit", "Tagalog")
_DRAWING = re.compile(r"(?:^|/)([^/]+)/(character\d+)/(\d+_\d+)\.png$")
_RUN_FILE = re.compile(r"(?:^|/)(run\d+)/(?:(training|test)/)?([^/]+\.png|class_labels\.txt)$")
_SOURCES = r"(?i)(images_.*|omniglot.*|python)"
_RUNS = r"(?i)all_runs(\.zip)?"


class _Drawings(NamedTuple):
    """Bits [drawings, n, n], alphabet and character of each, and whether it is for evaluation, sorted."""

    bits: np.ndarray
    alphabets: np.ndarray
    characters: np.ndarray
    evaluation: np.ndarray


def omniglot(
    root: str | Path,
    *,
    alphabets: Sequence[str] | None = None,
    image_size: int = 16,
    cache: str | Path | None = "user",
) -> ImageClasses:
    """Characters from the Omniglot files in ``root``, resized, one class each, grouped by alphabet.

    Arguments:
        root: a folder with the original archives (``images_background.zip``, ``images_background_small1.zip``, ...) or
            with their content unpacked; or one archive; or a folder of alphabets. Archives that share alphabets must
            agree to the byte.
        alphabets: their names; all unless given.
        image_size: side of the images; each pixel holds the share of ink in its part of the drawing, 0 to 255.
        cache: folder for the drawings packed to bits, so that the PNGs are decoded once; ``"user"`` for the user's own,
            None for none. A digest of the sources identifies the stored drawings, and they are checked when they are
            read.

    Raises:
        ValueError: if ``root`` is missing, an archive is truncated or has paths outside itself, no drawing is found, an
            alphabet is unknown, or a drawing cannot be read.

    Source: Lake, Salakhutdinov, Tenenbaum, Science 2015; with the folders of its published data.
    """
    drawings = _load(root, cache)
    names = sorted(set(drawings.alphabets.tolist()))
    chosen = names if alphabets is None else list(alphabets)
    unknown = [name for name in chosen if name not in names]
    if unknown or not chosen:
        raise ValueError(f"alphabets {unknown or chosen} are not in {root}; it holds {', '.join(names)}.")
    return _classes(drawings, chosen, image_size)


def omniglot_split(
    root: str | Path, *, image_size: int = 16, cache: str | Path | None = "user"
) -> tuple[ImageClasses, ImageClasses]:
    """Characters to train on and characters of other alphabets to test on, as :func:`omniglot`.

    If some files are in an archive or folder named for evaluation, as in the whole of Omniglot, their alphabets are the
    test. Otherwise ``HELD_OUT`` are, so that from the two small background sets five alphabets remain to train on.
    """
    drawings = _load(root, cache)
    names = sorted(set(drawings.alphabets.tolist()))
    evaluation = sorted(set(drawings.alphabets[drawings.evaluation].tolist()))
    test = evaluation or [name for name in HELD_OUT if name in names]
    train = [name for name in names if name not in test]
    if not test or not train:
        raise ValueError(
            f"{root} must hold alphabets to train on and others to test on, got {', '.join(names)}; those held out are "
            f"{', '.join(HELD_OUT)}, unless there is an evaluation set."
        )
    return _classes(drawings, train, image_size), _classes(drawings, test, image_size)


def omniglot_runs(root: str | Path, *, image_size: int = 16) -> Episode:
    """The published one-shot classification runs, ``all_runs.zip`` or its folder: a stack of 20-way episodes.

    One drawing of each class and one query of each; queries are drawn by another person than the support.

    Raises:
        ValueError: when there are none in ``root``, or one is incomplete.
    """
    files: dict[str, dict[str, object]] = {}
    pixels = Pixels()
    for source in find_sources(root, _RUNS):
        for entry in read_entries(source, _RUN_FILE):
            found = _RUN_FILE.search(str(entry.path))
            assert found is not None  # it was selected by this pattern
            run, part, name = found.groups()
            content = entry.content.decode(errors="replace") if part is None else pixels.add(entry)
            files.setdefault(run, {})[name if part is None else f"{part}/{name}"] = content
    if not files:
        raise ValueError(f"no published runs are in {root}; they come as all_runs.zip.")
    parts = [_run(name, of, image_size) for name, of in sorted(files.items())]
    if len({part.support.shape for part in parts}) != 1:
        raise ValueError(f"the published runs in {root} must all have the same number of classes.")
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *parts)


def _run(name: str, files: dict[str, object], image_size: int) -> Episode:
    classes = sorted(key for key in files if key.startswith("training/"))
    items = sorted(key for key in files if key.startswith("test/"))
    lines = [line.split() for line in str(files.get("class_labels.txt", "")).splitlines() if line.strip()]
    try:
        answers = {test.split("/", 1)[1]: training.split("/", 1)[1] for test, training in lines}
        labels = [classes.index(answers[item]) for item in items]
        if not len(classes) == len(items) == len(answers):
            raise ValueError
        support, query = (np.stack([np.asarray(files[key]) for key in keys]) for keys in (classes, items))
    except (KeyError, ValueError, IndexError):
        raise ValueError(
            f"the published {name} is incomplete: {len(classes)} classes, {len(items)} items, {len(lines)} answers."
        ) from None
    return Episode(
        support=jnp.asarray(resize(support, image_size)),
        support_labels=jnp.arange(len(classes), dtype=jnp.int32),
        support_weights=jnp.ones(len(classes)),
        query=jnp.asarray(resize(query, image_size)),
        query_labels=jnp.asarray(labels, jnp.int32),
    )


def digits() -> tuple[ImageClasses, ImageClasses]:
    """Handwritten digits 0 to 4 to train on and 5 to 9 to test on, 8 x 8 pixels, from scikit-learn: a stand-in for
    those who have not got Omniglot, with five classes on either side.

    Raises:
        ValueError: when scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise ValueError(
            "without the Omniglot files the handwritten digits of scikit-learn are used, but it is not installed; give "
            "the folder of the Omniglot files, or install jaxlqr[images]."
        ) from None
    loaded: Any = load_digits()  # a Bunch by default, not a tuple
    images, labels = np.rint(loaded.images * (255 / 16)).astype(np.uint8), np.asarray(loaded.target)
    groups = (("digits 0 to 4", range(5)), ("digits 5 to 9", range(5, 10)))
    train, test = (_stack([images[labels == digit] for digit in which], [name] * 5) for name, which in groups)
    return train, test


def _load(root: str | Path, cache: str | Path | None) -> _Drawings:
    sources = find_sources(root, _SOURCES)
    folder = user_cache() if cache == "user" else None if cache is None else Path(cache)
    stored, key = None if folder is None else Cache(folder), f"omniglot-{fingerprint(sources)}"
    kept = None if stored is None else stored.get(key)
    if kept is not None and set(kept) == {"packed", "side", *_Drawings._fields[1:]}:
        side = int(kept.pop("side"))
        bits = np.unpackbits(kept.pop("packed"), axis=1, count=side * side).astype(bool)
        return _Drawings(bits.reshape(-1, side, side), **kept)
    drawings = _read(root, sources)
    if stored is not None:
        side = drawings.bits.shape[-1]
        packed = np.packbits(drawings.bits.reshape(-1, side * side), axis=1)
        stored.put(key, {"packed": packed, "side": np.array(side), **_without_bits(drawings)})
    return drawings


def _without_bits(drawings: _Drawings) -> dict[str, np.ndarray]:
    return {name: value for name, value in drawings._asdict().items() if name != "bits"}


def _read(root: str | Path, sources: list[Path]) -> _Drawings:
    contents: dict[tuple[str, str, str], bytes] = {}  # digests: the drawings themselves may be large
    pixels = Pixels()
    rows: dict[tuple[str, str, str], tuple[np.ndarray, bool]] = {}
    for source in sources:
        for entry in read_entries(source, _DRAWING):
            found = _DRAWING.search(str(entry.path))
            assert found is not None  # it was selected by this pattern
            alphabet, character, drawing = found.groups()
            key = (alphabet, character, drawing)
            content = hashlib.sha256(entry.content).digest()
            if key in contents:
                if contents[key] != content:
                    raise ValueError(f"{source}: {entry.path} differs from the same drawing in another archive.")
                continue
            contents[key] = content
            rows[key] = (pixels.add(entry), "evaluation" in f"{source.name}/{entry.path}")
    if not rows:
        raise ValueError(
            f"{root} holds no alphabets; expected images_background*.zip, or folders alphabet/character01/0001_01.png."
        )
    shapes = {bits.shape for bits, _ in rows.values()}
    if len(shapes) != 1 or len(set(*shapes)) != 1:
        raise ValueError(f"the drawings in {root} must all be square and of one size, got {sorted(shapes)[:4]}.")
    keys = sorted(rows)
    return _Drawings(
        np.stack([rows[key][0] for key in keys]),
        np.array([key[0] for key in keys]),
        np.array([f"{key[0]}/{key[1]}" for key in keys]),
        np.array([rows[key][1] for key in keys]),
    )


def _classes(drawings: _Drawings, alphabets: Sequence[str], image_size: int) -> ImageClasses:
    if isinstance(image_size, bool) or not isinstance(image_size, int | np.integer) or image_size < 1:
        raise ValueError(f"image_size must be a positive integer, got {image_size!r}.")
    taken = np.isin(drawings.alphabets, list(alphabets))
    pixels = resize(drawings.bits[taken], image_size)
    characters = drawings.characters[taken]
    _, first = np.unique(characters, return_index=True)
    names = drawings.alphabets[taken][np.sort(first)].tolist()
    return _stack(np.split(pixels, np.sort(first)[1:]), names)


def _stack(classes: list[np.ndarray], groups: list[str]) -> ImageClasses:
    """Classes of unequal numbers of drawings [drawings, n, n], padded to one array."""
    most = max(len(drawings) for drawings in classes)
    padded = [np.pad(drawings, ((0, most - len(drawings)), (0, 0), (0, 0))) for drawings in classes]
    names = tuple(dict.fromkeys(groups))
    return ImageClasses(
        pixels=jnp.asarray(np.stack(padded)),
        counts=jnp.asarray([len(drawings) for drawings in classes]),
        groups=jnp.asarray([names.index(group) for group in groups]),
        group_names=names,
    )


def run_subsets(key: Array, runs: Episode, ways: int, count: int) -> Episode:
    """Stack of ``count`` episodes of ``ways`` classes, each from one of the published runs, chosen at random.

    For networks whose linear layer has fewer outputs than a run has classes.
    """
    num_runs, num_classes = runs.query_labels.shape
    if not 2 <= ways <= num_classes:
        raise ValueError(f"ways must be between 2 and the {num_classes} classes of a run, got {ways}.")

    def one(one_key: Array) -> Episode:
        run_key, class_key = jax.random.split(one_key)
        run = jax.tree.map(lambda leaf: leaf[jax.random.randint(run_key, (), 0, num_runs)], runs)
        chosen = jax.random.permutation(class_key, num_classes)[:ways]
        place = jnp.argsort(run.query_labels)[chosen]  # the one query of each class
        labels = jnp.arange(ways, dtype=jnp.int32)
        return Episode(run.support[chosen], labels, run.support_weights[chosen], run.query[place], labels)

    return jax.vmap(one)(jax.random.split(key, count))
