"""The maps of `apply outliers`, with a small untrained model."""

import shutil

import numpy as np
import pytest
from apply_command import files, run, table
from PIL import Image

from kerasunsup.evaluation import oddity_maps


@pytest.fixture
def stripes(tmp_path):
    """Striped pictures of twice the model's size; the odd one has a bright block."""
    random = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    for number in range(40):
        picture = 100 + 30 * (np.arange(32) // 4 % 2) + random.integers(0, 20, (32, 32))
        if number == 7:
            picture[12:24, 4:14] = 255 - picture[12:24, 4:14] // 4
        Image.fromarray(picture.astype(np.uint8)).save(tmp_path / "images" / f"{number:02d}.jpg")
    return tmp_path / "images"


@pytest.fixture
def alone(model, tmp_path):
    """A model that knows no images but those that it is given."""
    return shutil.copy(model / "model.keras", tmp_path)


@pytest.fixture
def one_round(monkeypatch):
    monkeypatch.setattr(oddity_maps, "_ROUNDS", 2)


def test_each_outlier_has_a_map_of_its_size_and_the_box_of_its_hottest_region(
    alone, stripes, tmp_path, one_round
):
    arguments = ["outliers", alone, stripes, "--resize", "--share", 0.05]
    assert run(*arguments, "--output", tmp_path / "out") == 0
    rows = table(tmp_path / "out" / "outliers.csv")
    names = list(rows[0])
    assert names == ["file", "score", "outlier", "share_less_odd", "x", "y", "width", "height"]
    flagged = [row for row in rows if row["outlier"] == "1"]
    assert flagged[0]["file"] == "07.jpg"
    expected = {f"maps/{row['file']}.png" for row in flagged}
    assert {name for name in files(tmp_path / "out") if name.startswith("maps/")} == expected
    heat = np.asarray(Image.open(tmp_path / "out" / "maps" / "07.jpg.png")).astype(float)
    assert heat.shape == (32, 32)
    assert heat.max() > 230  # white is the hottest place of the whole set, between two pixels here
    assert heat[14:22, 6:12].mean() > heat.mean() + 50
    x, y, width, height = (int(flagged[0][name]) for name in ("x", "y", "width", "height"))
    overlap = max(0, min(14, x + width) - max(4, x)) * max(0, min(24, y + height) - max(12, y))
    assert overlap / (width * height + 120 - overlap) > 0.4
    assert all(row["x"] == "" for row in rows if row["outlier"] == "0")


def test_maps_are_the_same_each_time_and_none_are_made_of_images_alike(
    alone, stripes, tmp_path, one_round
):
    arguments = ["outliers", alone, stripes, "--resize", "--output"]
    for name in ("one", "other"):
        assert run(*arguments, tmp_path / name) == 0
    for name in files(tmp_path / "one") - {"apply.json"}:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "other" / name).read_bytes()
    for path in stripes.iterdir():
        Image.fromarray(np.full((32, 32), 99, np.uint8)).save(path)
    assert run(*arguments, tmp_path / "alike") == 0
    assert "maps" not in {name.split("/")[0] for name in files(tmp_path / "alike")}
