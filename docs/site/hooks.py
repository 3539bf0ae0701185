"""Hooks of mkdocs: notebooks become tutorials, files of the root become pages, formulas become MathML.

MathML is drawn by the browser itself, so pages need no script from elsewhere. With
JAXLQR_EXECUTE_NOTEBOOKS=all, or the names of some, notebooks are executed and their outputs shown: minutes.
"""

import base64
import html
import os
import re
from pathlib import Path

import jupytext
from latex2mathml.converter import convert
from mkdocs.structure.files import File

ROOT = Path(__file__).parent.parent.parent
FROM_THE_ROOT = {"changelog.md": "CHANGELOG.md", "contributing.md": "CONTRIBUTING.md"}
_FORMULA = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)
_INLINE_CODE = re.compile(r"(?<!</span>)<code>([^<]*)</code>")
_JOINT = re.compile(r"(::|[._/](?=\w))")
_COLORS_OF_TERMINALS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def on_files(files, config):
    """Add the pages that are made from other files."""
    for page, source in FROM_THE_ROOT.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text(encoding="utf-8")))
    for path in sorted((ROOT / "notebooks").glob("*.py")):
        text, images = _tutorial(path)
        files.append(File.generated(config, f"tutorials/{path.stem}.md", content=text))
        for name, content in images.items():
            files.append(File.generated(config, f"tutorials/{name}", content=content))
    return files


def on_post_page(output, page, config):
    """Formulas, left in TeX by arithmatex, become MathML; long names may break where they have a joint."""
    output = _INLINE_CODE.sub(lambda match: "<code>" + _JOINT.sub(r"\1<wbr>", match[1]) + "</code>", output)
    return _FORMULA.sub(_mathml, output)


def _mathml(match):
    kind, tex = match[2], html.unescape(match[3])
    tex = re.sub(r"\\d?t?frac(\d)(\d|[A-Z])", r"\\frac{\1}{\2}", tex).replace(r"\tfrac", r"\frac")
    return convert(tex, display="block" if kind == "[" else "inline")


def _tutorial(path):
    """Markdown of one notebook, and its images by name."""
    notebook = jupytext.read(path)
    if {"all", path.stem} & set(os.environ.get("JAXLQR_EXECUTE_NOTEBOOKS", "").split(",")):
        import nbclient

        nbclient.NotebookClient(notebook, timeout=150).execute()  # seconds a cell: a kernel may lose a message
    parts, images = [], {}
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            parts.append(_links(cell.source))
            if len(parts) == 1:
                parts.append(f"*A notebook: `jupytext --sync notebooks/{path.name}`, then open it in Jupyter.*")
            continue
        plain = "\n".join(line for line in cell.source.splitlines() if not line.startswith("%"))
        parts.append(f"```python\n{plain}\n```")
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            text = output.get("text") or ("" if "image/png" in data else data.get("text/plain", ""))
            if "image/png" in data:
                name = f"{path.stem}_{len(images)}.png"
                images[name] = base64.b64decode(data["image/png"])
                parts.append(f"![Figure of the cell above]({name})")
            elif "application/vnd.jupyter.widget-view+json" in data:  # sliders, or a progress bar
                parts.extend(["*Here are sliders, in Jupyter.*"] if "interact(" in plain else [])
            elif text.strip():
                parts.append(f"```text\n{_COLORS_OF_TERMINALS.sub('', text).strip()}\n```")
    return "\n\n".join(parts) + "\n", images


def _links(text):
    """Links between notebooks, and to the documentation, as they are from the page."""
    text = re.sub(r"\]\((\w+)\.py\)", r"](\1.md)", text)
    return text.replace("](../docs/", "](../")
