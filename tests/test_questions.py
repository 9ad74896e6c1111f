"""An answer is data: it comes out as the same text everywhere, or it is refused in one line and nothing is written."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from copier import run_copy
from copier.errors import UserMessageError
from markdown_it import MarkdownIt

from extensions.context import QUESTIONS
from extensions.filters import TAKEN, is_slug, slug
from tests.suites import TEMPLATE, closure

NAMES = [
    "Ünïcode Söcks",
    "а homoglyph",
    "diyarbakır ı",
    "ｆｕｌｌ ｗｉｄｔｈ",
    'O\'Neill & "Sons" # 1',
    "yes",
    "null",
    "Rocket 🚀 Launch",
    "Price: {{ 7*7 }} or {% raw %} now",
    "A" * 80,
]

TEXTS = [
    *NAMES,
    "\"double\" and 'single' and \"\"\"triple\"\"\" and '''triple'''",
    r"back\slash \n \u0041 \x",
    "a: b - c # d {} %s $VAR ${VAR} `tick` </script> & &amp; <b>",
    "{{ 7*7 }}",
    "{% raw %}",
    "{# comment #}",
    "{{ _copier_conf }}",
    "${{ secrets.TOKEN }}",
    "{@ 7*7 @}",
    "# {% if true %}",
    "# heading",
    "- item",
    "1. item",
    "* item",
    "> quote",
    "===",
    "---",
    "| a | b |",
    "[link](https://example.org) ![image](x) https://example.org",
    "*emphasis* _emphasis_ ~~gone~~",
    "1e3",
    "0x10",
    "2026-01-01",
    "!!python/object:os.system",
    "&anchor",
    "*alias",
    "@at",
    "%directive",
    "🚀 astral 𝒳 family 👨‍👩‍👧",
    "é composed and é decomposed",
]

PATHS = ["../x", "/abs", "a/b", "~", "C:\\x", "a\x00b", ".git", "demo\n", "demo\r"]

REFUSED = [
    *(
        ("project_name", name)
        for name in (
            "",
            "   ",
            "A" * 200,
            "1st",
            "-x",
            "ends with.",
            "ends with-",
            *PATHS,
            "a\nb",
            "a\x1b[31mb",
            "a\u2028b",
            "a\x7fb",
            "a\u202eb",
            "a\ud83db",
        )
    ),
    *(
        ("project_slug", name)
        for name in (
            "",
            "a",
            "A",
            "My-Service",
            "1st",
            "-x",
            "x-",
            "a--b",
            "a_b",
            "a.b",
            "a b",
            "ünï",
            "а",
            *PATHS,
            "a" * 41,
            "fastapi",
            "celery",
            "alembic",
            "app",
            "test",
            "{{ 7*7 }}",
            "${{ secrets.X }}",
            "1e3",
            "!!python/object",
        )
    ),
    *(
        (name, text)
        for name in ("description", "author_name")
        for text in (
            "",
            " ",
            " a",
            "a ",
            "a\nb",
            "a\tb",
            "a\x00b",
            "a\x1b[31mb",
            "a\u2028b",
            "a\x7fb",
            "a\ud83db",
            "A" * 201,
        )
    ),
    *(
        ("author_email", text)
        for text in (
            "a",
            "a@b",
            "a b@example.org",
            "a@b>\n[tool.evil]",
            "a@example.org\n",
            '"a"@example.org',
            "ä@b.org",
        )
    ),
    *(("license", text) for text in ("", "mit", "GPL-3.0", "MIT\n")),
    *(("python_version", text) for text in ("", "3.10", "3.14", "3", "3.13\n")),
    *(("ci", text) for text in ("", "jenkins")),
    *(("samples", text) for text in ("maybe", "", "2", "null")),
    ("unknown", "1"),
    ("sample", "true"),
]


def rendered_text(markdown: str) -> str:
    """Return what a reader sees of a Markdown file."""
    tokens = [
        child for token in MarkdownIt("gfm-like", {"linkify": False}).parse(markdown) for child in token.children or ()
    ]
    return "\n".join(token.content for token in tokens)


@pytest.mark.parametrize("text", TEXTS, ids=repr)
def test_an_answer_comes_out_as_it_went_in(template: Path, tmp_path: Path, text: str) -> None:
    name = text if text in NAMES else "My Service"
    answers = {"project_name": name, "description": text, "author_name": text, "license": "MIT"}

    run_copy(str(template), tmp_path / "service", data=answers, defaults=True, unsafe=True, quiet=True)

    service = tmp_path / "service"
    project = tomllib.loads((service / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["description"] == text
    assert project["authors"][0]["name"] == text
    assert is_slug(project["name"])
    recorded = yaml.safe_load((service / ".copier-answers.yml").read_text("utf-8"))
    assert {question: recorded[question] for question in answers} == answers
    assert yaml.safe_load((service / "compose.yaml").read_text("utf-8"))["name"] == project["name"]
    assert f"Copyright (c) {text}\n" in (service / "LICENSE").read_text("utf-8")
    shown = rendered_text((service / "README.md").read_text("utf-8")).splitlines()
    assert shown[0] == name
    assert text.strip() in shown


@pytest.mark.parametrize(
    "name", [*NAMES, "日本", "Сервис", "fastapi", "FastAPI", "app", "Service", "T", "ü" * 80, "a-" * 39 + "a"]
)
def test_a_name_always_gives_a_slug_that_is_accepted(name: str) -> None:
    assert is_slug(slug(name))


@pytest.mark.parametrize(("question", "answer"), REFUSED, ids=repr)
def test_a_wrong_answer_is_refused_in_one_line(template: Path, tmp_path: Path, question: str, answer: str) -> None:
    with pytest.raises(UserMessageError) as caught:
        run_copy(str(template), tmp_path / "service", data={question: answer}, defaults=True, unsafe=True, quiet=True)

    assert question in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "service").exists()


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ("project_name=", "project_name cannot be '': a name is one line of at most 80 characters without / and"),
        ("sampels=true", "There is no question 'sampels'. Did you mean 'samples'?"),
        ("samples=maybe", "samples is true or false, not 'maybe'."),
        ("python_version=3.14", "python_version is one of 3.11, 3.12, 3.13, not '3.14'."),
    ],
)
def test_the_command_line_shows_that_line_and_ends_with_1(
    template: Path, tmp_path: Path, answer: str, sentence: str
) -> None:
    command = [sys.executable, "-m", "copier", "copy", "--trust", "--defaults", "--data", answer]

    run = subprocess.run(
        [*command, str(template), str(tmp_path / "service")], capture_output=True, text=True, check=False
    )

    assert run.returncode == 1
    assert run.stdout == ""
    assert run.stderr.startswith(sentence)
    assert run.stderr.count("\n") == 1
    assert not (tmp_path / "service").exists()


@pytest.mark.parametrize(
    "identity",
    [
        "[user]\nname = \nemail = \n",
        "[user]\nname = Root\nemail = root@localhost\n",
        "[user]\nname = J\udcfcrgen\n",
        "",
    ],
)
def test_the_defaults_work_whatever_git_knows(
    template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, identity: str
) -> None:
    (tmp_path / "gitconfig").write_bytes(identity.encode("utf-8", "surrogateescape"))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))

    run_copy(str(template), tmp_path / "service", defaults=True, unsafe=True, quiet=True)

    project = tomllib.loads((tmp_path / "service" / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["authors"][0]["name"] in {"Nobody", "Root"}
    assert "email" not in project["authors"][0]


def test_an_empty_folder_is_needed_or_a_word_from_the_user(template: Path, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine")
    command = [sys.executable, "-m", "copier", "copy", "--trust", "--defaults", str(template), str(tmp_path)]

    run = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)

    assert run.returncode == 1
    assert (tmp_path / "README.md").read_text() == "mine"


def test_two_copies_with_the_same_answers_are_the_same(template: Path, tmp_path: Path) -> None:
    contents = []
    for name in ("first", "second"):
        run_copy(str(template), tmp_path / name, defaults=True, unsafe=True, quiet=True)
        files = [path for path in sorted((tmp_path / name).rglob("*")) if path.is_file()]
        contents.append({path.relative_to(tmp_path / name): path.read_bytes() for path in files})

    assert contents[0] == contents[1]


def test_no_question_is_secret() -> None:
    assert [name for name, question in QUESTIONS.items() if question.get("secret")] == []


def test_no_service_depends_on_its_own_name() -> None:
    settings = tomllib.loads((TEMPLATE / "pyproject.toml").read_text("utf-8"))
    groups = [settings["project"]["dependencies"], *settings["dependency-groups"].values()]

    assert closure(entry for group in groups for entry in group if isinstance(entry, str)) <= TAKEN
