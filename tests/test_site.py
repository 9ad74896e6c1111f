"""The documentation site: it is built from what is there, and no link of it leads nowhere."""

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from docs.build import build
from extensions.context import QUESTIONS
from tests.combinations import BOOLEANS, belongings


class Page(HTMLParser):
    """What a page links, what it loads, and where it can be linked."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.links: set[str] = set()
        self.loads: set[str] = set()
        self.anchors: set[str] = set()
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = {name: value for name, value in attributes if value is not None}
        self.anchors |= {values[name] for name in ("id", "name") if name in values}
        links = {values[name] for name in ("href", "src") if name in values}
        self.links |= links
        if tag != "a":
            self.loads |= links


@pytest.fixture(scope="session")
def site(full: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(full, tmp_path_factory.mktemp("site"))


def read(site: Path) -> dict[Path, Page]:
    return {path: Page(path) for path in sorted(site.rglob("*.html")) if path.name != "404.html"}


def test_every_link_of_the_site_leads_somewhere_and_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    pages = read(site)

    broken, loaded = [], []
    for page in pages.values():
        loaded += [link for link in page.loads if urlsplit(link).netloc]
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (page.path.parent / unquote(parts.path)).resolve() if parts.path else page.path
            target = target / "index.html" if target.is_dir() else target
            known = target not in pages or not parts.fragment or unquote(parts.fragment) in pages[target].anchors
            if not (target.is_relative_to(site.resolve()) and target.is_file() and known):
                broken.append((page.path.relative_to(site).as_posix(), link))

    assert len(pages) > 30
    assert broken == []
    assert loaded == []


def test_the_site_has_every_page_question_and_setting(site: Path, full: Path) -> None:
    settings = re.findall(r"^([A-Z_]+)=", (full / ".env.example").read_text("utf-8"), re.MULTILINE)
    reference = {
        name: re.findall(
            r"<tr>\s*<td><code>(\w+)</code></td>", (site / "reference" / f"{name}.html").read_text("utf-8")
        )
        for name in ("questions", "settings")
    }

    assert reference["questions"] == list(QUESTIONS)
    assert sorted(reference["settings"]) == sorted(settings)  # which a test of the service holds to its classes
    for name in BOOLEANS:
        words = {Path(path).stem for path in belongings(name) if path.startswith("/docs/")}
        assert words, name
        assert all((site / "service" / f"{word}.html").is_file() for word in words), name
    start = (site / "index.html").read_text("utf-8")
    assert [name for name in BOOLEANS if f"<td><code>{name}</code></td>" not in start] == []
