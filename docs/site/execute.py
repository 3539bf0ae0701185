"""Execute a notebook and print its outputs as JSON: python docs/site/execute.py NOTEBOOK.py

For each cell a list of outputs, each a dictionary from a type ("text", "image/png" in base64, or "widget") to its
content. IPython's shell runs the cells in this process. A kernel in another process would lose a message now and then.
"""

import base64
import json
import sys

import jupytext
from IPython.core.interactiveshell import InteractiveShell
from IPython.display import display
from IPython.utils.capture import capture_output


class Shell(InteractiveShell):
    """A shell without windows, which ``%matplotlib inline`` asks for."""

    def enable_gui(self, gui: object = None) -> None:
        """Do nothing: figures are captured."""


def execute(path: str) -> list[list[dict[str, str]]]:
    """The outputs of each cell; raises the exception of the first cell that fails."""
    shell = Shell.instance(colors="NoColor")
    # The hook prints the last value of a cell as text; display() below shows it.
    shell.displayhook.write_output_prompt = lambda: None
    shell.displayhook.write_format_data = lambda *_, **__: None
    outputs: list[list[dict[str, str]]] = []
    for cell in jupytext.read(path).cells:
        outputs.append([])
        if cell.cell_type != "code":
            continue
        with capture_output() as captured:
            result = shell.run_cell(cell.source, store_history=True)
            if result.result is not None:
                display(result.result)
        result.raise_error()
        if captured.stdout.strip():
            outputs[-1].append({"text": captured.stdout})
        for shown in captured.outputs:
            data = shown.data or {}
            if "image/png" in data:
                image = data["image/png"]
                encoded = image if isinstance(image, str) else base64.b64encode(image).decode()
                outputs[-1].append({"image/png": encoded})
            elif "application/vnd.jupyter.widget-view+json" in data:
                outputs[-1].append({"widget": ""})
            elif "text/plain" in data:
                outputs[-1].append({"text": data["text/plain"]})
    return outputs


if __name__ == "__main__":
    print(json.dumps(execute(sys.argv[1])))
