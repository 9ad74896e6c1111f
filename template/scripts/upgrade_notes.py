"""Say what an update of the template has changed, and what to do before the next deploy.

`poe upgrade-notes` is about the update that is not committed yet, or else about the last one;
`poe upgrade-notes REVISION` about everything since a revision, for example the one that is deployed.
"""

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

SERVICE = Path(__file__).parents[1]
ANSWERS = ".copier-answers.yml"
TABLE = re.compile(r'__tablename__ = "(\w+)"')
# how Copier abbreviates the address of a template
HOSTS = {"gh:": "https://github.com/", "gl:": "https://gitlab.com/", "git+": ""}


def git(*arguments: str, folder: Path = SERVICE, index: str | None = None) -> str:
    environment = {**os.environ, **({"GIT_INDEX_FILE": index} if index else {})}
    command = ["git", *arguments]
    run = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, encoding="utf-8", errors="replace", check=True
    )
    return run.stdout


class Tree:
    """The files that a commit or a tree of git's holds."""

    def __init__(self, name: str, folder: Path = SERVICE) -> None:
        self.folder = folder
        listing = git("ls-tree", "-r", "-z", name, folder=folder)
        self.blobs = {path: blob for blob, path in re.findall(r"\S+ blob (\w+)\t([^\0]+)", listing)}

    def read(self, path: str) -> str:
        """Return the text of a file, and nothing where there is none."""
        return git("cat-file", "blob", self.blobs[path], folder=self.folder) if path in self.blobs else ""

    def answers(self) -> dict[str, str]:
        found = re.findall(r"^(\w+): (.+(?:\n +.+)*)", self.read(ANSWERS), re.MULTILINE)
        return {name: " ".join(answer.split()).strip("'") for name, answer in found}

    def settings(self) -> dict[str, str]:
        return dict(re.findall(r"^([A-Z][A-Z0-9_]*)=(.*)$", self.read(".env.example"), re.MULTILINE))

    def dependencies(self) -> dict[str, str]:
        project = tomllib.loads(self.read("pyproject.toml"))
        groups = [project["project"]["dependencies"], *project.get("dependency-groups", {}).values()]
        found = [re.match(r"[\w.-]+", entry) for group in groups for entry in group if isinstance(entry, str)]
        return {name[0]: name.string[name.end() :] for name in found if name}

    def models(self) -> dict[str, str]:
        return {path: self.read(path) for path in self.blobs if re.fullmatch("app/(.+/)?models.py", path)}

    def tables(self) -> dict[str, str]:
        """Return the file of each table by the table's name."""
        return {name: path for path, text in self.models().items() for name in re.findall(TABLE, text)}


def working_tree() -> str:
    """Return the working tree as a tree of git's; the index stays as it is."""
    with TemporaryDirectory() as folder:
        index = str(Path(folder, "index"))
        git("read-tree", "HEAD", index=index)
        git("add", "--all", ".", index=index)
        return git("write-tree", index=index).strip()


def before_and_after(revision: str = "") -> tuple[str, str]:
    """Return the two commits that are compared; the second is empty where it is the working tree."""
    changed = git("status", "--porcelain", "--", ANSWERS)
    if revision or changed:
        return git("rev-parse", "--short", f"{revision or 'HEAD'}^{{commit}}").strip(), ""
    commits = git("log", "--format=%h %p", "--", ANSWERS).splitlines()
    if len(commits) < 2:
        shallow = "true" in git("rev-parse", "--is-shallow-repository")
        sys.exit("The history is not here: git fetch --unshallow" if shallow else "There has been no update yet.")
    commit, parent, *_ = commits[0].split()
    return parent, commit


def entries(changelog: str) -> list[str]:
    """Return each entry on one line."""
    return [" ".join(entry.split()) for entry in re.findall(r"^- (.+(?:\n  .+)*)", changelog, re.MULTILINE)]


def gives(source: str, text: str) -> bool:
    """Say whether a file of the template gives this text, with whatever answers."""
    pieces = re.split(r"(^.*# [{]%.*\n|[{]@.*?@[}])", source, flags=re.MULTILINE)
    for number, piece in enumerate(pieces):
        if number % 2 == 0:
            stripped = any(re.search("[{]%-", directive) for directive in pieces[number + 1 : number + 2])
            pieces[number] = re.escape(piece.rstrip() if stripped else piece)
        elif "@" in piece:
            pieces[number] = ".*"
        else:
            pieces[number] = r")?\s*" if "endif" in piece else r"\s*(?:"
    return re.fullmatch("".join(pieces), text) is not None


def from_the_template(before: Tree, after: Tree, gone: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the changelog of the versions between, and which of the files that are gone had been edited."""
    old, new = before.answers(), after.answers()
    url = new["_src_path"]
    for short, long in HOSTS.items():
        url = re.sub(f"^{re.escape(short)}", long, url)
    with TemporaryDirectory() as folder:
        git("clone", "--quiet", "--bare", "--", url, folder)
        then, now = Tree(old["_commit"], Path(folder)), Tree(new["_commit"], Path(folder))
        known, sources = entries(then.read("CHANGELOG.md")), {path: then.read(f"template/{path}") for path in gone}
        news = [entry for entry in entries(now.read("CHANGELOG.md")) if entry not in known]
    off = tuple(f"`{name}`:" for name, answer in new.items() if answer == old.get(name) == "false")
    edited = [path for path, source in sources.items() if source and not gives(source, before.read(path))]
    return [entry for entry in news if not entry.startswith(off)], edited


def difference(before: Mapping[str, str], after: Mapping[str, str]) -> Iterable[str]:
    for name in {**before, **after}:
        if name not in before:
            yield f"+ {name} {after[name]}".rstrip()
        elif name not in after:
            yield f"- {name}"
        elif before[name] != after[name]:
            yield f"~ {name} {before[name]} -> {after[name]}"


def section(title: str, lines: Iterable[str]) -> None:
    if text := "".join(f"  {line}\n" for line in lines):
        print(f"{title}\n{text}")


def main() -> None:
    if "--help" in sys.argv:
        print(__doc__)
        return
    old, new = before_and_after(*sys.argv[1:2])
    if conflicts := git("diff", "--name-only", "--relative", "--diff-filter=U").splitlines():
        section("Conflicts: the template and you have changed the same lines", conflicts)
        sys.exit("Keep what you need of both, remove the marks, `git add` the files, and ask again.")
    before, after = Tree(old), Tree(new or working_tree())
    if not before.answers() or not after.answers():
        sys.exit(f"There is no {ANSWERS} to compare.")
    gone = [path for path in before.blobs if path not in after.blobs]
    packages = re.findall(r"^app/(.+)/__init__.py$", "\n".join(gone), re.MULTILINE)
    left = [path for path in after.blobs if re.match(f"(app|tests)/({'|'.join(packages)})/", path)]
    try:
        news, edited = from_the_template(before, after, gone)
    except subprocess.CalledProcessError as error:
        news, edited = [], []
        section(
            "The template cannot be read, so its news and your changes in files that are gone are missing here",
            error.stderr.splitlines(),
        )
    dependencies = list(difference(before.dependencies(), after.dependencies()))

    print(f"From {old} to {new or 'the working tree'}\n")
    section("Version and answers", difference(before.answers(), after.answers()))
    section("News of the template", news)
    section("Settings, and their defaults", difference(before.settings(), after.settings()))
    section("Dependencies", dependencies)
    section(
        "Tables; one that is gone keeps its rows until a migration drops it",
        difference(before.tables(), after.tables()),
    )
    section(f"Gone, with changes of yours: git restore --source {old} -- PATH", edited)
    section("Left over, yours, from a package that is gone", left)
    todo = ["uv lock"] if dependencies else []
    if "[tool.poe.tasks.migration]" in after.read("pyproject.toml") and before.models() != after.models():
        todo += ['uv run poe migration "update from the template"', "uv run poe migrate"]
    section("To do, before you commit and deploy", [*todo, "uv run poe check"])


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as error:
        sys.exit(error.stderr)
