"""The rules of the house, read from the source: floors, owners of tools, names."""

import ast
import configparser
from pathlib import Path

import pytest

import kerasunsup

PACKAGE = Path(kerasunsup.__file__).parent

# Imports go strictly down.
FLOORS = (
    {
        "config",
        "drawing",
        "images",
        "page",
        "quiet",
        "stores",
    },  # plain Python and NumPy, PIL, matplotlib
    # one tool or concern each
    {"command_line", "runs", "corruption", "networks", "optimizers", "metrics", "figures"}
    | {"folded"}
    | {
        "gan_model",
        "sheets",
        "score_figures",
        "confusion_figures",
        "augmentation",
        "classification",
        "tiles",
    },
    # one source, target or tool each, on top of a run's folder
    {"arrays", "folders", "catalogue", "latent", "board", "export", "oracles", "record"}
    | {"pseudo_labels", "outputs", "trained"},
    {"data", "callbacks", "probes", "outliers"},  # what a training is fed with and surrounded by
    {"judge", "training", "trials"}  # what trains
    | {"streams", "grouping", "duplicates"},  # images to be looked at, and what they have in common
    {"findings", "gan_findings", "search", "arms"}  # what a trained model is worth; many trainings
    | {"descriptions", "restoration"},  # what a trained model makes of images
    {
        "cluster",
        "jobs",
        "search_figures",
        "supervised_findings",
    },  # one search on several machines; what many trainings show
    {"autoencoder", "adversarial"},  # an experiment, from its settings to its export
    {
        "ae_search",
        "comparison",
        "application",
        "one_class",
    },  # what is searched in it; what is made of it
    {"ae", "gan", "supervised", "novelty", "apply"},  # its command line
    {"plan"},  # the study's steps, by their command lines
    {"evidence"},  # what stands of them, as parts of a page
    {"beyond", "study"},  # the two halves of the page
    {"report"},  # all of it
    {"__main__"},  # the list of commands
)
FLOOR_OF = {module: floor for floor, modules in enumerate(FLOORS) for module in modules}

# Who may import a tool; all others are free.
OWNERS = {
    "argparse": {"command_line"},
    "matplotlib": {"confusion_figures", "drawing", "figures", "score_figures", "sheets"},
    "tensorflow_datasets": {"catalogue"},
    "sklearn": {"latent", "classification", "grouping", "probes"},
    "PIL": {"images"},
    "tensorboard": {"board"},
    "tqdm": {"callbacks", "folders", "outputs"},
    "keras_tuner": {"oracles"},
}

# These answer before TensorFlow is loaded.
LIGHT = {
    "__init__", "__main__", "ae", "apply", "beyond", "command_line", "config", "confusion_figures",
    "drawing", "evidence", "figures", "gan", "images", "novelty", "page", "plan", "quiet", "record",
    "report", "runs", "score_figures", "search_figures", "sheets", "stores", "study", "supervised",
}  # fmt: skip

SOURCES = sorted(PACKAGE.rglob("*.py"))
TREES = {path.stem: ast.parse(path.read_text(encoding="utf-8")) for path in SOURCES}
MODULES = sorted(TREES)


def imported(node: ast.AST) -> list[str]:
    """The full names that an import statement brings in: `kerasunsup.data`, `numpy`."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [f"{node.module}.{alias.name}" for alias in node.names]
    return []


def imports(module: str) -> set[str]:
    """Every import of a module, those inside functions too."""
    return {name for node in ast.walk(TREES[module]) for name in imported(node)}


def first(names) -> set[str]:
    return {name.split(".")[0] for name in names}


def own(module: str) -> set[str]:
    """The modules of the package that a module imports."""
    return {name.split(".")[1] for name in imports(module) if name.startswith("kerasunsup.")}


def test_the_package_is_flat_and_no_two_modules_share_a_name():
    assert [path for path in SOURCES if path.parent != PACKAGE] == []
    assert len(TREES) == len(SOURCES) > 20


def test_every_module_has_its_floor_and_every_floor_its_modules():
    assert set(FLOOR_OF) == set(MODULES) - {"__init__"}
    assert len(FLOOR_OF) == sum(map(len, FLOORS))


@pytest.mark.parametrize("module", sorted(FLOOR_OF))
def test_imports_go_strictly_down(module):
    up = {other for other in own(module) if FLOOR_OF[other] >= FLOOR_OF[module]}
    assert up == set()


def test_the_package_itself_imports_nothing():
    assert imports("__init__") == set()


@pytest.mark.parametrize("module", MODULES)
def test_imports_are_absolute_and_of_modules(module):
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno} is relative"
            assert not (node.module or "").startswith("kerasunsup."), (
                f"line {node.lineno}: import the module and use `module.name`"
            )


def test_each_tool_has_one_owner():
    for tool, owners in OWNERS.items():
        users = {module for module in MODULES if tool in first(imports(module))}
        assert users <= owners, f"{tool} belongs to {owners}"


@pytest.mark.parametrize("tool", ["argparse", "tensorflow_datasets", "PIL"])
def test_the_owners_are_real(tool):
    (owner,) = OWNERS[tool]
    assert tool in first(imports(owner))


@pytest.mark.parametrize("module", sorted(LIGHT))
def test_light_modules_import_nothing_heavy_when_they_are_imported(module):
    assert module in TREES
    at_once = {
        name
        for statement in TREES[module].body
        if not isinstance(statement, ast.FunctionDef | ast.ClassDef)
        for node in ast.walk(statement)
        for name in imported(node)
    }
    heavy = {"tensorflow", "keras", "sklearn", "scipy", "tensorflow_datasets", "tensorboard"}
    assert first(at_once) & heavy == set()
    others = {name.split(".")[1] for name in at_once if name.startswith("kerasunsup.")}
    assert others <= LIGHT


@pytest.mark.parametrize("module", MODULES)
def test_no_room_without_a_name(module):
    assert module not in {"utils", "util", "common", "base", "helpers", "misc", "tuning", "logs"}


@pytest.mark.parametrize("module", MODULES)
def test_package_checks_without_assert(module):
    lines = [node.lineno for node in ast.walk(TREES[module]) if isinstance(node, ast.Assert)]
    assert lines == []


@pytest.mark.parametrize("module", sorted(set(MODULES) - {"__init__"}))
def test_every_module_says_what_it_is(module):
    assert ast.get_docstring(TREES[module])


def test_packaging_names_every_file_of_the_packaged_data():
    setup = PACKAGE.parent / "setup.cfg"
    if not setup.exists():
        pytest.skip("the package is installed apart from its checkout")
    parser = configparser.ConfigParser()
    parser.read(setup, encoding="utf-8")
    patterns = parser["options.package_data"]["kerasunsup"].split()
    named = {path for pattern in patterns for path in PACKAGE.glob(pattern) if path.is_file()}
    folders = ("mnist_data", "feature_network")
    files = {path for name in folders for path in (PACKAGE / name).rglob("*") if path.is_file()}
    assert len(files) >= 6
    assert files | {PACKAGE / "py.typed"} == named
