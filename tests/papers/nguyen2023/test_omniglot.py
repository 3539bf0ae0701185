"""Omniglot from archives and folders: classes, splits, published runs, the cache, and what may be wrong with them."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlqr.papers.nguyen2023.drawings import Entry, ink, resize
from jaxlqr.papers.nguyen2023.few_shot import Design, episodes
from jaxlqr.papers.nguyen2023.omniglot import HELD_OUT, digits, omniglot, omniglot_runs, omniglot_split, run_subsets
from tests.papers.nguyen2023.fake_omniglot import (
    REAL,
    SIDE,
    drawings,
    needs_omniglot,
    png,
    runs,
    write_folder,
    write_zip,
)

ONE = {"Greek": 3, "Latin": 2}
TWO = {"Latin": 2, "Sanskrit": 4}


def load(root, **options):
    return omniglot(root, image_size=5, cache=None, **options)


def assert_same(one, two):
    assert one.group_names == two.group_names
    jax.tree.map(np.testing.assert_array_equal, one, two)


@pytest.fixture
def data(tmp_path):
    write_zip(tmp_path / "images_background_small1.zip", drawings(ONE))
    write_zip(tmp_path / "images_background_small2.zip", drawings(TWO))
    write_zip(tmp_path / "all_runs.zip", runs(), inside="")
    return tmp_path


def test_archives_that_share_alphabets_become_one_set_of_classes(data):
    images = load(data)
    assert images.group_names == ("Greek", "Latin", "Sanskrit")
    np.testing.assert_array_equal(images.groups, [0] * 3 + [1] * 2 + [2] * 4)
    np.testing.assert_array_equal(images.counts, 3)
    assert images.pixels.shape == (9, 3, 5, 5)
    assert images.pixels.dtype == jnp.uint8
    content = drawings(TWO)["Sanskrit/character02/0002_03.png"]
    bits = ink(Entry("x", "x", content))
    np.testing.assert_array_equal(images.pixels[6, 2], resize(bits, 5))


def test_same_from_archive_folder_and_the_folder_of_alphabets(tmp_path):
    archive = write_zip(tmp_path / "images_background.zip", drawings(ONE))
    folder = write_folder(tmp_path / "unpacked" / "images_background", drawings(ONE))
    assert_same(load(archive), load(folder))
    assert_same(load(archive), load(folder.parent))
    assert_same(load(archive), load(tmp_path))  # found beside another folder


def test_alphabets_are_chosen_by_name(data):
    images = load(data, alphabets=["Sanskrit", "Greek"])
    assert set(images.group_names) == {"Greek", "Sanskrit"}
    assert images.pixels.shape[0] == 7
    for wrong in (["Klingon"], []):
        with pytest.raises(ValueError, match=r"are not in .*; it holds Greek, Latin, Sanskrit"):
            load(data, alphabets=wrong)


def test_classes_of_unequal_size_are_padded_and_counted(tmp_path):
    files = drawings({"Greek": 2})
    del files["Greek/character01/0001_03.png"]
    images = load(write_zip(tmp_path / "a.zip", files))
    np.testing.assert_array_equal(images.counts, [2, 3])
    assert not np.any(images.pixels[0, 2])
    assert np.any(images.pixels[1, 2])


def test_split_by_names_or_by_the_evaluation_set(data, tmp_path):
    train, test = omniglot_split(data, image_size=5, cache=None)
    assert train.group_names == ("Greek", "Latin")
    assert test.group_names == ("Sanskrit",)
    assert set(test.group_names) <= set(HELD_OUT)
    write_zip(data / "images_evaluation.zip", drawings({"Atlantean": 2}))
    train, test = omniglot_split(data, image_size=5, cache=None)
    assert train.group_names == ("Greek", "Latin", "Sanskrit")
    assert test.group_names == ("Atlantean",)


def test_split_needs_both_sides(tmp_path):
    write_zip(tmp_path / "a.zip", drawings({"Greek": 2}))
    with pytest.raises(ValueError, match="must hold alphabets to train on and others to test on, got Greek"):
        omniglot_split(tmp_path / "a.zip", cache=None)


def test_archives_that_disagree_are_refused(data):
    files = drawings(TWO) | {"Latin/character01/0001_01.png": png(np.eye(SIDE))}
    write_zip(data / "images_background_small2.zip", files)
    with pytest.raises(ValueError, match=r"small2.*Latin/character01/0001_01.png differs from the same drawing"):
        load(data)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"readme.txt": b"hello"}, "holds no alphabets; expected images_background"),
        ({"Greek/0001_01.png": png(np.eye(4))}, "holds no alphabets"),
        (drawings({"Greek": 1}) | {"Greek/character02/0002_01.png": png(np.eye(4))}, "all be square and of one size"),
        ({"Greek/character01/0001_01.png": png(np.zeros((4, 5)))}, "all be square and of one size"),
        ({"Greek/character01/0001_01.png": b"broken"}, r"Greek/character01/0001_01\.png is not a readable PNG"),
    ],
    ids=["nothing", "no characters", "two sizes", "not square", "broken"],
)
@pytest.mark.parametrize("write", [lambda f, files: write_zip(f / "images_x.zip", files), write_folder])
def test_what_is_wrong_with_the_data_is_named(tmp_path, files, message, write):
    write(tmp_path, files)
    with pytest.raises(ValueError, match=message):
        load(tmp_path)


def test_missing_and_truncated_data_are_named(data):
    with pytest.raises(ValueError, match="does not exist"):
        load(data / "absent")
    path = data / "images_background_small2.zip"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ValueError, match=r"small2\.zip cannot be read as a zip archive; it is truncated"):
        load(data)


@pytest.mark.parametrize("size", [0, -1, 2.0, True, None])
def test_image_size_must_be_a_positive_integer(data, size):
    with pytest.raises(ValueError, match="image_size must be a positive integer"):
        omniglot(data, image_size=size, cache=None)


def test_cache_holds_packed_bits_and_spares_the_decoding(data, tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    first = omniglot(data, image_size=7, cache=cache)
    (path,) = cache.iterdir()
    with np.load(path) as stored:
        assert stored["packed"].dtype == np.uint8
        assert stored["packed"].shape == (27, -(-SIDE * SIDE // 8))

    def no_more(entry):
        raise AssertionError("decoded again")

    monkeypatch.setattr(sys.modules["jaxlqr.papers.nguyen2023.drawings"], "ink", no_more)
    assert_same(omniglot(data, image_size=7, cache=cache), first)
    assert_same(omniglot(data, image_size=7, cache=cache, alphabets=["Greek", "Latin", "Sanskrit"]), first)
    monkeypatch.undo()
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.warns(RuntimeWarning, match="is damaged: .* made again"):
        assert_same(omniglot(data, image_size=7, cache=cache), first)
    write_zip(data / "images_background_small2.zip", drawings({"Latin": 2, "Sanskrit": 5}))
    assert omniglot(data, image_size=7, cache=cache).pixels.shape[0] == 10
    assert len(list(cache.iterdir())) == 2


def test_cache_of_the_user_is_the_default(data, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    omniglot(data, image_size=5)
    assert len(list((tmp_path / "xdg" / "jaxlqr").iterdir())) == 1


def test_published_runs_are_episodes_with_their_answers(data):
    stack = omniglot_runs(data, image_size=SIDE)
    assert stack.support.shape == (2, 4, SIDE, SIDE)
    assert_same_answers(stack)
    assert not np.array_equal(stack.query_labels[0], stack.query_labels[1])
    unpacked = write_folder(data / "elsewhere" / "all_runs", runs())
    jax.tree.map(np.testing.assert_array_equal, omniglot_runs(unpacked, image_size=SIDE), stack)


def assert_same_answers(stack):
    """In the small runs the item is the drawing of its class, one pixel changed."""
    for support, query, labels in zip(stack.support, stack.query, stack.query_labels, strict=True):
        differences = np.sum(np.asarray(query) != np.asarray(support)[labels], axis=(1, 2))
        np.testing.assert_array_equal(differences, 1)


@pytest.mark.parametrize("lost", ["run02/class_labels.txt", "run02/test/item03.png", "run02/training/class01.png"])
def test_incomplete_runs_are_named(tmp_path, lost):
    files = runs()
    del files[lost]
    write_zip(tmp_path / "all_runs.zip", files, inside="")
    with pytest.raises(ValueError, match=r"the published run02 is incomplete: [34] classes, [34] items, [04] answers"):
        omniglot_runs(tmp_path)


def test_runs_that_are_not_there_or_not_alike(tmp_path):
    with pytest.raises(ValueError, match="no published runs are in"):
        omniglot_runs(tmp_path)
    files = runs(1) | {name.replace("run01", "run02"): content for name, content in runs(1, 3).items()}
    files["run02/class_labels.txt"] = files["run02/class_labels.txt"].replace(b"run01", b"run02")
    write_zip(tmp_path / "all_runs.zip", files, inside="")
    with pytest.raises(ValueError, match="same number of classes"):
        omniglot_runs(tmp_path)


def test_tasks_from_the_runs_keep_drawing_and_answer_together(data):
    whole = omniglot_runs(data, image_size=SIDE)
    subsets = run_subsets(jax.random.key(0), whole, 3, 50)
    assert subsets.support.shape == (50, 3, SIDE, SIDE)
    assert_same_answers(subsets)
    again = run_subsets(jax.random.key(0), whole, 3, 50)
    jax.tree.map(np.testing.assert_array_equal, subsets, again)
    firsts = {bytes(np.asarray(one[0])) for one in subsets.support}
    assert len(firsts) == 8  # each drawing of both runs comes first sometimes
    for ways in (1, 5):
        with pytest.raises(ValueError, match="ways must be between 2 and the 4 classes"):
            run_subsets(jax.random.key(0), whole, ways, 1)


def test_digits_are_real_drawings_of_disjoint_classes():
    train, test = digits()
    assert train.pixels.shape[0] == test.pixels.shape[0] == 5
    assert train.side == 8
    assert int(jnp.sum(train.counts) + jnp.sum(test.counts)) == 1797
    nothing = np.asarray(train.pixels[0, int(train.counts[0]) :])
    assert not np.any(nothing)
    assert int(train.pixels.max()) == 255
    # Means of the classes tell drawings of digits apart, so these are digits and not noise.
    stack = episodes(jax.random.key(0), test, Design(5, 20, 20))
    means = stack.support.reshape(5, 20, 64).astype(float).mean(axis=1)
    distances = jnp.linalg.norm(stack.query.reshape(-1, 1, 64).astype(float) - means[None], axis=-1)
    assert float(jnp.mean(jnp.argmin(distances, axis=1) == stack.query_labels)) > 0.8


def test_digits_without_scikit_learn_say_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ValueError, match=r"give the folder of the Omniglot files, or install jaxlqr\[images\]"):
        digits()


@needs_omniglot
def test_the_published_subset():
    images = omniglot(REAL, cache=None)
    assert len(images.group_names) == 8
    assert images.pixels.shape == (242, 20, 16, 16)
    np.testing.assert_array_equal(images.counts, 20)
    train, test = omniglot_split(REAL, cache=None)
    assert train.group_names == ("Balinese", "Early_Aramaic", "Greek", "Korean", "Latin")
    assert test.group_names == HELD_OUT
    assert (train.pixels.shape[0], test.pixels.shape[0]) == (136, 106)
    assert 0.02 < float(jnp.mean(images.pixels)) / 255 < 0.1  # ink is dark, and there is little of it


@needs_omniglot
def test_the_published_runs():
    stack = omniglot_runs(REAL, image_size=28)
    assert stack.support.shape == stack.query.shape == (20, 20, 28, 28)
    for labels in stack.query_labels:
        np.testing.assert_array_equal(np.sort(labels), np.arange(20))
    # Nearest neighbours in pixels are right more often than chance, 5 %, and far from always.
    flat = stack.support.reshape(20, 20, -1).astype(float), stack.query.reshape(20, 20, -1).astype(float)
    distances = jnp.linalg.norm(flat[1][:, :, None] - flat[0][:, None], axis=-1)
    right = float(jnp.mean(jnp.argmin(distances, axis=-1) == stack.query_labels))
    assert 0.15 < right < 0.6
