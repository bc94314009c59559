"""Runs the steps of the Dockerfile without Docker, then what its image starts.

    sudo python .ci/run_dockerfile.py ae --quick

Each stage gets a throw-away copy of this machine's files (an overlay in memory, about 3 GB) and a
fresh virtual environment in the place of the base image's Python; the steps run in it unchanged,
and the arguments go to the entry point, as the image's own user and once more as a user without a
name or home. What this does not show: that the packages need nothing from the system that a slim
image lacks. Linux only, as root.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTHON = "/usr/local/image"  # the virtual environment
NAMELESS = 54321
_SEEN = ("proc", "dev", "sys")


@dataclasses.dataclass
class Stage:
    """One stage of the image: its files, and what later steps begin with."""

    files: Path
    folder: str = "/"
    user: int = 0
    environment: dict[str, str] = dataclasses.field(default_factory=dict)
    entry_point: list[str] = dataclasses.field(default_factory=list)

    def run(self, command: Sequence[str]) -> None:
        """Runs a command inside.

        Raises:
            subprocess.CalledProcessError: if it fails.
        """

        def enter() -> None:
            os.chroot(self.files)
            os.chdir(self.folder)
            if self.user:
                os.setgroups([])
                os.setgid(self.user)
                os.setuid(self.user)

        kept = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
        environment = {"PATH": f"{PYTHON}/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"}
        environment |= kept | self.environment
        if self.user:
            environment["HOME"] = "/home/kerasunsup" if self.user != NAMELESS else "/"
        subprocess.run(command, preexec_fn=enter, env=environment, check=True)  # noqa: S603

    def path(self, name: str) -> Path:
        """A place inside, seen from outside."""
        return self.files / os.path.join(self.folder, name).lstrip("/")


def new_stage(folder: Path) -> Stage:
    """A copy of this machine with a fresh Python."""
    for name in ("upper", "work", "files"):
        (folder / name).mkdir(parents=True)
    options = f"lowerdir=/,upperdir={folder}/upper,workdir={folder}/work"
    _mount("-t", "overlay", "overlay", "-o", options, f"{folder}/files")
    for name in _SEEN:
        _mount("--rbind", f"/{name}", f"{folder}/files/{name}")
    stage = Stage(folder / "files")
    base = os.path.realpath(sys.executable)
    # Where Python lies in somebody's home, others could not start it.
    for parent in Path(base).parents:
        stage.path(str(parent)).chmod(0o755)
    stage.run([base, "-m", "venv", PYTHON])
    return stage


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)  # noqa: S603, S607


def instructions(text: str) -> list[tuple[str, str]]:
    """(instruction, its arguments) of each step of a Dockerfile."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    steps = "\n".join(lines).replace("\\\n", " ").splitlines()
    return [(step.split(None, 1)[0], step.split(None, 1)[1]) for step in steps if step.strip()]


def build(text: str, temporary: Path) -> Stage:
    """Runs all steps; returns the last stage.

    Raises:
        ValueError: if a step is of a kind that is not known here.
    """
    stages: dict[str, Stage] = {}
    for name, rest in instructions(text):
        print(f"+ {name} {rest}", flush=True)
        words = rest.split()
        if name == "FROM":
            stage = new_stage(temporary / str(len(stages)))
            stages[words[2] if len(words) == 3 else "last"] = stage
        elif name == "WORKDIR":
            stage.path(rest).mkdir(parents=True, exist_ok=True)
            stage.folder = rest
        elif name == "COPY" and words[0].startswith("--from="):
            source = stages[words[0].removeprefix("--from=")].path(words[1])
            shutil.copytree(source, stage.path(words[2]))
        elif name == "COPY" and words == [".", "."]:
            copy_context(stage.path("."))
        elif name == "RUN":
            stage.run(["/bin/sh", "-c", rest])
        elif name == "ENV":
            stage.environment |= dict(word.split("=", 1) for word in words)
        elif name == "USER":
            stage.user = int(rest)
        elif name == "ENTRYPOINT":
            stage.entry_point = json.loads(rest)
        elif name != "CMD":
            raise ValueError(f"the step {name} {rest} is not known here: add it")
    return stage


def copy_context(target: Path) -> None:
    """Copies what `.dockerignore` lets in."""
    for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").split():
        source = ROOT / line[1:]
        if line.startswith("!") and source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, target / source.name, ignore=ignored)
        elif line.startswith("!"):
            shutil.copy(source, target / source.name)


def main(arguments: list[str]) -> None:
    """Builds, then starts the entry point with the arguments."""
    if os.environ.get("APART") != "1":  # mounts must not be seen by the rest of the machine
        command = ["unshare", "--mount", sys.executable, __file__, *arguments]
        sys.exit(subprocess.run(command, env=os.environ | {"APART": "1"}).returncode)  # noqa: S603
    temporary = Path(tempfile.mkdtemp())
    _mount("-t", "tmpfs", "tmpfs", str(temporary))
    try:
        stage = build((ROOT / "Dockerfile").read_text(encoding="utf-8"), temporary)
        stage.run([*stage.entry_point, *arguments])
        # A new container has nothing of the first, and a folder of that user's own is mounted.
        shutil.rmtree(stage.path("/tmp/matplotlib"))  # noqa: S108
        stage.path("mounted").mkdir()
        stage.path("mounted").chmod(0o777)
        stage.user, stage.folder = NAMELESS, "/work/mounted"
        stage.run([*stage.entry_point, *arguments])
    finally:
        subprocess.run(["umount", "--recursive", "--lazy", str(temporary)], check=False)  # noqa: S603, S607
        temporary.rmdir()
    print("the steps of the Dockerfile ran, and the command in what they made")


if __name__ == "__main__":
    main(sys.argv[1:])
