"""Task weights on images: what is compared is paired, what was run is kept, and what is told is what was found."""

import json
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlqr.cli import main
from jaxlqr.meta.adapted import AdaptedLoss
from jaxlqr.papers.nguyen2023 import images, images_part, images_study
from jaxlqr.papers.nguyen2023.few_shot import Design, ImageClasses, QueryRisk, SupportRisk, accuracy, episodes
from jaxlqr.papers.nguyen2023.images import NUM_TASKS, STRETCH, Learner, examine, start, stretch
from jaxlqr.papers.nguyen2023.images_study import ImagesPlan, Setting, load
from jaxlqr.papers.nguyen2023.omniglot import digits
from tests.meta.test_gram_weighting import sizes
from tests.papers.nguyen2023.fake_omniglot import REAL, drawings, needs_omniglot, runs, write_zip
from tests.pictures import coloured_pixels
from tests.test_cli_bad_input import assert_one_sentence, tree

WEIGHTS = jnp.asarray(np.random.default_rng(0).uniform(0, 0.3, size=(STRETCH, NUM_TASKS)))
ENOUGH = {"Greek": 6, "Sanskrit": 5}


def changed(control):
    change = images._CHANGES[images.CONTROLS.index(control)]
    return np.asarray(change(WEIGHTS, jax.random.key(0)))


def test_controls_keep_what_they_say():
    sums = np.sum(WEIGHTS, axis=1)
    np.testing.assert_allclose(changed("normalised") * sums[:, None], WEIGHTS, rtol=1e-14)
    np.testing.assert_allclose(changed("normalised").sum(axis=1), 1, rtol=1e-14)
    np.testing.assert_allclose(changed("sums"), np.tile(sums[:, None] / NUM_TASKS, (1, NUM_TASKS)), rtol=1e-14)
    np.testing.assert_array_equal(np.sort(changed("permuted"), axis=1), np.sort(WEIGHTS, axis=1))
    assert not np.array_equal(changed("permuted"), WEIGHTS)
    small = np.asarray(WEIGHTS) <= 0.2
    np.testing.assert_allclose((changed("flipped") + WEIGHTS)[small], 0.2, rtol=1e-14)
    assert np.all(changed("flipped")[~small] == 0)


# A run that takes no time: its results are made up, so that keeping, telling and drawing can be seen alone.


def made_up(plan, setting, rule, seed, warmed):
    CALLS.append((setting.kind, rule, seed))
    rng = np.random.default_rng([seed, len(rule)])
    columns = 5 if setting.kind == "maml" else 1
    updates = setting.num_chunks * images_study.CHUNK * STRETCH * (2 if "twice" in rule else 1)
    entries = 1 + updates // (images_study.CHUNK * STRETCH)
    return {
        "accuracy": rng.uniform(0.4, 0.6, size=(plan.num_test, columns)).astype(np.float32),
        "curve": rng.uniform(size=entries),
        "seconds": np.arange(float(entries)),
        "losses": rng.uniform(size=updates),
        "weights": rng.uniform(size=(updates, NUM_TASKS)),
    }


CALLS = []


@pytest.fixture
def without_training(monkeypatch):
    CALLS.clear()
    monkeypatch.setattr(images_study, "_run", made_up)


SETTING = Setting("maml", Design(), 1, ("uniform", "tow, beta 10"))


def plan_in(folder, **changes):
    train, test = digits()
    data = images_study.ImageData(train, test, None, "digits")
    return ImagesPlan(data, {"maml, 1 shot": SETTING}, 2, 0, 10, 5, folder)._replace(**changes)


def test_finished_runs_are_kept_and_others_run(tmp_path, without_training):
    found = images_study.study(plan_in(tmp_path), progress=False)
    assert len(CALLS) == 4
    assert found["maml, 1 shot"]["uniform"]["accuracy"].shape == (2, 10, 5)
    again = images_study.study(plan_in(tmp_path, num_seeds=3), progress=False)
    assert CALLS[4:] == [("maml", "uniform", 2), ("maml", "tow, beta 10", 2)]
    for rule, rows in found["maml, 1 shot"].items():
        np.testing.assert_array_equal(again["maml, 1 shot"][rule]["weights"][:2], rows["weights"])
    broken = next(tmp_path.glob("*uniform_0-*.npz"))
    broken.write_bytes(broken.read_bytes()[:100])
    with pytest.warns(RuntimeWarning, match="is damaged: .* made again"):
        images_study.study(plan_in(tmp_path), progress=False)
    assert CALLS[6:] == [("maml", "uniform", 0)]
    images_study.study(plan_in(tmp_path, num_test=11), progress=False)  # another exam is another run
    assert len(CALLS) == 11
    images_study.study(plan_in(None), progress=False)  # nowhere to keep them
    assert len(CALLS) == 15


def test_the_best_step_is_the_one_whose_curves_end_highest():
    ends = {"uniform": 0.5, "uniform, double the step": 0.7, "uniform, 8 times the step": 0.6, "exploration": 0.9}
    rules = {rule: {"curve": np.array([[0.2, end], [0.2, end]])} for rule, end in ends.items()}
    assert images_study.best_length(rules, "uniform") == "uniform, double the step"
    assert images_study.best_length(rules, "exploration") == "exploration"


def test_the_length_of_a_step_is_that_of_the_change():
    _, update = images.optimizer()
    learner = Learner("proto", Design(5, 1, 5), 8)
    gradient = jax.tree.map(jnp.ones_like, learner.network.init(jax.random.key(0)))
    changes = {}
    for rule in ("uniform", "tow, beta 10, half the step", "uniform, 4 times the step"):
        state = start(learner, jax.random.key(0), images_study.length_of(rule))
        changes[rule], (_, length) = update(gradient, state.memory, state.params)
        assert length == images_study.length_of(rule)
    plain, half, longer = (jax.tree.leaves(change) for change in changes.values())
    for one, small, large in zip(plain, half, longer, strict=True):
        assert float(jnp.max(jnp.abs(one))) > 1e-4
        np.testing.assert_array_equal(small, one / 2)
        np.testing.assert_array_equal(large, 4 * one)


def test_what_is_told_is_the_mean_and_the_paired_difference_over_seeds():
    rng = np.random.default_rng(0)
    reference, rule = (
        {
            "accuracy": rng.uniform(size=(5, 50, 2)),
            "runs_accuracy": rng.uniform(size=(5, 20, 2)),
            "curve": np.zeros((5, 4)),
            "seconds": rng.uniform(size=(5, 4)),
            "weights": rng.uniform(size=(5, 300, NUM_TASKS)),
        }
        for _ in range(2)
    )
    told = images_part.tell(rule, reference, rule)
    by_seed, other = (100 * rows["accuracy"][:, :, 1].mean(axis=1) for rows in (rule, reference))
    half = 2.7764451 * (by_seed - other).std(ddof=1) / np.sqrt(5)  # Student's t, four degrees of freedom
    ahead = told["ahead_of_uniform"]
    np.testing.assert_allclose(ahead["mean"], (by_seed - other).mean(), rtol=1e-12)
    np.testing.assert_allclose([ahead["high"] - ahead["mean"], ahead["mean"] - ahead["low"]], half, rtol=1e-3)
    np.testing.assert_allclose(told["accuracy"]["mean"], by_seed.mean())
    np.testing.assert_allclose(told["accuracy_by_inner_steps"], 100 * rule["accuracy"].mean(axis=(0, 1)))
    np.testing.assert_allclose(told["runs_accuracy"]["mean"], 100 * rule["runs_accuracy"][:, :, 1].mean())
    over_tasks = 100 * rule["accuracy"][:, :, 1].mean(axis=0)
    np.testing.assert_allclose(told["half_width_over_tasks"], 1.96 * over_tasks.std(ddof=1) / np.sqrt(50))
    assert told["updates"] == 300
    assert told["seconds"] == np.median(rule["seconds"][:, -1])
    assert abs(told["ahead_of_best_uniform"]["high"]) < 1e-12
    assert abs(images_part.tell(reference, reference, rule)["ahead_of_uniform"]["high"]) < 1e-12
    other = images_part.tell(reference, reference, rule)["ahead_of_best_uniform"]
    np.testing.assert_allclose([other["mean"], other["low"]], [-ahead["mean"], -ahead["high"]], rtol=1e-12)


def test_command_says_what_it_used_and_writes_all(tmp_path, without_training, capsys):
    assert main(["reproduce", "nguyen2023", "--part", "images", "--quick", "--out", str(tmp_path)]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "handwritten digits of scikit-learn, since no folder of Omniglot was given" in printed
    summary = json.loads((tmp_path / "summary.json").read_text())["images"]
    assert summary["data"].startswith("handwritten digits")
    assert summary["num_test_tasks"] == images_study.QUICK_TEST
    assert summary["results"].keys() == images_study.QUICK_SETTINGS.keys()
    assert {path.name for path in tmp_path.iterdir()} == {"summary.json", "tow_images.png", "tow_images.npz",
                                                          "images_runs"}  # fmt: skip
    assert coloured_pixels(tmp_path / "tow_images.png") > 1000


def test_figure_and_tables_of_the_whole_study(without_training):
    plan = plan_in(None, settings=images_study.SETTINGS)
    outcome = images_part._run(plan, progress=False)
    axes = outcome.figures["tow_images.png"].axes
    assert len(axes) == 6
    assert all(ax.lines for ax in axes)
    assert [len(table.rows) for table in outcome.tables] == [len(of.rules) for of in images_study.SETTINGS.values()]
    arrays = outcome.arrays["tow_images.npz"]
    assert arrays["proto_any_shot_tow_beta_10_accuracy"].shape == (2, 10, 1)


def test_one_seed_has_no_interval(without_training):
    plan = plan_in(None, num_seeds=1, settings=images_study.QUICK_SETTINGS)
    outcome = images_part._run(plan, progress=False)
    cells = [str(cell) for column in outcome.tables[0].columns for cell in column.cells]
    assert not any("±" in cell or "nan" in cell for cell in cells)


# The data.


def write_data(folder, alphabets=ENOUGH, **options):
    write_zip(folder / "images_background.zip", drawings(alphabets, **{"count": 10} | options))
    return folder


def test_data_with_and_without_published_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    data = load(write_data(tmp_path))
    assert data.runs is None
    assert data.source == "Omniglot, trained on Greek; tested on Sanskrit"
    write_zip(tmp_path / "all_runs.zip", runs(2, 5), inside="")
    with_runs = load(tmp_path).runs
    assert with_runs is not None
    assert with_runs.support.shape == (2, 5, 16, 16)
    files = runs(2, 5)
    del files["run01/class_labels.txt"]
    write_zip(tmp_path / "all_runs.zip", files, inside="")
    with pytest.raises(ValueError, match="run01 is incomplete"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda f: None, "holds no alphabets"),
        (lambda f: write_data(f, {"Greek": 4, "Sanskrit": 5}), "5 classes were asked for, but the largest .* only 4"),
        (lambda f: write_data(f, {"Greek": 6, "Sanskrit": 3}), "5 classes were asked for, but the largest .* only 3"),
        (lambda f: write_data(f, count=9), "5 shots and 5 queries need 10 drawings of a class, .* only 9"),
        (lambda f: write_data(f, {"Greek": 6}), "must hold alphabets to train on and others to test on"),
        (lambda f: (f / "all_runs.zip").write_bytes(write_data(f).name.encode()), "all_runs.zip cannot be read"),
    ],
    ids=["nothing", "few classes", "few test classes", "few drawings", "one side", "broken runs"],
)
def test_bad_data_cost_one_sentence_and_no_training(prepare, message, tmp_path, monkeypatch, capsys, without_training):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "data").mkdir()
    prepare(tmp_path / "data")
    before = tree(tmp_path / "data")
    arguments = ["--part", "images", "--data", str(tmp_path / "data"), "--out", str(tmp_path / "out")]
    assert main(["reproduce", "nguyen2023", *arguments]) == 2
    assert_one_sentence(capsys.readouterr(), message)
    assert tree(tmp_path / "data") == before
    assert not (tmp_path / "out").exists()
    assert not CALLS


def test_missing_folder_costs_one_sentence(tmp_path, capsys):
    arguments = ["--part", "images", "--data", str(tmp_path / "absent"), "--out", str(tmp_path / "out")]
    assert main(["reproduce", "nguyen2023", *arguments]) == 2
    assert_one_sentence(capsys.readouterr(), "the data folder .*absent does not exist")


# The learners, on digits.


def one_stretch(learner, train, number=0):
    return jax.jit(partial(stretch, learner))(jax.random.key(1), train, jnp.asarray(number))


@pytest.mark.slow
def test_rules_meet_the_same_episodes_and_weigh_them_as_they_say():
    train, _ = digits()
    learner = Learner("proto", Design(5, 1, 5), 8)
    state = start(learner, jax.random.key(0))
    key, first = jax.random.key(1), jnp.asarray(0)
    found = {
        rule: images.train_myopic(learner, state, key, train, first, jnp.asarray(number), count=1)[1]
        for number, rule in enumerate(images.MYOPIC)
    }
    batch = one_stretch(learner, train)
    losses = jax.vmap(partial(learner.loss, state.params))(jax.tree.map(lambda leaf: leaf[0], batch))
    for rule, history in found.items():
        np.testing.assert_allclose(history.losses[0], jnp.mean(losses), rtol=1e-12)
        np.testing.assert_allclose(jnp.mean(history.weights, axis=1), 1, rtol=1e-12)
        order = np.corrcoef(losses, history.weights[0])[0, 1] if rule != "uniform" else 0
        assert {"uniform": order == 0, "exploration": order > 0.9, "exploitation": order < -0.9}[rule]
    # TOW begins from the same state with the same episodes, and its controls change the weights it would use.
    beta = jnp.asarray(10.0)
    _, plain = images.train_tow(learner, state, key, train, first, beta, count=1)
    assert float(jnp.std(plain.weights)) > 1e-3
    np.testing.assert_allclose(plain.weights[-1], 1, rtol=1e-12)  # the last weights never matter
    for number, control in enumerate(images.CONTROLS):
        _, history = images.train_control(learner, state, key, train, first, beta, jnp.asarray(number), count=1)
        order_key = jax.random.fold_in(jax.random.fold_in(key, 0), 1)
        wanted = images._CHANGES[number](plain.weights / NUM_TASKS, order_key) * NUM_TASKS
        np.testing.assert_allclose(history.weights, wanted, rtol=1e-10, err_msg=control)
        np.testing.assert_allclose(history.losses[0], jnp.mean(losses), rtol=1e-12)


def test_memory_on_images_is_linear_in_the_parameters():
    learner = Learner("maml", Design(5, 1, 5), 16)
    state = jax.eval_shape(partial(start, learner), jax.random.key(0))
    pixels = jnp.zeros((5, 10, 16, 16), jnp.uint8)
    classes = ImageClasses(pixels=pixels, counts=jnp.full(5, 10), groups=jnp.zeros(5, int), group_names=("none",))
    batch = jax.eval_shape(partial(stretch, learner), jax.random.key(0), classes, jnp.asarray(0))
    traced = jax.make_jaxpr(partial(images._tow, learner))(state, batch, jnp.asarray(10.0))
    num_params, largest = learner.network.num_params, max(sizes(traced.jaxpr))
    rows = STRETCH * NUM_TASKS * 9 * images.CHANNELS * images.CHANNELS  # those of one kernel, the largest array of rows
    pixels_of_a_task = (5 + 25) * 16 * 16
    assert rows <= largest <= STRETCH * NUM_TASKS * (num_params + pixels_of_a_task)
    assert largest < num_params**2 / 50


@pytest.mark.slow
def test_examination_counts_right_answers_after_each_inner_step():
    _, test = digits()
    tasks = episodes(jax.random.key(0), test, Design(5, 1, 5), (3,))
    learner = Learner("maml", Design(5, 1, 5), 8)
    params = start(learner, jax.random.key(0)).params
    found = examine(learner, params, tasks)
    assert found.shape == (3, images.MOST_INNER_STEPS)
    network = learner.network
    for number in range(3):
        task = jax.tree.map(lambda leaf: leaf[number], tasks)  # noqa: B023
        for steps in (1, 5):
            loss = AdaptedLoss(QueryRisk(network), SupportRisk(network), images.INNER_STEP, steps)
            scores = network(loss.adapted(params, task), task.query)
            np.testing.assert_allclose(found[number, steps - 1], accuracy(scores, task.query_labels), rtol=1e-12)


@pytest.mark.slow
def test_the_quick_study_learns_digits(tmp_path):
    arguments = ["--part", "images", "--quick", "--seeds", "1", "--out", str(tmp_path)]
    assert main(["reproduce", "nguyen2023", *arguments]) == 0
    results = json.loads((tmp_path / "summary.json").read_text())["images"]["results"]
    for name, rules in results.items():
        for rule, told in rules.items():
            assert told["accuracy"]["mean"] > 30, (name, rule)  # by chance 20
        assert rules["tow, beta 10"]["weights_over_uniform"]["spread"] > 1e-3
        assert rules["uniform"]["weights_over_uniform"]["spread"] < 1e-12


@pytest.mark.slow
@needs_omniglot
def test_the_quick_study_learns_characters_and_passes_the_published_exam(tmp_path):
    arguments = ["--part", "images", "--quick", "--seeds", "1", "--data", str(REAL), "--out", str(tmp_path)]
    assert main(["reproduce", "nguyen2023", *arguments]) == 0
    summary = json.loads((tmp_path / "summary.json").read_text())["images"]
    assert "tested on Japanese_(katakana), Sanskrit, Tagalog" in summary["data"]
    for rules in summary["results"].values():
        assert rules["uniform"]["accuracy"]["mean"] > 28
        assert rules["uniform"]["runs_accuracy"]["mean"] > 28
