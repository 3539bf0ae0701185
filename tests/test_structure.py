"""The house rules that a machine can check: imports go one way, files are short, public names are documented."""

import ast
import graphlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import jaxlqr
from tests.slow_cases import reasons

ROOT = Path(jaxlqr.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
# Rooms in the order of docs/architecture.md: each may import from rooms of a lower floor and from itself. Rooms of the
# same floor do not know each other. Commands and papers draw figures and write them: plots and output are below them,
# and the command line above.
FLOORS = [
    {"core"},
    {"io"},
    {"iterations"},
    {"matrix_equations"},
    {"systems"},
    {"estimation", "lqr", "mdp", "supervised"},
    {"feedback"},
    {"oracles"},
    {"trajectory"},
    {"meta"},
    {"training"},
    {"families"},
    {"plots"},
    {"commands"},
    {"papers"},
    {"cli"},
    {"__main__"},
]
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}


def room_of(path: Path) -> str:
    first = path.relative_to(ROOT).parts[0]
    return first.removesuffix(".py")


def imported_rooms(path: Path) -> set[str]:
    """Rooms named in any import of a file, at any depth of its code."""
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: relative import"
            module = node.module or ""
            names = [f"{module}.{alias.name}" for alias in node.names] if module == "jaxlqr" else [module]
        else:
            continue
        rooms |= {name.split(".")[1] for name in names if name.startswith("jaxlqr.")}
    return rooms & FLOOR.keys()


def test_imports_go_one_way():
    faults = []
    for path in FILES:
        room = room_of(path)
        if room == "__init__":
            continue  # the public names come from everywhere
        assert room in FLOOR, f"{room} is a new room: give it a floor here and in docs/architecture.md"
        wrong = {other for other in imported_rooms(path) if other != room and FLOOR[other] >= FLOOR[room]}
        faults += [f"{path.relative_to(ROOT)} imports {other}" for other in sorted(wrong)]
    assert not faults


def name_of(path: Path) -> str:
    """Dotted name of a module of jaxlqr."""
    return ".".join(path.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__")


def graph_of_imports() -> dict[str, set[str]]:
    """The files that each file imports, inside functions too; a package stands for its ``__init__``."""
    names, graph = {name_of(path) for path in FILES}, {}
    for path in FILES:
        named = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                named |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                modules = {f"{node.module}.{alias.name}" for alias in node.names}
                named |= modules if modules <= names else {node.module, *modules}
        graph[name_of(path)] = named & names - {name_of(path)}
    return graph


def circle_in(graph: dict[str, set[str]]) -> str:
    """One circle of imports as a sentence; empty where there is none."""
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return " imports ".join(reversed(error.args[1]))
    return ""


def test_no_circle_of_files():
    graph = graph_of_imports()
    assert {"jaxlqr.lqr.task", "jaxlqr.lqr.checks"} <= graph["jaxlqr.lqr.cost"], "the graph lacks edges"
    assert circle_in({"a": {"b"}, "b": {"c"}, "c": {"a"}}).count("imports") == 3
    assert not circle_in(graph)


#: The commands that run a paper, which is imported when they run.
COMMANDS_OF_PAPERS = ["cli/reproduce.py", "cli/toso2024.py"]


def names_papers(tree: ast.AST) -> bool:
    """Whether an import in this tree, or a string that may be given to ``import_module``, names a module of papers."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names]
            if isinstance(node, ast.ImportFrom):
                names = [f"{node.module}.{name}" for name in names]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names = [node.value]
        else:
            continue
        if any(name == "jaxlqr.papers" or name.startswith("jaxlqr.papers.") for name in names):
            return True
    return False


def test_nothing_imports_papers_but_their_commands_when_they_run():
    trees = {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text(encoding="utf-8")) for path in FILES}
    outside = {name: tree for name, tree in trees.items() if not name.startswith("papers/")}
    assert sorted(name for name, tree in outside.items() if names_papers(tree)) == COMMANDS_OF_PAPERS
    for name in COMMANDS_OF_PAPERS:
        top = [node for node in outside[name].body if isinstance(node, ast.Import | ast.ImportFrom)]
        assert not any(map(names_papers, top)), name


def types_of(path: Path) -> set[str]:
    """Public names of the classes, and of the aliases of types, that a file defines."""
    names = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef):
            names.add(node.name)
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        names |= {target.id for target in targets if isinstance(target, ast.Name) and not target.id.isupper()}
    return {name for name in names if name[0].isupper()}


def test_no_type_has_the_name_of_another():
    """Two papers may use one name, as they do not import each other; no paper uses a name of the library."""
    owners: dict[tuple[str, str], list[str]] = {}
    for path in FILES:
        parts = path.relative_to(ROOT).parts
        paper = parts[1] if parts[0] == "papers" and len(parts) > 2 else ""
        for name in types_of(path):
            owners.setdefault((name, paper), []).append("/".join(parts))
    assert ("LQRTask", "") in owners
    assert ("PyTree", "") in owners
    assert not {name: files for name, files in owners.items() if len(files) > 1}
    assert not {name: files for (name, paper), files in owners.items() if paper and (name, "") in owners}


def test_papers_do_not_import_each_other():
    shared = {path.stem for path in (ROOT / "papers").glob("*.py")}
    for path in sorted((ROOT / "papers").glob("*/**/*.py")):
        paper = path.relative_to(ROOT).parts[1]
        tree = ast.parse(path.read_text(encoding="utf-8"))
        modules = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        named = {module.split(".")[2] for module in modules if module.startswith("jaxlqr.papers.")}
        assert named <= {paper, *shared}, path


def test_the_import_check_sees_imports():
    assert "matrix_equations" in imported_rooms(ROOT / "lqr" / "cost.py")
    assert {"oracles", "meta"} <= imported_rooms(ROOT / "training" / "learners.py")


@pytest.mark.parametrize("folder", [ROOT, Path(__file__).parent], ids=["jaxlqr", "tests"])
def test_no_file_is_longer_than_20_kB(folder):
    long = {path.name: path.stat().st_size for path in folder.rglob("*.py") if path.stat().st_size > 20_000}
    assert not long


def public_names():
    names = {name for name in vars(jaxlqr) if not name.startswith("_")}
    rooms = {path.name.removesuffix(".py") for path in ROOT.iterdir()}
    return sorted(names - rooms)


def test_public_names_are_documented():
    faults = []
    for name in public_names():
        value = getattr(jaxlqr, name)
        documentation = value.__doc__ or ""
        # A dataclass or a NamedTuple without a docstring is given its own signature as one.
        if len(documentation.split()) < 3 or documentation.startswith(f"{name}("):
            faults.append(name)
        if isinstance(value, type):
            methods = [m for key, m in vars(value).items() if not key.startswith("_") and callable(m)]
            faults += [f"{name}.{method.__name__}" for method in methods if not method.__doc__]
    assert not faults


def test_every_test_that_is_left_to_the_slow_run_exists():
    places = {name.partition("[")[0] for name in reasons()}
    texts = {file: (ROOT.parent / file).read_text(encoding="utf-8") for file, _, _ in map(split_name, places)}
    names = {(file, name.rpartition(".")[2]) for file, _, name in map(split_name, places)}
    assert not [place for place in sorted(names) if not re.search(rf"^(def|class) {place[1]}\b", texts[place[0]], re.M)]


def split_name(name: str) -> tuple[str, str, str]:
    return name.partition("::")


def test_every_module_is_documented():
    for path in FILES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert ast.get_docstring(tree) or not tree.body, path


def test_import_is_light_and_changes_no_setting():
    code = (
        "import sys, jax, jaxlqr\n"
        "heavy = ('matplotlib', 'optax', 'typer', 'scipy.optimize', 'tqdm', 'rich', 'orbax')\n"
        "print([name for name in heavy if name in sys.modules])\n"
        "print(jax.config.jax_enable_x64)\n"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert finished.stdout.split() == ["[]", "False"]
