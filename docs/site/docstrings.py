"""An extension of griffe: docstrings in reStructuredText with sections become the Markdown that mkdocstrings reads."""

import re

from griffe import Extension

_SECTION = re.compile(r"^(Arguments|Attributes|Returns|Raises|Source|Yields): +(?=\S)", re.MULTILINE)
_ROLE = re.compile(r":(func|class|mod|meth|data|attr):`~?([^`]+)`")
_MATH = re.compile(r":math:`([^`]+)`")
_DISPLAY = re.compile(r"^( *)\.\. math::(.*(?:\n(?:\1 +\S.*|\s*(?=\n\1 +\S)))*)", re.MULTILINE)
_CODE = re.compile(r"``(.+?)``", re.DOTALL)
_TAG = re.compile(r"<(?=[A-Za-z/!?])")
_EXAMPLE = re.compile(r"^(?:>>> .*\n?)(?:.+\n?)*", re.MULTILINE)


def to_markdown(text: str) -> str:
    """The docstring with examples fenced, formulas in brackets, references as links and literals as code."""
    kept: list[str] = []

    def keep(block: str) -> str:
        kept.append(block)
        return f"\x00{len(kept) - 1}\x00"

    text = _EXAMPLE.sub(lambda match: keep(f"```pycon\n{match[0].rstrip()}\n```") + "\n", text)
    text = _DISPLAY.sub(_displayed, text)
    text = _MATH.sub(lambda match: keep(rf"\({match[1]}\)"), text)
    text = _ROLE.sub(lambda match: keep(_reference(match[2])), text)
    text = _CODE.sub(lambda match: keep(f"`{match[1]}`"), text)
    text = _TAG.sub("&lt;", text)  # <X, H[X]> is no element of HTML
    text = _SECTION.sub(r"**\1:** ", text)
    for _ in range(2):
        text = re.sub(r"\x00(\d+)\x00", lambda match: kept[int(match[1])], text)
    return text


def _displayed(match: re.Match[str]) -> str:
    indent, body = match[1], " ".join(match[2].split())
    return f"\n{indent}\\[ {body} \\]\n"


def _reference(target: str) -> str:
    """A link where the target has a place in the reference, else code."""
    shown = target.rsplit(".", 1)[-1] if target.startswith("jaxlqr.") else target
    identifier = target if target.startswith("jaxlqr.") else f"jaxlqr.{target}"
    return f'<autoref identifier="{identifier}" optional><code>{shown}</code></autoref>'


class Docstrings(Extension):
    """Translates each docstring once, before it is parsed."""

    def on_object(self, *, obj, **_) -> None:
        if obj.docstring is not None:
            obj.docstring.value = to_markdown(obj.docstring.value)
