"""Hooks of mkdocs: notebooks become tutorials, files of the root become pages, formulas become MathML.

MathML is drawn by the browser itself, so pages need no script from elsewhere. `mkdocs build` executes the notebooks and
shows their outputs, which takes minutes; JAXLQR_EXECUTE_NOTEBOOKS=none, or the names of some with commas between,
executes fewer. `mkdocs serve` executes none unless that variable names them.
"""

import base64
import html
import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import jupytext
from latex2mathml.converter import convert
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File

ROOT = Path(__file__).parent.parent.parent
PAPERS = ROOT / "docs" / "papers"
FROM_THE_ROOT = {"changelog.md": "CHANGELOG.md", "contributing.md": "CONTRIBUTING.md"}
_FORMULA = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)
_HEADING = re.compile(r'(<span class="doc doc-object-name[^"]*">)(jaxlqr(?:\.\w+)+)')
_INLINE_CODE = re.compile(r"(?<!</span>)<code>([^<]*)</code>")
_JOINT = re.compile(r"(::|[._/](?=\w))")
_FOLDED = re.compile(r"<!-- begin accuracy -->\n(.*?)<!-- end accuracy -->", re.DOTALL)
_COLORS_OF_TERMINALS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


_chosen = {"notebooks": "none"}


def on_startup(*, command, dirty):
    """A build for readers executes the notebooks; a preview, which is built at every change, does not."""
    _chosen["notebooks"] = os.environ.get("JAXLQR_EXECUTE_NOTEBOOKS", "all" if command == "build" else "none")


def on_files(files, config):
    """Add the pages that are made from other files."""
    for page, source in FROM_THE_ROOT.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text(encoding="utf-8")))
    for path in sorted((ROOT / "notebooks").glob("*.py")):
        text, images = _tutorial(path)
        page = page_of(path.stem)
        files.append(File.generated(config, page, content=text))
        for name, content in images.items():
            files.append(File.generated(config, f"{Path(page).parent.as_posix()}/{name}", content=content))
    return files


def page_of(notebook):
    """The page of a notebook: the tutorial of a paper lies beside its errata.

    >>> page_of("quickstart"), page_of("toso2024")
    ('tutorials/quickstart.md', 'papers/toso2024/tutorial.md')
    """
    return f"papers/{notebook}/tutorial.md" if (PAPERS / notebook).is_dir() else f"tutorials/{notebook}.md"


def on_page_markdown(markdown, **_):
    """Tables of measured accuracy, dozens of rows, are folded."""
    return _FOLDED.sub(r'<details markdown="1"><summary>All rows</summary>\n\n\1\n</details>', markdown)


def on_post_page(output, page, config):
    """Formulas, left in TeX by arithmatex, become MathML; long names may break where they have a joint."""
    output = _HEADING.sub(lambda match: match[1] + import_path(match[2]), output)
    output = _INLINE_CODE.sub(lambda match: "<code>" + _JOINT.sub(r"\1<wbr>", match[1]) + "</code>", output)
    return _FORMULA.sub(_mathml, output)


def import_path(path):
    """The shortest path from which users import what lies at ``path``: jaxlqr.cost for jaxlqr.lqr.cost.cost."""
    *rooms, name = path.split(".")
    holders = [".".join(rooms[:count]) for count in range(1, len(rooms) + 1)]
    try:
        value = getattr(importlib.import_module(holders[-1]), name)
    except (ImportError, AttributeError):  # a method of a class
        return path
    return next(f"{holder}.{name}" for holder in holders if _held(holder, name) is value)


def _held(holder, name):
    return vars(importlib.import_module(holder)).get(name)


def _mathml(match):
    kind, tex = match[2], html.unescape(match[3])
    tex = re.sub(r"\\d?t?frac(\d)(\d|[A-Z])", r"\\frac{\1}{\2}", tex).replace(r"\tfrac", r"\frac")
    return convert(tex, display="block" if kind == "[" else "inline")


def _tutorial(path):
    """Markdown of one notebook, and its images by name."""
    notebook = jupytext.read(path)
    outputs = [[] for _ in notebook.cells]
    if {"all", path.stem} & set(_chosen["notebooks"].split(",")):
        outputs = _executed(path)
    parts, images = [], {}
    for cell, shown in zip(notebook.cells, outputs, strict=True):
        if cell.cell_type == "markdown":
            parts.append(_links(cell.source, page_of(path.stem)))
            if len(parts) == 1:
                parts.append(f"*A notebook: `jupytext --sync notebooks/{path.name}`, then open it in Jupyter.*")
            continue
        plain = "\n".join(line for line in cell.source.splitlines() if not line.startswith("%"))
        parts.append(f"```python\n{plain}\n```")
        for output in shown:
            text = _COLORS_OF_TERMINALS.sub("", output.get("text", "")).strip()
            if "image/png" in output:
                name = f"{path.stem}_{len(images)}.png"
                images[name] = base64.b64decode(output["image/png"])
                parts.append(f"![Figure of the cell above]({name})")
            elif "widget" in output:
                parts.append("*Here are sliders, in Jupyter.*")
            elif text:
                parts.append(f"```text\n{text}\n```")
    return "\n\n".join(parts) + "\n", images


def _executed(path):
    """The outputs of each cell of a notebook, which is executed in a process of its own."""
    # A bar is noise on a page.
    environment = os.environ | {"TQDM_DISABLE": "1", "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    script = Path(__file__).with_name("execute.py")
    finished = subprocess.run(
        [sys.executable, script, path], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    if finished.returncode:
        raise PluginError(f"{path.name} fails: {finished.stderr[-2000:]}")
    return json.loads(finished.stdout.splitlines()[-1])


def _links(text, page):
    """Links between notebooks, and to the documentation, as they are from the page."""
    folder = Path(page).parent
    text = re.sub(r"\]\((\w+)\.py\)", lambda match: f"]({os.path.relpath(page_of(match[1]), folder)})", text)
    return re.sub(r"\]\(\.\./docs/([^)]+)\)", lambda match: f"]({os.path.relpath(match[1], folder)})", text)
