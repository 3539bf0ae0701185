"""The documentation: examples run, every public name has a place in the reference, every page is in the navigation."""

import ast
import importlib
import inspect
import re
import runpy
from pathlib import Path

import matplotlib
import pytest

import jaxlqr
from jaxlqr.core.optional import is_installed

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PACKAGE = Path(jaxlqr.__file__).parent
#: Pages whose Python blocks are executed, in order, in one namespace a page.
PAGES = [ROOT / "README.md", DOCS / "index.md", *sorted((DOCS / "howto").glob("*.md"))]
#: Packages of samplers, which only .ci/full installs: blocks that name one are skipped elsewhere.
SOMETIMES = ("numpyro", "blackjax", "pytensor")
#: Modules that users import by their dotted name, beside the rooms.
MODULES = [
    "jaxlqr.lqr.closed_form",
    "jaxlqr.lqr.stabilize",
    "jaxlqr.meta.weighting",
    "jaxlqr.meta.trajectory_weighting",
    "jaxlqr.training.sharding",
    "jaxlqr.plots",
]
ROOMS = ["lqr", "mdp", "supervised", "oracles", "trajectory", "meta", "training", "families", "matrix_equations"]
ROOMS += [
    "systems",
    "feedback",
    "estimation",
    "meta.landscape",
    *(f"papers.{paper}.theory" for paper in ("toso2024", "musavi2023", "wang2020", "nguyen2023")),
]


def blocks(path):
    return re.findall(r"^```python\n(.*?)^```$", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def marked(path):
    slow = path.stem in (
        "README",
        "first_gain",
        "step_sizes",
        "oracle",
        "gpu",
        "input_limits",
        "fifty_queries",
        "watch_a_run",
        "samplers",
        "two_of_four_states",
    )  # they train, or draw
    return pytest.param(path, id=path.stem, marks=[pytest.mark.slow] if slow else [])


@pytest.mark.parametrize("path", [marked(path) for path in PAGES])
def test_examples_of_the_page_run(path, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    matplotlib.use("Agg")
    found = blocks(path)
    assert found
    namespace = {"__name__": "__main__"}
    for number, block in enumerate(found):
        if not imports_are_installed(block):
            continue
        capsys.readouterr()
        exec(compile(block, f"{path.name}, block {number + 1}", "exec"), namespace)
        if (expected := shown_output(path, block)) is not None:
            assert capsys.readouterr().out == expected


def imports_are_installed(block):
    """Whether the packages are installed that a block imports and that no extra for tests brings."""
    return all(is_installed(name) for name in SOMETIMES if re.search(rf"\b{name}\b", block))


def shown_output(path, block):
    """The output that the page shows right below a block, if it shows any."""
    after = path.read_text(encoding="utf-8").split(f"```python\n{block}```\n", 1)[1]
    found = re.match(r"\n```text\n(.*?)^```$", after, re.MULTILINE | re.DOTALL)
    return found[1] if found else None


def test_pages_name_every_key_of_the_files():
    from jaxlqr.commands.sweep.spec import AXES, parse_spec
    from jaxlqr.families.files import load_tasks, parse_tasks

    keys = re.compile(r"``(\w+)(?: = [^`]*)?``")  # in the docstrings of the functions that read them
    for page, functions, more in (("tasks_files", (parse_tasks, load_tasks), ()), ("sweep_files", (parse_spec,), AXES)):
        text = (DOCS / f"{page}.md").read_text("utf-8")
        named = {key for function in functions for key in keys.findall(function.__doc__ or "")}
        assert "level" in named
        missing = [key for key in {*named, *more} if f"`{key}" not in text and f"{key} = " not in text]
        assert not missing, f"{page}.md lacks {missing}"


SHORT = ["measured_outputs", "process_noise", "fifty_queries", "input_limits", "step_and_bode", "watch_a_run"]


def test_home_shows_what_its_five_lines_print():
    assert shown_output(DOCS / "index.md", blocks(DOCS / "index.md")[0]) is not None


@pytest.mark.parametrize("name", SHORT)
def test_short_how_tos_are_short(name):
    (block,) = blocks(DOCS / "howto" / f"{name}.md")
    assert len([line for line in block.splitlines() if line.strip()]) < 15


def exported(module):
    """Names that a package's __init__ re-exports."""
    file = PACKAGE.joinpath(*module.split(".")[1:]) / "__init__.py"
    tree = ast.parse(file.read_text(encoding="utf-8"))
    names = [alias for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names]
    return [alias.asname for alias in names if alias.asname]


def defined(module):
    """Documented public functions and classes of a module, or re-exported by a package."""
    loaded = importlib.import_module(module)
    own = [
        name
        for name, value in vars(loaded).items()
        if not name.startswith("_")
        and (inspect.isfunction(value) or inspect.isclass(value))
        and value.__module__ == module
    ]
    return own + (exported(module) if hasattr(loaded, "__path__") else [])


def public():
    """(module, name) of everything public that is not a module itself."""
    places = [("jaxlqr", name) for name in exported("jaxlqr")]
    places += [(f"jaxlqr.{room}", name) for room in ROOMS for name in exported(f"jaxlqr.{room}")]
    places += [(module, name) for module in MODULES for name in defined(module)]
    return [place for place in dict.fromkeys(places) if not inspect.ismodule(value_of(".".join(place)))]


def value_of(path):
    module, name = path.rsplit(".", 1)
    return getattr(importlib.import_module(module), name)


def described():
    """Paths of the reference pages' directives."""
    pages = [*sorted((DOCS / "reference").glob("*.md")), *sorted((DOCS / "papers").glob("*/reference.md"))]
    return [path for page in pages for path in re.findall(r"^::: (\S+)$", page.read_text("utf-8"), re.MULTILINE)]


DESCRIBED = described()


def test_public_names_are_in_the_reference():
    described = [value_of(path) for path in DESCRIBED]
    missing = [path for path in map(".".join, public()) if not any(value_of(path) is value for value in described)]
    assert not missing, "add '::: NAME' to a page of docs/reference for each"


def test_the_reference_names_nothing_twice_and_nothing_undocumented():
    assert len(set(DESCRIBED)) == len(DESCRIBED)
    assert [path for path in DESCRIBED if not inspect.getdoc(value_of(path))] == []


def test_no_directive_names_a_module_in_place_of_what_it_holds():
    """Where a function has the name of its module, mkdocstrings takes the module: the full path tells them apart."""
    for path in DESCRIBED:
        module, name = getattr(value_of(path), "__module__", ""), path.rsplit(".", 1)[1]
        assert path == f"{module}.{name}" or module.rsplit(".", 1)[-1] != name, f"write {module}.{name}, not {path}"


def test_every_room_is_covered():
    rooms = {
        ".".join(path.parent.relative_to(PACKAGE).parts)
        for path in PACKAGE.rglob("__init__.py")
        if path.parent != PACKAGE and exported("jaxlqr." + ".".join(path.parent.relative_to(PACKAGE).parts))
    }
    known = {*ROOMS, *(module.removeprefix("jaxlqr.") for module in MODULES)}
    assert {room for room in rooms if not room.startswith("commands")} <= known


def test_every_page_is_in_the_navigation_and_exists():
    listed = set(re.findall(r"^ *- (?:[\w ]+: )?([\w/]+\.md)$", (ROOT / "mkdocs.yml").read_text("utf-8"), re.MULTILINE))
    names = {path.stem for path in (ROOT / "notebooks").glob("*.py")}
    papers = {path.name for path in (DOCS / "papers").iterdir()}
    notebooks = {f"papers/{name}/tutorial.md" if name in papers else f"tutorials/{name}.md" for name in names}
    written = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}
    assert listed == written | notebooks | {"changelog.md", "contributing.md"}


def test_versions_of_the_citation_are_that_of_the_package():
    assert f"version: {jaxlqr.__version__}" in (ROOT / "CITATION.cff").read_text("utf-8")
    assert f"{{{jaxlqr.__version__}}}" in (DOCS / "citation.md").read_text("utf-8")


def test_docstrings_become_markdown():
    pytest.importorskip("griffe")
    to_markdown = runpy.run_path(str(DOCS / "site" / "docstrings.py"))["to_markdown"]
    shown = to_markdown("Cost :math:`J` of ``K``.\n\n>>> 1 + 1\n2\n\nSource: x, (1).")
    assert shown == "Cost \\(J\\) of `K`.\n\n```pycon\n>>> 1 + 1\n2\n```\n\n**Source:** x, (1)."
    shown = to_markdown("The scalar <X, H[X]>, ``<X>`` and a < b.\n\n>>> print('<a>')\n<a>\n")
    assert shown.startswith("The scalar &lt;X, H[X]>, `<X>` and a < b.")
    assert "print('<a>')\n<a>" in shown
    shown = to_markdown(".. math:: a\n          + b\n\n:func:`jaxlqr.cost` and ``x``")
    assert r"\[ a + b \]" in shown
    assert 'identifier="jaxlqr.cost" optional' in shown


def test_headings_show_the_path_from_which_users_import():
    for module in ("jupytext", "latex2mathml", "mkdocs"):
        pytest.importorskip(module)
    import_path = runpy.run_path(str(DOCS / "site" / "hooks.py"))["import_path"]
    assert import_path("jaxlqr.lqr.cost.cost") == "jaxlqr.cost"
    # Two functions of one name keep what tells them apart.
    assert import_path("jaxlqr.hessian_vector_product") == "jaxlqr.hessian_vector_product"
    second = "jaxlqr.lqr.closed_form.hessian_vector_product"
    assert import_path(second) == second
    assert import_path("jaxlqr.TrainingResult.check") == "jaxlqr.TrainingResult.check"  # a method
