"""Does what a job of a GitHub workflow does: `python -m tests.container ../service container`."""

import subprocess
import sys
from pathlib import Path

import yaml


def scripts(service: Path, job: str) -> list[str]:
    """Return what the job runs, without what it runs only after a failure."""
    workflow = yaml.safe_load((service / ".github" / "workflows" / "ci.yml").read_text("utf-8"))
    steps = workflow["jobs"][job]["steps"]
    return [step["run"] for step in steps if "run" in step and "if" not in step]


def main(service: str, job: str) -> None:
    for script in scripts(Path(service), job):
        print(script, flush=True)
        subprocess.run(["bash", "-e", "-o", "pipefail", "-c", script], cwd=service, check=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
