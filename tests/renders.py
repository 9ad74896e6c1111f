"""Has Copier render the same templates again and again in a fifth of the time; what it renders is the same."""

from pathlib import Path
from typing import Any

import jinja2
import pytest
from copier import _template
from copier._main import Worker
from copier._vcs import clone, get_git
from jinja2.lexer import get_lexer


def hasten(patch: pytest.MonkeyPatch, clones: Path) -> None:
    """Compile each text once, and clone each commit once, into this folder."""
    compile_template = jinja2.Environment.compile
    compiled: dict[object, Any] = {}

    def compile_once(
        self: jinja2.Environment, source: Any, name: str | None = None, filename: str | None = None, **options: Any
    ) -> Any:
        if not isinstance(source, str) or "|git_" in source:  # what git says is put in while it is compiled
            return compile_template(self, source, name, filename, **options)
        # A text is read alike wherever it lies; equal settings have one lexer.
        key = (source, name, type(self), get_lexer(self), *self.extensions, *options.items())
        if key not in compiled:
            compiled[key] = compile_template(self, source, name, filename, **options)
        return compiled[key]

    cloned: dict[tuple[str, str], str] = {}

    def clone_once(url: str, ref: str = "HEAD", location: str | None = None) -> str:
        if ref == "HEAD":  # with what is not committed
            return clone(url, ref, location)
        commit = get_git(url)("rev-parse", f"{ref}^{{commit}}")
        if (url, commit) not in cloned:
            cloned[url, commit] = clone(url, ref, str(clones / str(len(cloned))))
        return cloned[url, commit]

    patch.setattr(jinja2.Environment, "compile", compile_once)
    patch.setattr(_template, "clone", clone_once)
    # It asks git once for each file whether modes count, which they do wherever these tests run.
    patch.setattr(Worker, "_sync_git_index_executable_bit", lambda *_: None)
