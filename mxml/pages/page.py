"""An HTML page that needs no other files.

The page fetches nothing: its style and its script are inside, images are data: URIs, and a content security policy
forbids the rest. Label and file names are not trusted; the template escapes every value, and the policy allows only
the style sheet and the script whose hashes it names. The scripts add to a page; without them it shows the same data.
"""

from __future__ import annotations

import base64
import hashlib
import math
import os
import re
from pathlib import Path
from typing import Any

from mxml import atomic
from mxml.errors import SettingError

_SHARED = Path(__file__).parent
_SUFFIXES = (".html", ".htm")
_TEXT_LENGTH = 200
_LABEL_LENGTH = 80
# What HTML or UTF-8 cannot hold, and what would turn the text around it: file names and labels can have all of these.
_UNSHOWABLE = re.compile(r"[\0-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def render(template: Path, **values: Any) -> str:
    """Return the page of a template that extends ``page.html``.

    A style sheet and a script of its own lie beside the template under the same name; they follow those of all pages.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    style, script = (_with_shared(template.with_suffix(suffix)) for suffix in (".css", ".js"))
    environment = Environment(
        loader=FileSystemLoader([template.parent, _SHARED]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(count=_count, share=_share, number=_number, cut=cut, label=cut_label)
    page = environment.get_template(template.name).render(
        style=Markup(style), script=Markup(script), style_hash=_hash(style), script_hash=_hash(script), **values
    )
    return _UNSHOWABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), page)


def require_page(path: str) -> None:
    """Refuse a page's file before the page is made.

    Raises SettingError for a name that is no page's, which could be that of a list or a model, and StorageError for
    what cannot be written.
    """
    if not path.lower().endswith(_SUFFIXES):
        raise SettingError("html", path, f"a name that ends in {_SUFFIXES[0]}")
    atomic.require_place(path)


def write(page: str, path: str) -> None:
    """Write a page to a file, whose folder is made; raise StorageError where it cannot be written."""
    atomic.make_folder(os.path.dirname(path))
    atomic.write_text(path, page)


def cut(text: str, length: int = _TEXT_LENGTH) -> str:
    """Shorten a text in its middle: a path's beginning and its end say most."""
    return text if len(text) <= length else f"{text[: length // 2]}…{text[-length // 2 :]}"


def cut_label(name: str) -> str:
    """Shorten the name of a label, or another that stands in a table."""
    return cut(name, _LABEL_LENGTH)


def _with_shared(own: Path) -> str:
    parts = (_SHARED / f"page{own.suffix}", own)
    return "".join(part.read_text(encoding="utf-8") for part in parts if part.exists())


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _count(number: int) -> str:
    return f"{number:,}"


def _share(value: float) -> str:
    return "–" if math.isnan(value) else f"{100 * value:.1f}\u00a0%"


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3f}" if value < 10 else f"{value:,.1f}"
