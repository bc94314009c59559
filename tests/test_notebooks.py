"""The notebooks in `examples/` run from the first cell to the last, on few images."""

import re
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")

EXAMPLES = Path(__file__).parent.parent / "examples"
FEW = {
    "study": {"TRAINING_IMAGES": 400, "TEST_IMAGES": 60, "EPOCHS": 1, "GAN_EPOCHS": 1},
    "own_images": {"PICTURES": 100, "EPOCHS": 1},
}


def test_every_notebook_is_tried():
    assert {path.stem for path in EXAMPLES.glob("*.ipynb")} == set(FEW)


@pytest.mark.slow("examples", "kerasunsup/estimators", "kerasunsup/__init__.py")
@pytest.mark.filterwarnings("ignore:.*without encryption.*:UserWarning")
@pytest.mark.parametrize("name", FEW)
def test_a_notebook_runs(name, tmp_path):
    notebook = nbformat.read(EXAMPLES / f"{name}.ipynb", 4)
    first = next(cell for cell in notebook.cells if cell.cell_type == "code")
    names = ", ".join(FEW[name])
    first.source, changed = re.subn(
        rf"{names} = .*", f"{names} = {', '.join(map(str, FEW[name].values()))}", first.source
    )
    assert changed == 1
    client = nbclient.NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    )
    client.execute()
    outputs = [out for cell in notebook.cells if cell.cell_type == "code" for out in cell.outputs]
    assert any("image/png" in out.get("data", {}) for out in outputs)
    assert not [out for out in outputs if out.get("name") == "stderr"]  # nothing to be puzzled by


@pytest.mark.parametrize("name", FEW)
def test_outputs_are_committed_and_small(name):
    path = EXAMPLES / f"{name}.ipynb"
    assert path.stat().st_size < 700_000
    notebook = nbformat.read(path, 4)
    codes = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in codes)
    assert not re.search(r"/(tmp|home|root)/", path.read_text(encoding="utf-8"))
