"""`apply outliers`, with a small untrained model."""

import json
import shutil

import numpy as np
import pytest
from apply_command import complaint, run, table, write
from PIL import Image

from kerasunsup.data import from_folder


@pytest.mark.parametrize("reference", [True, False])
def test_outliers_are_sorted_and_the_odd_one_comes_first(model, tmp_path, reference):
    images, clean = tmp_path / "images", tmp_path / "clean"
    write(images, [f"{number:02d}.png" for number in range(49)])
    Image.fromarray(np.full((16, 16), 255, np.uint8)).save(images / "white.png")
    write(clean, [f"{number:02d}.png" for number in range(60)], seed=9)
    more = ["--reference", clean, "--share", 0.1] if reference else ["--share", 0.1]
    output = tmp_path / "out"
    assert run("outliers", model, images, "--output", output, *more) == 0
    rows = table(output / "outliers.csv")
    assert rows[0]["file"] == "white.png"
    assert rows[0]["outlier"] == "1"
    scores = [float(row["score"]) for row in rows]
    assert scores == sorted(scores, reverse=True)
    flagged = sum(int(row["outlier"]) for row in rows)
    assert 1 <= flagged <= 25 if reference else flagged == 5


@pytest.mark.parametrize("spread", [0, 3])
@pytest.mark.parametrize("reference", [False, True])
def test_of_images_that_are_all_alike_none_is_an_outlier(
    model, tmp_path, capsys, spread, reference
):
    folder = tmp_path / "scans"
    folder.mkdir()
    random = np.random.default_rng(0)
    for number in range(40):
        scan = 240 + random.integers(0, spread + 1, (16, 16), dtype=np.uint8)
        Image.fromarray(scan).save(folder / f"{number:02d}.png")
    more = ["--reference", folder] if reference else []
    assert run("outliers", model, folder, "--output", tmp_path / "out", *more) == 0
    rows = table(tmp_path / "out" / "outliers.csv")
    assert [row["outlier"] for row in rows] == ["0"] * 40
    assert "the 40 images of" in (told := capsys.readouterr().out)
    assert "are all alike" in told
    assert run("cluster", model, folder, "--output", tmp_path / "groups", "--clusters", 3) == 0
    assert {row["cluster"] for row in table(tmp_path / "groups" / "clusters.csv")} == {"0"}


def test_an_odd_image_among_equal_ones_is_the_only_outlier(model, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    Image.fromarray(np.zeros((16, 16), np.uint8)).save(folder / "odd.png")
    for number in range(40):
        Image.fromarray(np.full((16, 16), 240, np.uint8)).save(folder / f"{number:02d}.png")
    shutil.copy(model / "model.keras", tmp_path)  # alone it knows no images but these
    more = ["--output", tmp_path / "out", "--share", 0.2]
    assert run("outliers", tmp_path / "model.keras", folder, *more) == 0
    rows = table(tmp_path / "out" / "outliers.csv")
    assert [row["file"] for row in rows if row["outlier"] == "1"] == ["odd.png"]


@pytest.mark.parametrize("verb", ["outliers", "duplicates"])
def test_training_images_that_are_gone_are_told_of_before_any_image_is_read(
    model, folder, tmp_path, capsys, monkeypatch, verb
):
    run_folder = tmp_path / "logs" / "ae" / "moved"
    shutil.copytree(model, run_folder)
    config = json.loads((run_folder / "config.json").read_text())
    config["data"] = str(tmp_path / "gone")
    (run_folder / "config.json").write_text(json.dumps(config))

    def read(*_, **__):
        raise AssertionError("an image was read")

    monkeypatch.setattr(from_folder, "decoded", read)
    monkeypatch.setattr(from_folder, "measured", read)
    line = complaint(capsys, verb, run_folder, folder, "--output", tmp_path / "out")
    assert "give clean images by --reference" in line
