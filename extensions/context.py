"""The rules that Copier itself does not enforce, checked before anything is written."""

import difflib
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import yaml
from copier.errors import UserMessageError
from copier_template_extensions import ContextHook
from jinja2 import Environment

# What a feature cannot do without.
NEEDS: dict[str, tuple[str, ...]] = {"auth": ("database",), "tasks": ("database",)}

# Questions of earlier versions: without their names here, the update of a service that answered them stops half way.
RETIRED: frozenset[str] = frozenset()

BOOLEANS = frozenset(("true", "yes", "y", "on", "1", "false", "no", "n", "off", "0"))

QUESTIONS: dict[str, dict[str, Any]] = {  # a question's keys have values of many types
    name: question
    for name, question in yaml.safe_load(Path(__file__).parents[1].joinpath("copier.yml").read_text("utf-8")).items()
    if not name.startswith("_")
}


class Rules(ContextHook):
    """Refuses, in one line, answers that Copier would ignore, bend, or meet with a traceback.

    The rules are the questions' own `choices` and `validator`. They hold for recorded answers too, in every phase.
    """

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self.accepted: set[tuple[str, str]] = set()

    def hook(self, context: MutableMapping[str, Any]) -> None:  # Copier's, with anything in it
        given = context["_copier_conf"]["data"]
        for name in given:
            if not name.startswith("_") and name not in RETIRED:
                self.check(name, given[name])
        for name in QUESTIONS.keys() & context.keys():
            self.check(name, context[name])
        if context["_copier_phase"] == "render":
            for name, needs in NEEDS.items():
                for need in needs:
                    if context[name] and not context[need]:
                        raise UserMessageError(f"{name} needs {need}: answer {need}=true, or {name}=false.")

    def check(self, name: str, answer: object) -> None:
        if (name, repr(answer)) in self.accepted:
            return
        if refusal := self.refusal(name, answer):
            raise UserMessageError(refusal)
        self.accepted.add((name, repr(answer)))

    def refusal(self, name: str, answer: object) -> str:
        if name not in QUESTIONS:
            near = difflib.get_close_matches(name, QUESTIONS, 1)
            return f"There is no question {name!r}." + (f" Did you mean {near[0]!r}?" if near else "")
        question = QUESTIONS[name]
        if question["type"] == "bool" and str(answer).strip().lower() not in BOOLEANS:
            return f"{name} is true or false, not {answer!r}."
        if "choices" in question and str(answer) not in question["choices"]:
            return f"{name} is one of {', '.join(question['choices'])}, not {answer!r}."
        if "validator" in question:
            reason: str = self.environment.from_string(question["validator"]).render({name: answer}).strip()
            return reason and f"{name} cannot be {answer!r}: {reason}."
        return ""
