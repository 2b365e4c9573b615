"""The built pages name no other host, wherever a browser would load from it."""

import re

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


def test_no_page_loads_from_elsewhere(html):
    pages = sorted(html.rglob("*.html"))
    assert pages
    found = []
    for page in pages:
        soup = BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser")
        for tag, attribute in LOADS.items():
            urls = [str(node.get(attribute, "")) for node in soup.find_all(tag)]
            found += [(page.name, tag, url) for url in urls if OUTSIDE.match(url)]
    assert found == []


def test_no_style_sheet_loads_from_elsewhere(html):
    sheets = [*html.rglob("*.css"), *html.rglob("*.html")]
    hits = [(s.name, CSS_OUTSIDE.search(s.read_text(encoding="utf-8"))) for s in sheets]
    assert [(name, hit[0]) for name, hit in hits if hit] == []


def test_every_link_within_the_book_ends_somewhere(html):
    pages = {
        page: BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser")
        for page in (html / "chapters").glob("*.html")
    }
    ids = {page: {node["id"] for node in soup.find_all(id=True)} for page, soup in pages.items()}
    lost = []
    for page, soup in pages.items():
        for link in soup.select("article a[href]"):
            path, _, anchor = link["href"].partition("#")
            target = (page.parent / path).resolve() if path else page
            if target.stem == "explorer" and "=" in anchor:
                continue  # a state of the explorer, see test_explorer.py
            if anchor and target in ids and anchor not in ids[target]:
                lost.append((page.name, link["href"]))
    assert lost == []
