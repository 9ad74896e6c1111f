"""Which services are proven: derived from the questions and the rules between them.

`python -m tests.combinations` lists them, `--matrix 4` prints the matrix of a workflow with four shards.
"""

import argparse
import functools
import itertools
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

import jinja2
import yaml

from extensions.context import NEEDS, QUESTIONS

REPOSITORY = Path(__file__).parents[1]
SETTINGS = {
    name: value
    for name, value in yaml.safe_load((REPOSITORY / "copier.yml").read_text("utf-8")).items()
    if name.startswith("_")
}

Answers = Mapping[str, bool | str]

BOOLEANS = [name for name, question in QUESTIONS.items() if question["type"] == "bool"]


def excluded(answers: Answers) -> set[str]:
    """Return the patterns of what a copy with these answers leaves out; a question not answered has its default."""
    options = {**SETTINGS["_envops"], "undefined": jinja2.StrictUndefined}
    defaults = {name: question["default"] for name, question in QUESTIONS.items()}
    context = {**defaults, "_copier_operation": "copy", **answers}
    patterns = "\n".join(
        jinja2.Environment(**options).from_string(entry).render(context) for entry in SETTINGS["_exclude"]
    )
    return {line.strip() for line in patterns.splitlines() if line.strip()}


def without(answers: Answers, name: str) -> Answers:
    """Switch a feature off, and with it whatever needs it."""
    answers = {**answers, name: False}
    for dependent, needs in NEEDS.items():
        if name in needs and answers.get(dependent):
            answers = without(answers, dependent)
    return answers


def with_needs(answers: Answers, name: str) -> Answers:
    """Switch a feature on, and with it whatever it needs."""
    answers = {**answers, name: True}
    for need in NEEDS.get(name, ()):
        answers = with_needs(answers, need)
    return answers


def valid(answers: Answers) -> bool:
    return all(answers[need] for name, needs in NEEDS.items() if answers[name] for need in needs)


def belongings(name: str) -> set[str]:
    """Return the patterns of what comes with a feature alone."""
    everything = dict.fromkeys(BOOLEANS, True)
    return excluded({**everything, name: False}) - excluded(everything)


FEATURES = [name for name in BOOLEANS if any(pattern.startswith("/app/") for pattern in belongings(name))]
"""The questions that change `app/`: every combination of them is proven."""

BARE: Answers = dict.fromkeys(FEATURES, False)
FULL: Answers = dict.fromkeys(FEATURES, True)
EACH: Sequence[Answers] = [with_needs(BARE, name) for name in FEATURES]
ALL_BUT_ONE: Sequence[Answers] = [without(FULL, name) for name in FEATURES]
ALL: Sequence[Answers] = [
    answers
    for values in itertools.product((False, True), repeat=len(FEATURES))
    if valid(answers := dict(zip(FEATURES, values, strict=True)))
]


def variants() -> Iterator[Answers]:
    """Yield each further value of every other closed question, with BARE and with FULL."""
    for name, question in QUESTIONS.items():
        if name not in FEATURES and (question["type"] == "bool" or "choices" in question):
            for value in question.get("choices", (False, True)):
                if value != question["default"]:
                    yield {**BARE, name: value}
                    yield {**FULL, name: value}


VARIANTS: Sequence[Answers] = list(variants())


def unique(combinations: Sequence[Answers]) -> list[Answers]:
    return list({identify(answers): answers for answers in combinations}.values())


def identify(answers: Answers) -> str:
    """Return a short name: `bare`, `samples`, `samples+ci=gitlab`."""
    on = [name for name in FEATURES if answers[name]]
    others = [f"{name}={value}" for name, value in answers.items() if name not in FEATURES]
    return "+".join([*(on or ["bare"]), *others])


Toggle = tuple[Answers, Answers]
"""The answers of a service, and those that an update gives it."""


def identify_toggle(toggle: Toggle) -> str:
    return "-".join(map(identify, toggle))


def toggles(number: int) -> Iterator[Toggle]:
    """Yield so many features on from BARE, and off from FULL."""
    for names in itertools.combinations(FEATURES, number):
        yield BARE, functools.reduce(with_needs, names, BARE)
        yield FULL, functools.reduce(without, names, FULL)


ONE: Sequence[Toggle] = list(toggles(1))
TWO: Sequence[Toggle] = [toggle for toggle in toggles(2) if toggle not in ONE]
EVERY: Sequence[Toggle] = [
    (answers, without(answers, name) if answers[name] else with_needs(answers, name))
    for answers in ALL
    for name in FEATURES
]


def drawn(seed: str) -> list[Toggle]:
    """Return up to twenty more toggles of any number of features, others for each seed."""
    count = len(ALL)
    numbers = random.Random(seed).sample(range(count**2), min(20, count**2))
    toggles = [(ALL[number // count], ALL[number % count]) for number in numbers]
    return [(before, after) for before, after in toggles if before != after and (before, after) not in [*ONE, *TWO]]


def absent_words(answers: Answers) -> set[str]:
    """Return the words that a service with these answers must not contain: those of the features that are off."""
    features = {name: answers[name] for name in FEATURES}
    left_out = [PurePosixPath(pattern) for pattern in excluded({**FULL, **features}) - excluded(FULL)]
    off = {name for name in FEATURES if not answers[name]}
    places = [PurePosixPath("/"), *(PurePosixPath("/", name) for name in ("app", "docs", "tests"))]
    return off | {path.stem for path in left_out if path.parent in places}


def main() -> None:
    parser = argparse.ArgumentParser(description="Which services are proven.")
    parser.add_argument("--matrix", type=int, metavar="N", help="print a workflow's matrix of N shards as JSON")
    shards = parser.parse_args().matrix
    if shards is not None:
        print(json.dumps({"shard": [f"{number}/{shards}" for number in range(1, shards + 1)]}))
    else:
        print(*(identify(answers) for answers in [*ALL, *VARIANTS]), sep="\n")


if __name__ == "__main__":
    main()
