"""Builds the documentation site: the pages of this folder, those of a service with every feature, and the reference.

`poe docs` writes it to `site/html`. The reference is made from `copier.yml` and from the settings of that service.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import yaml
from copier import run_copy

from extensions.context import NEEDS, QUESTIONS
from tests.combinations import BARE, BOOLEANS, REPOSITORY, belongings, excluded

CONFIGURATION = "zensical.toml"
PAGES, SITE = Path("site/pages"), Path("site/html")
PICTURES = REPOSITORY / "docs" / "pictures"

# Code, in which nothing is a link; or the target of a link to a file.
LINK = re.compile(r"^```.*?^```$|`[^`\n]+`|(?<=\]\()(?![a-z]+:|#)(?P<file>[^)#\s]+)", re.MULTILINE | re.DOTALL)


class Setting(NamedTuple):
    variable: str
    type: str
    default: str
    purpose: str


def copy_template(folder: Path) -> Path:
    """Return the template as it lies here, without its history: Copier renders it without cloning."""
    template = folder / "copier-fastapi"
    for name in ("extensions", "template"):
        shutil.copytree(REPOSITORY / name, template / name, ignore=shutil.ignore_patterns(".venv", ".*_cache"))
    shutil.copy2(REPOSITORY / "copier.yml", template)
    return template


def render(folder: Path) -> Path:
    """Return a service with every feature, from the template as it lies here."""
    template, service = copy_template(folder), folder / "service"
    run_copy(str(template), service, data=dict.fromkeys(BOOLEANS, True), defaults=True, unsafe=True, quiet=True)
    return service


def read_settings(service: Path) -> list[Setting]:
    """Return every setting of a service, as it would be with nothing set."""
    shown = subprocess.check_output(
        [sys.executable, "-m", "scripts.settings"], cwd=service, env={"PATH": os.environ["PATH"]}, text=True
    )
    return [Setting(*found) for found in re.findall(r"^([A-Z_]+): (.+?) = (.*)\n  (.+)$", shown, re.MULTILINE)]


def read_summaries(service: Path) -> dict[str, str]:
    """Return what each page of a service is about, by its name."""
    listed = (service / "docs" / "README.md").read_text("utf-8")
    return dict(re.findall(r"^- \[\w+\]\((\w+)\.md\): (.+)$", listed, re.MULTILINE))


def feature_pages(name: str) -> list[str]:
    """Return the page under the same word, or those of what else comes with it."""
    pages = sorted(Path(path).stem for path in belongings(name) if path.startswith("/docs/"))
    return [name] if name in pages else pages


def core_pages(summaries: Mapping[str, str]) -> list[str]:
    return [name for name in summaries if f"/docs/{name}.md" not in excluded(BARE)]


def table(*rows: Sequence[str]) -> str:
    head, *body = rows
    lines = [head, ["---"] * len(head), *body]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


def plain(text: str) -> str:
    """Write what is not Markdown into a cell."""
    return re.sub(r"([*|<])", r"\\\1", text)


def sources(service: Path) -> dict[Path, str]:
    """Return every file that is a page, and where it is on the site."""
    docs = REPOSITORY / "docs"
    return {
        **{path: path.relative_to(docs).as_posix() for path in sorted(docs.rglob("*.md"))},
        **{path: f"service/{path.name}" for path in sorted((service / "docs").glob("*.md"))},
        service / "docs" / "README.md": "service/index.md",
        REPOSITORY / "CHANGELOG.md": "changelog.md",
        REPOSITORY / "CONTRIBUTING.md": "contributing.md",
    }


def stand_ins(service: Path) -> dict[Path, str]:
    """Return what pages link that is none itself, and the page in its place."""
    return {
        **{REPOSITORY / "template" / "docs" / path.name: f"service/{path.name}" for path in service.glob("docs/*.md")},
        service / ".env.example": "reference/settings.md",
        REPOSITORY / "docs" / "decisions": "decisions/index.md",
        **{path: f"pictures/{path.name}" for path in PICTURES.iterdir()},
    }


def relink(source: Path, places: Mapping[Path, str]) -> str:
    """Return a page whose links lead where its neighbours are on the site."""

    def place(link: re.Match[str]) -> str:
        if link["file"] is None:
            return link[0]
        target = Path(os.path.normpath(source.parent / link["file"]))
        if target not in places:
            raise SystemExit(f"{source.name} links {link['file']}, which is no page of the site.")
        return os.path.relpath(places[target], Path(places[source]).parent)

    return LINK.sub(place, source.read_text("utf-8"))


def start_tables(summaries: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the lists of the start page, and the mark that each of them replaces."""

    def link(name: str) -> str:
        return f"[{name}](service/{name}.md): {summaries[name]}"

    features = [(f"`{name}`", "<br>".join(map(link, feature_pages(name)))) for name in BOOLEANS]
    yield "<!-- features -->", table(("answer", "brings"), *features)
    yield "<!-- core -->", "\n".join(f"- {link(name)}" for name in core_pages(summaries)) + "\n"


def questions_page() -> str:
    rows = []
    for name, question in QUESTIONS.items():
        default = question["default"]
        if isinstance(default, bool):
            default = "yes" if default else "no"
        elif computed := re.fullmatch(r"\{@ '?([\w.]+)'?\|(\w+) @\}", default):
            default = f"`{computed[2]}` of `{computed[1]}`"
        rules = [line for line in question.get("validator", "").splitlines() if line and "{%" not in line]
        pages = feature_pages(name) if name in BOOLEANS else []
        notes = [
            *(f"one of {', '.join(question['choices'])}" for _ in question.get("choices", ())[:1]),
            *map(plain, rules),
            *(f"needs `{need}`" for need in NEEDS.get(name, ())),
            *(f"[{page}](../service/{page}.md)" for page in pages),
        ]
        rows.append((f"`{name}`", plain(question["help"]), str(default), "; ".join(notes)))
    return f"""# Questions

What `copier copy` asks. `-d NAME=VALUE` answers in advance; [updating](../updating.md) says how to change an answer.

{table(("name", "question", "default", ""), *rows)}"""


def settings_page(settings: Sequence[Setting], summaries: Mapping[str, str]) -> str:
    groups: dict[str, list[Setting]] = {}
    for setting in settings:
        pages = [name for name in summaries if setting.variable.startswith(f"{name.upper()}_")]
        groups.setdefault(max(pages, key=len, default="settings"), []).append(setting)
    parts = [
        """# Settings

Every variable of a service with all features, as `uv run poe settings` prints it there.
[settings](../service/settings.md) says where values come from. A default of stars is a secret or may hold one.
"""
    ]
    for name in sorted(groups, key=lambda name: (name != "settings", name)):
        rows = [
            (f"`{each.variable}`", f"`{each.type}`", f"`{each.default}`", plain(each.purpose)) for each in groups[name]
        ]
        title = "The service and its server" if name == "settings" else f"[{name}](../service/{name}.md)"
        parts.append(f"## {title}\n\n{table(('variable', 'type', 'default', 'what it is for'), *rows)}")
    return "\n".join(parts)


def navigation(service: Path, summaries: Mapping[str, str]) -> list[object]:
    core = core_pages(summaries)
    names = sorted(path.stem for path in (service / "docs").glob("*.md") if path.stem != "README")
    decisions = sorted(path.name for path in (REPOSITORY / "docs" / "decisions").glob("*.md"))
    return [
        {"Start": "index.md"},
        "updating.md",
        "migrating.md",
        {"The service": ["service/index.md", *(f"service/{name}.md" for name in names if name in core)]},
        {"Its features": [f"service/{name}.md" for name in names if name not in core]},
        {"Reference": ["reference/questions.md", "reference/settings.md"]},
        {"Decisions": ["decisions/index.md", *(f"decisions/{name}" for name in decisions)]},
        "performance.md",
        "image.md",
        "changelog.md",
        "contributing.md",
    ]


def decisions_page() -> str:
    titles = {
        path.name: path.read_text("utf-8").partition("\n")[0].removeprefix("# ")
        for path in sorted((REPOSITORY / "docs" / "decisions").glob("*.md"))
    }
    return "# Decisions\n\n" + "\n".join(f"- [{title}]({name})" for name, title in titles.items()) + "\n"


def write_pages(service: Path, folder: Path) -> None:
    """Write the pages of the site as Markdown, and `.nav.yml`, which puts them in order."""
    summaries = read_summaries(service)
    files = sources(service)
    pages = {place: relink(source, files | stand_ins(service)) for source, place in files.items()}
    for mark, part in start_tables(summaries):
        pages["index.md"] = pages["index.md"].replace(mark, part)
    pages["decisions/index.md"] = decisions_page()
    pages["reference/questions.md"] = questions_page()
    pages["reference/settings.md"] = settings_page(read_settings(service), summaries)
    pages[".nav.yml"] = yaml.safe_dump({"nav": navigation(service, summaries)})
    pages["site.css"] = (REPOSITORY / "docs" / "site.css").read_text("utf-8")
    shutil.copytree(PICTURES, folder / "pictures")
    for name, text in pages.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, "utf-8")


def build(service: Path, folder: Path) -> Path:
    """Return the site, built in this folder from the pages of that service; a broken link or anchor ends it."""
    for part in (PAGES, SITE):
        shutil.rmtree(folder / part, ignore_errors=True)
    write_pages(service, folder / PAGES)
    configuration = folder / CONFIGURATION
    if folder != REPOSITORY:
        shutil.copy2(REPOSITORY / CONFIGURATION, configuration)
    command = [sys.executable, "-m", "zensical", "build", "--clean", "--strict", "--config-file", str(configuration)]
    subprocess.run(command, check=True)
    return folder / SITE


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        try:
            site = build(render(Path(folder)), REPOSITORY)
        except subprocess.CalledProcessError as error:
            raise SystemExit(error.returncode) from None
    print(f"Open {site / 'index.html'}")


if __name__ == "__main__":
    main()
