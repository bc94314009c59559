"""What is installed: a wheel with every file that the package reads, and what it asks for."""

import configparser
import re
import shutil
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import kerasunsup

ROOT = Path(__file__).parent.parent
if not (ROOT / "setup.cfg").exists():
    pytest.skip("the package is installed apart from its checkout", allow_module_level=True)


@pytest.fixture(scope="module")
def configuration():
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def _requirements(text):
    """Name -> bounds, without extras."""
    pairs = (line.split(" ", 1) for line in text.strip().splitlines())
    return {name.split("[")[0]: bounds for name, bounds in pairs}


def test_wheel_holds_every_file_of_the_package_and_nothing_else(tmp_path):
    source = tmp_path / "source"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "kerasunsup", source / "kerasunsup", ignore=ignored)
    shutil.copytree(ROOT / "tests" / "data", source / "tests", ignore=ignored)
    shutil.copytree(ROOT / "benchmarks", source / "benchmarks", ignore=ignored)
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
    command = [sys.executable, "-c", build, tmp_path]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    files = (path for path in (source / "kerasunsup").rglob("*") if path.is_file())
    assert names == {path.relative_to(source).as_posix() for path in files}


def test_one_version_stands_everywhere(configuration):
    version = configuration["metadata"]["version"]
    assert kerasunsup.__version__ == version
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    released = re.findall(r"^## (\d\S*) - \d{4}-\d\d-\d\d$", changes, re.MULTILINE)
    assert released[0] == version


def test_gpu_asks_for_the_same_tensorflow(configuration):
    needed = _requirements(configuration["options"]["install_requires"])
    gpu = configuration["options.extras_require"]["gpu"].strip()
    assert gpu.startswith("tensorflow[and-cuda] ")
    assert _requirements(gpu) == {"tensorflow": needed["tensorflow"]}


def test_only_packages_whose_private_parts_are_used_have_an_upper_bound(configuration):
    needed = _requirements(configuration["options"]["install_requires"])
    assert {name for name, bounds in needed.items() if "<" in bounds} == {"keras", "keras-tuner"}
    assert all(bounds.startswith(">= ") for bounds in needed.values())


def test_installed_versions_are_within_the_bounds(configuration):
    for line in configuration["options"]["install_requires"].strip().splitlines():
        requirement = Requirement(line)
        version = metadata.version(requirement.name)
        assert version in requirement.specifier, f"{requirement.name} {version}"


def test_classifiers_begin_with_the_lowest_python(configuration):
    prefix = "Programming Language :: Python :: 3."
    lines = configuration["metadata"]["classifiers"].strip().splitlines()
    minors = [int(line.removeprefix(prefix)) for line in lines if line.startswith(prefix)]
    assert minors == list(range(minors[0], minors[0] + len(minors)))
    assert configuration["options"]["python_requires"] == f">=3.{minors[0]}"
