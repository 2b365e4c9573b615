"""The built pages name no other host, wherever a browser would load from it."""

import re
from pathlib import Path

import pytest
from bs4 import BeautifulSoup

LOADS = {
    "script": "src",
    "link": "href",
    "img": "src",
    "iframe": "src",
    "source": "src",
    "object": "data",
}
OUTSIDE = re.compile(r"^\s*(https?:)?//")
CSS_OUTSIDE = re.compile(r"(url\(\s*|@import\s+)[\"']?(https?:)?//[^)\s]*")


@pytest.fixture(scope="module")
def pages(html: Path) -> dict[Path, BeautifulSoup]:
    texts = {page: page.read_text(encoding="utf-8") for page in sorted(html.rglob("*.html"))}
    return {page: BeautifulSoup(text, "html.parser") for page, text in texts.items()}


def test_no_page_loads_from_elsewhere(pages):
    assert pages
    found = []
    for page, soup in pages.items():
        for tag, attribute in LOADS.items():
            urls = [str(node.get(attribute, "")) for node in soup.find_all(tag)]
            found += [(page.name, tag, url) for url in urls if OUTSIDE.match(url)]
    assert found == []


def test_no_style_sheet_loads_from_elsewhere(html):
    sheets = [*html.rglob("*.css"), *html.rglob("*.html")]
    hits = [(s.name, CSS_OUTSIDE.search(s.read_text(encoding="utf-8"))) for s in sheets]
    assert [(name, hit[0]) for name, hit in hits if hit] == []


def test_every_link_within_the_book_ends_somewhere(pages):
    ids = {page: {node["id"] for node in soup.find_all(id=True)} for page, soup in pages.items()}
    lost = []
    for page, soup in pages.items():
        for link in soup.select("article a[href]"):
            path, _, anchor = link["href"].partition("#")
            target = (page.parent / path).resolve() if path else page
            if OUTSIDE.match(path) or target.suffix != ".html":
                continue
            if target.stem == "explorer" and "=" in anchor:
                continue  # a state of the explorer, see test_explorer.py
            if target not in ids or (anchor and anchor not in ids[target]):
                lost.append((page.name, link["href"]))
    assert lost == []
