"""HTML pages that are one file and need nothing beside it: one style and one frame for all of them.

The report of a run, the comparison of runs and the report of a data check share them.
"""

from __future__ import annotations

from base64 import b64encode
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import BaseLoader, ChoiceLoader, Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

_FOLDER = Path(__file__).parent


def environment(*folders: Path) -> Environment:
    """A Jinja environment that escapes every value and refuses names that do not exist.

    Args:
        folders: Folders of templates; ``frame.html`` and the style are always there.
    """
    loaders: list[BaseLoader] = [
        FileSystemLoader(str(folder)) for folder in (*folders, _FOLDER / "templates")
    ]
    made = Environment(
        loader=ChoiceLoader(loaders),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals["style"] = _trusted("page.css")
    made.globals["script"] = _trusted("page.js")
    return made


def framed(title: str, body: Markup) -> str:
    """A whole page around a body that is HTML already.

    Args:
        title: Title of the window.
        body: Content of ``<main>``; everything in it that is not HTML is escaped.
    """
    return render("frame.html", title=title, body=body)


def render(template: str, *folders: Path, **values: Any) -> str:
    """A page from a template in one of the folders."""
    return environment(*folders).get_template(template).render(**values)


def data_uri(content: bytes, kind: str) -> str:
    """The address of a picture that stands in the page itself.

    Args:
        content: The file.
        kind: ``"jpeg"`` or ``"png"``.

    Examples:
        >>> data_uri(b"abc", "png")
        'data:image/png;base64,YWJj'
    """
    return f"data:image/{kind};base64,{b64encode(content).decode('ascii')}"


@cache
def _trusted(name: str) -> Markup:
    """A file of this package, which is put into a page as it is."""
    return Markup((_FOLDER / name).read_text("utf-8"))
