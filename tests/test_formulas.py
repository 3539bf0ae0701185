"""docs/papers/*/formulas.md: each numbered formula, statement, table and figure has one row, whose names exist."""

import ast
import functools
import importlib
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
DOCS = TESTS.parent / "docs"
VERDICTS = ("confirmed", "corrected", "refuted", "not executable", "unchecked", "reproduced", "absent")
# What is printed with a number: equations, and statements, tables and figures by kind.
NUMBERED = {
    "toso2024": (
        [f"({i})" for i in range(1, 16)],
        {
            "Lemma": range(1, 10),
            "Theorem": range(1, 5),
            "Algorithm": range(1, 4),
            "Definition": [1, 2],
            "Assumption": [1],
            "Remark": range(1, 5),
            "Figure": [1],
        },
    ),
    "musavi2023": (
        [f"({i})" for i in range(1, 8)],
        {
            "Lemma": range(1, 5),
            "Theorem": [1],
            "Algorithm": [1],
            "Condition": [1],
            "Definition": [1, 2],
            "Assumption": [1, 2],
            "Figure": [1],
            "Table": ["I", "II"],
        },
    ),
    "molybog2021": (
        [f"({i})" for i in range(1, 4)],
        {
            "Lemma": range(1, 6),
            "Theorem": range(1, 4),
            "Proposition": range(1, 5),
            "Algorithm": [1],
            "Definition": range(1, 5),
            "Assumption": [1],
            "Figure": range(1, 4),
            "Table": [3],
        },
    ),
    "wang2020": (
        [f"({part}.{i})" for part, last in ((2, 7), (3, 17), (4, 16)) for i in range(1, last + 1)],
        {
            "Proposition": ["3.2", "4.3"],
            "Theorem": ["3.5", "4.4"],
            "Algorithm": [1],
            "Definition": ["3.1", "3.3", "4.1"],
            "Assumption": ["3.4", "4.2"],
        },
    ),
    "nguyen2023": (
        [f"({i})" for i in range(1, 125)],
        {
            "Lemma": [1, 2, 3, 4, 7, 8, 9, 11, 12, 13, 14],
            "Theorem": [5, 10, 15],
            "Corollary": [6],
            "Algorithm": [1, 2],
            "Definition": [1],
            "Assumption": range(1, 4),
            "Remark": [1],
            "Table": range(1, 6),
            "Figure": range(1, 7),
        },
    ),
}


def rows():
    """(paper, formula, code, test, verdict) of every row."""
    found = []
    for page in (DOCS / "papers").glob("*/formulas.md"):
        for line in page.read_text(encoding="utf-8").splitlines():
            cells = [cell.strip() for cell in line.split("|")[1:-1]]
            if len(cells) == 5 and cells[0] != "formula" and not cells[0].startswith("---"):
                found.append((page.parent.name, cells[0], cells[2], cells[3], cells[4]))
    return found


ROWS = rows()


def quoted(cell):
    return re.findall(r"`([^`]+)`", cell)


@pytest.mark.parametrize("paper", NUMBERED)
def test_every_number_has_exactly_one_row(paper):
    equations, statements = NUMBERED[paper]
    wanted = [*equations, *(f"{kind} {number}" for kind, numbers in statements.items() for number in numbers)]
    listed = [part for row in ROWS if row[0] == paper for part in row[1].split(", ") if not part.startswith("section")]
    assert sorted(listed) == sorted(wanted)


def resolve(name):
    """The object ``jaxlqr.<name>``, a module or what is in one."""
    parts, value, path = name.split("."), importlib.import_module("jaxlqr"), "jaxlqr"
    for part in parts:
        path += f".{part}"
        # A function may have the name of its module.
        if not hasattr(value, part) or (part != parts[-1] and callable(getattr(value, part))):
            value = importlib.import_module(path)
        else:
            value = getattr(value, part)
    return value


def test_every_name_of_the_code_exists():
    names = sorted({name for row in ROWS for name in quoted(row[2])})
    assert names
    assert [name for name in names if resolve(name) is None] == []


@functools.cache
def functions_of(file):
    """Names of the functions of a file of tests."""
    tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_every_named_test_exists():
    names = sorted({name for row in ROWS for name in quoted(row[3])})
    assert names
    assert [name for name in names if name.partition("::")[2] not in functions_of(name.partition("::")[0])] == []


def test_verdicts_are_supported():
    for paper, formula, code, test, verdict in ROWS:
        word = next((word for word in VERDICTS if verdict.startswith(word)), None)
        assert word, (paper, formula, verdict)
        assert quoted(test) or test == "none yet", (paper, formula, test)
        if word in ("confirmed", "refuted", "reproduced"):
            assert quoted(test), (paper, formula)
        assert quoted(code) or code.startswith("none"), (paper, formula, code)


def test_every_erratum_that_is_named_is_written():
    named = {name for row in ROWS for name in re.findall(r"\b[TMLWN]\d+\b", row[4])}
    pages = [path.read_text(encoding="utf-8") for path in sorted((DOCS / "papers").glob("*/errata.md"))]
    written = {name for page in pages for name in re.findall(r"^## ([TMLWN]\d+)\. ", page, re.MULTILINE)}
    assert len(named) > 20
    assert named <= written


def test_the_index_of_errata_lists_every_entry_of_the_pages():
    index = (DOCS / "errata.md").read_text(encoding="utf-8")
    pages = {path.parent.name: path.read_text(encoding="utf-8") for path in (DOCS / "papers").glob("*/errata.md")}
    for name, page in pages.items():
        for heading in re.findall(r"^## (.*)$", page, re.MULTILINE):
            anchor = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
            assert f'<a id="{anchor}"></a>[{heading}](papers/{name}/errata.md#{anchor})' in index, heading
    assert set(re.findall(r"\(papers/(\w+)/errata\.md#", index)) == set(pages)
