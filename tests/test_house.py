"""The rules of the house, read from the source: who may import whom, owners of tools, sizes."""

import ast
import configparser
from pathlib import Path

import pytest

import kerasunsup

PACKAGE = Path(kerasunsup.__file__).parent

# Plain Python, knows no command.
SLAB = ("cli", "settings", "errors", "progress", "tensorflow_startup")
_TRAINING = ("training", "models", "data", "evaluation", "figures", *SLAB)

# Folder -> what it may import of ours; a name with a dot is that module only.
MAY_IMPORT = {
    "report": ("ae", "gan", "supervised", "novelty", "apply", "search", *_TRAINING),
    "estimators": ("ae", "gan", "supervised", "search", *_TRAINING),
    "supervised": ("ae", "search", *_TRAINING),
    "novelty": ("ae", "search", *_TRAINING),
    "ae": ("search", *_TRAINING),
    "gan": _TRAINING,
    "apply": _TRAINING,
    "export": _TRAINING,
    "search": ("training", "figures", "data", *SLAB),
    "training": ("models", "data", "evaluation", "figures.style", *SLAB),
    "models": ("data", "training.files", *SLAB),  # an export is written whole or not at all
    "data": SLAB,
    "evaluation": ("errors",),
    "figures": ("errors",),
    "cli": ("settings", "errors", "tensorflow_startup"),
    "settings": ("errors",),
    "errors": (),
    "progress": (),
    "tensorflow_startup": ("errors",),
}

# Who may import a tool; all others are free.
OWNERS = {
    "argparse": ("cli",),
    "matplotlib": ("figures",),
    "tensorflow_datasets": ("data.from_tfds",),
    "sklearn": ("evaluation", "estimators"),  # base classes and mixins
    "PIL": ("data.images", "data.pillow_pixels", "data.perceptual_hashes"),
    "tensorboard": ("training.tensorboard",),
    "keras_tuner": ("search",),
    "jinja2": ("report",),
}

# These answer before TensorFlow is loaded, beside every `__main__` and `settings`.
LIGHT = (
    *SLAB, "report", "figures", "training.files", "training.run_folder", "search.record",
    "search.figures", "search.trial_points", "data.images", "data.bit_depth", "data.pillow_pixels",
    "data.pixel_storage", "data.decoding",
)  # fmt: skip
HEAVY = {"tensorflow", "keras", "sklearn", "scipy", "tensorflow_datasets", "tensorboard"}

SOURCES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in SOURCES.items()}


def imported(nodes) -> set[str]:
    """The full names that statements bring in: `kerasunsup.data.splits`, `numpy`."""
    names = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno} is a relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def own(names) -> set[str]:
    """The modules of the package among imported names, without the package's own name."""
    modules = set()
    for name in names:
        parts = name.split(".")[1:] if name.startswith("kerasunsup.") else []
        while (
            parts
            and ".".join(parts) not in SOURCES
            and ".".join([*parts, "__init__"]) not in SOURCES
        ):
            parts.pop()  # a class or a function of a module
        if parts:
            modules.add(".".join(parts))
    return modules


def lies_in(module: str, places) -> bool:
    return any(module == place or module.startswith(f"{place}.") for place in places)


def test_imports_follow_the_table():
    wrong = []
    for module, tree in TREES.items():
        folder = module.split(".")[0]
        if folder in ("__init__", "__main__"):
            continue  # the list of commands starts them by name
        for other in own(imported(ast.walk(tree))):
            if other.split(".")[0] != folder and not lies_in(other, MAY_IMPORT[folder]):
                wrong.append(f"{module} imports {other}")
    assert wrong == []
    # What it offers is imported when it is used; `typing` alone comes at once.
    assert imported(TREES["__init__"].body) == {
        "__future__.annotations",
        "typing",
    }


def test_no_folder_has_a_circle():
    below = {module: own(imported(ast.walk(tree))) & set(SOURCES) for module, tree in TREES.items()}
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join([*path, module])
        if module not in done:
            for other in below[module]:
                visit(other, (*path, module))
            done.add(module)

    for module in below:
        visit(module, ())


def test_each_tool_has_one_owner():
    for tool, owners in OWNERS.items():
        users = {
            module
            for module, tree in TREES.items()
            if any(name.split(".")[0] == tool for name in imported(ast.walk(tree)))
        }
        assert users
        assert [module for module in users if not lies_in(module, owners)] == []


def test_what_answers_at_once_imports_nothing_heavy():
    light = {
        module
        for module in SOURCES
        if module.split(".")[-1] in ("__init__", "__main__", "settings") or lies_in(module, LIGHT)
    }
    for module in light:
        names = imported(
            node
            for statement in TREES[module].body
            if not isinstance(statement, ast.FunctionDef | ast.ClassDef)
            and "TYPE_CHECKING" not in ast.dump(statement)
            for node in ast.walk(statement)
        )
        assert {name.split(".")[0] for name in names} & HEAVY == set(), module
        assert own(names) - light - {m.split(".")[0] for m in SOURCES} == set(), module


def test_files_functions_and_classes_are_of_readable_size():
    too_long = []
    for module, tree in TREES.items():
        lines = len(SOURCES[module].read_text(encoding="utf-8").splitlines())
        if lines > 400:
            too_long.append(f"{module}: {lines} lines")
        for node in ast.walk(tree):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                continue
            lines = node.end_lineno - node.lineno + 1
            if lines > (150 if isinstance(node, ast.ClassDef) else 60):
                too_long.append(f"{module}.{node.name}: {lines} lines")
    assert too_long == []


def test_every_module_says_what_it_is_and_none_checks_by_assert():
    for module, tree in TREES.items():
        assert ast.get_docstring(tree), module
        assert [node.lineno for node in ast.walk(tree) if isinstance(node, ast.Assert)] == [], (
            module
        )
        names = set(module.split("."))
        assert (
            names & {"utils", "util", "common", "base", "helpers", "misc", "tuning", "logs"}
            == set()
        )


def test_packaging_names_every_file_of_the_packaged_data():
    setup = PACKAGE.parent / "setup.cfg"
    if not setup.exists():
        pytest.skip("the package is installed apart from its checkout")
    parser = configparser.ConfigParser()
    parser.read(setup, encoding="utf-8")
    patterns = parser["options.package_data"]["kerasunsup"].split()
    named = {path for pattern in patterns for path in PACKAGE.glob(pattern) if path.is_file()}
    files = {
        path
        for path in PACKAGE.rglob("*")
        if path.is_file() and path.suffix != ".py" and "__pycache__" not in path.parts
    }
    assert len(files) >= 4
    assert files == named
