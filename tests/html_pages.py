"""What the tests of HTML pages share: names that try to break out, photographs, and what a page holds."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser

import cv2
import numpy as np

HOSTILE = (
    "sea",
    "<script>document.title = 'owned'</script>",
    "</style></title><b onclick='x'>",
    "\"quoted\" 'label' & ${7*7} {{ 7*7 }}",
    "\u202egnirts",
    "bell\x07 قطة 日本",
    "never",
)


def write_photo(path, seed, width=60, height=40):
    """Write a JPEG of large random blotches, which no other seed resembles."""
    path.parent.mkdir(parents=True, exist_ok=True)
    blotches = np.random.default_rng(seed).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    cv2.imwrite(str(path), cv2.resize(blotches, (width, height), interpolation=cv2.INTER_CUBIC))


class Parsed(HTMLParser):
    """The tags and texts of a page, as a browser's parser would see them."""

    def __init__(self, page):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.inside: list[str] = []
        self.texts: dict[str, list[str]] = {}
        self.feed(page)
        self.close()
        assert not self.inside

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "input"):
            self.inside.append(tag)

    def handle_endtag(self, tag):
        assert self.inside.pop() == tag

    def handle_data(self, data):
        if self.inside:
            self.texts.setdefault(self.inside[-1], []).append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def text_of(page, section):
    """Return the words of one section, tags taken out."""
    inside = page.partition(f'<section id="{section}"')[2].partition("</section>")[0].partition(">")[2]
    return words(inside)


def words(markup):
    text = " ".join(re.sub(r"<[^>]*>", " ", markup).split())
    return re.sub(r" ([,:.])", r"\1", text)


def pictures(page):
    """Return the thumbnails on a page by file name, as arrays."""
    found = {}
    for image in Parsed(page).all("img"):
        data = np.frombuffer(base64.b64decode(image["src"].partition(",")[2]), np.uint8)
        found[image["alt"]] = cv2.imdecode(data, cv2.IMREAD_COLOR)
        assert found[image["alt"]].shape[:2] == (int(image["height"]), int(image["width"]))
    return found


def assert_asks_for_nothing(page):
    """Check the policy, which allows the page's own style and script, and that no attribute leads elsewhere."""
    parsed = Parsed(page)
    policy = next(meta["content"] for meta in parsed.all("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    style, script = (
        base64.b64encode(hashlib.sha256("".join(parsed.texts[tag]).encode()).digest()).decode()
        for tag in ("style", "script")
    )
    assert policy == (
        f"default-src 'none'; img-src data:; style-src 'sha256-{style}'; script-src 'sha256-{script}'; "
        "base-uri 'none'; form-action 'none'"
    )
    for tag, attributes in parsed.tags:
        for name in ("src", "href", "srcset", "action", "data", "poster", "xlink:href"):
            value = attributes.get(name)
            assert value is None or value.startswith(("#", "data:image/jpeg;base64,")), (tag, value)
    assert not re.search(r"@import|url\(", "".join(parsed.texts["style"]))


SHOWN = """[...document.images].every(image => image.complete && image.naturalWidth > 0)"""
WIDER = """[...document.querySelectorAll("body *")].filter(element =>
    element.getBoundingClientRect().right > innerWidth + 1 && !element.closest(".wide, .file, .choices, pre, svg")
    && getComputedStyle(element).position !== "absolute").map(element => element.outerHTML.slice(0, 200))"""


def assert_sound(page):
    assert page.faults() == []
    assert page.evaluate(SHOWN)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate(WIDER) == []
