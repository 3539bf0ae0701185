"""The notebooks are short scripts without outputs, and every one runs."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

FOLDER = Path(__file__).parent.parent / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.py"))
IDS = [path.stem for path in NOTEBOOKS]
PAPERS = {"toso2024", "musavi2023", "molybog2021", "nguyen2023", "wang2020"}
# Cells that only label axes count as well; a notebook that needs more belongs in the library or in two.
MOST_LINES = {"quickstart": 39}
MOST_SECONDS = 240  # a minute on two free cores; the tests share theirs


def cells(text):
    """(kind, source) of each cell of the percent format."""
    found = []
    for line in text.splitlines():
        if line.startswith("# %%"):
            found.append(["markdown" if "[markdown]" in line else "code", []])
        else:
            found[-1][1].append(line)
    return [(kind, "\n".join(lines).strip()) for kind, lines in found]


def lines_of_code(text):
    code = [source for kind, source in cells(text) if kind == "code"]
    lines = [line.strip() for source in code for line in source.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def test_all_notebooks_are_there():
    assert {
        *PAPERS,
        "quickstart",
        "first_hour",
        "gradients",
        "bring_your_own_system",
        "bayesian_estimation",
        "scale",
    } <= set(IDS)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=IDS)
def test_notebook_is_a_short_readable_script(path):
    text = path.read_text(encoding="utf-8")
    compile(text, path.name, "exec")
    kinds = cells(text)
    assert kinds[0][0] == "markdown"
    assert kinds[0][1].startswith("# # ")
    assert all(line.startswith("#") for kind, source in kinds if kind == "markdown" for line in source.splitlines())
    assert all(source for _, source in kinds)
    assert len(lines_of_code(text)) <= MOST_LINES.get(path.stem, 120)


@pytest.mark.parametrize("path", [path for path in NOTEBOOKS if path.stem in PAPERS], ids=sorted(PAPERS))
def test_a_paper_has_its_errata_and_sliders(path):
    text = path.read_text(encoding="utf-8")
    assert f"docs/papers/{path.stem}/errata.md" in text
    assert "**What it claims.**" in text
    assert "**What we measured.**" in text
    assert "interact(" in text


def test_no_outputs_are_committed():
    assert "*.ipynb" in (FOLDER.parent / ".gitignore").read_text(encoding="utf-8").split()
    assert not list((FOLDER.parent / "docs").rglob("*.ipynb"))


def run_as_script(path, folder):
    environment = os.environ | {"MPLBACKEND": "Agg", "JAX_PLATFORMS": "cpu"}
    finished = subprocess.run(
        [sys.executable, str(path)], cwd=folder, env=environment, capture_output=True, text=True, timeout=MOST_SECONDS
    )
    assert finished.returncode == 0, finished.stderr[-3000:]
    return finished.stdout


def test_quickstart_runs_and_says_what_it_should(tmp_path):
    printed = run_as_script(FOLDER / "quickstart.py", tmp_path)
    assert float(printed.split("gap ")[-1]) < 0.01
    assert not list(tmp_path.iterdir())  # it leaves nothing behind


def test_the_posterior_of_the_tutorial_has_the_gradient_of_differences():
    """The cells before the sampler, which an extra brings."""
    text = (FOLDER / "bayesian_estimation.py").read_text(encoding="utf-8")
    code = [source for kind, source in cells(text) if kind == "code"]
    before = code[: next(k for k, source in enumerate(code) if "minimize(" in source and "import" not in source)]
    space = {}
    exec("\n".join(before), space)
    density, point, step = space["log_density"], space["prior_mean"], 1e-5
    gradient = jax.jit(jax.grad(density))(point)
    directions = jnp.eye(len(point))
    differences = [(density(point + step * e) - density(point - step * e)) / (2 * step) for e in directions]
    np.testing.assert_allclose(gradient, differences, rtol=1e-6, atol=1e-5)  # of differences of numbers of size 1e2
    assert density(space["passive"]) == -np.inf  # many stable solutions


def needs_the_extra():
    if any(importlib.util.find_spec(name) is None for name in ("ipywidgets", "nbclient", "blackjax")):
        pytest.skip("needs pip install 'jaxlqr[notebooks]'")


@pytest.mark.slow
@pytest.mark.parametrize("path", [path for path in NOTEBOOKS if path.stem != "quickstart"], ids=lambda path: path.stem)
def test_notebook_runs_as_a_script(path, tmp_path):
    needs_the_extra()
    run_as_script(path, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=IDS)
def test_notebook_runs_in_a_kernel_and_draws(path, tmp_path):
    needs_the_extra()
    import jupytext
    import nbclient

    notebook = jupytext.read(path)
    nbclient.NotebookClient(notebook, timeout=MOST_SECONDS, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    if path.stem in PAPERS:
        assert any("application/vnd.jupyter.widget-view+json" in output.get("data", {}) for output in outputs)
        # What a slider draws lies in the state of its widget; an error there would not stop the kernel.
        assert "image/png" in str(notebook.metadata["widgets"])
        assert "Traceback" not in str(notebook.metadata["widgets"])


@pytest.mark.slow
def test_the_site_gets_texts_and_figures():
    for module in ("IPython", "jupytext"):
        pytest.importorskip(module)
    script = FOLDER.parent / "docs" / "site" / "execute.py"
    finished = subprocess.run(
        [sys.executable, str(script), str(FOLDER / "quickstart.py")], capture_output=True, text=True, check=True
    )
    outputs = [output for cell in json.loads(finished.stdout.splitlines()[-1]) for output in cell]
    assert any(output.get("text", "").startswith("gain") for output in outputs)
    assert "image/png" in outputs[-1]
