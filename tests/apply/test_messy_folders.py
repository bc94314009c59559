"""`apply` on folders as people have them: results among images, files that vanish, odd names."""

import shutil

import numpy as np
import pytest
from apply_command import complaint, files, run, table, write
from PIL import Image

from kerasunsup.apply import encoded_images, outlier_maps
from kerasunsup.data import from_folder, from_idx, images
from kerasunsup.evaluation import oddity_maps


@pytest.fixture
def few(tmp_path):
    write(tmp_path / "few", [f"{number}.png" for number in range(12)])
    return tmp_path / "few"


@pytest.mark.parametrize(("verb", "flag"), [("similar", "--query"), ("duplicates", "--against")])
def test_results_in_the_folder_of_a_flag_are_not_taken_for_its_images(
    model, few, tmp_path, capsys, verb, flag
):
    write(tmp_path / "more", ["a.png", "b.png"], seed=1)
    models = [model] if verb == "similar" else []
    shutil.copy(few / "0.png", tmp_path / "more" / "c.png")
    command = (verb, *models, few, flag, tmp_path / "more", "--output", tmp_path / "more" / "out")
    assert run(*command) == 0
    assert any(name.endswith("_sheet.png") for name in files(tmp_path / "more" / "out"))
    capsys.readouterr()
    assert run(*command) == 0
    assert "is done already" in capsys.readouterr().out


def test_a_refused_command_leaves_nothing_where_images_cannot_be_read(model, tmp_path, capsys):
    write(tmp_path / "one", ["a.png"])
    (tmp_path / "one" / "zero.png").write_bytes(b"")
    line = complaint(capsys, "similar", model, tmp_path / "one", "--output", tmp_path / "out")
    assert "need two images" in line
    assert not (tmp_path / "out").exists()


def test_an_output_whose_name_is_too_long_is_named(few, tmp_path, capsys):
    line = complaint(capsys, "check", few, "--output", tmp_path / ("x" * 300))
    assert "IMAGES" not in line
    assert "File name too long" in line


@pytest.fixture
def vanishing(few, monkeypatch):
    """An image that is gone as soon as all are encoded."""
    usual = encoded_images.encode_stream

    def then_gone(model, stream, *more, **settings):
        found = usual(model, stream, *more, **settings)
        (few / "3.png").unlink(missing_ok=True)
        return found

    monkeypatch.setattr(encoded_images, "encode_stream", then_gone)
    monkeypatch.setattr(oddity_maps, "_ROUNDS", 2)
    return few


@pytest.mark.parametrize("verb", ["select", "outliers", "similar"])
def test_an_image_that_vanishes_after_it_was_encoded_is_shown_white(
    model, vanishing, tmp_path, verb
):
    more = {"select": ["--count", 12], "outliers": ["--share", 0.5]}
    alone = shutil.copy(model / "model.keras", tmp_path)
    write(tmp_path / "asked", ["q.png"], seed=3)
    query = ["--query", tmp_path / "asked"] if verb == "similar" else []
    command = (verb, alone, vanishing, *more.get(verb, []), *query)
    assert run(*command, "--output", tmp_path / "out") == 0
    name = {"select": "selected", "outliers": "outliers", "similar": "similar"}[verb]
    assert len(table(tmp_path / "out" / f"{name}.csv")) >= 10
    assert f"{name}_sheet.png" in files(tmp_path / "out")


def test_known_images_that_are_gone_leave_outliers_without_maps(model, few, tmp_path, monkeypatch):
    usual = outlier_maps.write_maps

    def after_all_went(*arguments):
        for path in few.iterdir():
            path.unlink()
        return usual(*arguments)

    monkeypatch.setattr(outlier_maps, "write_maps", after_all_went)
    alone = shutil.copy(model / "model.keras", tmp_path)
    assert run("outliers", alone, few, "--output", tmp_path / "out") == 0
    assert len(table(tmp_path / "out" / "outliers.csv")) == 12


def test_a_file_that_vanishes_while_it_is_measured_is_unreadable(tmp_path):
    Image.fromarray(np.full((4, 4), 999, np.uint16)).save(tmp_path / "deep.png")

    def measure(picture, path):
        (tmp_path / "deep.png").unlink()
        return len(open(path, "rb").read())

    (outcome,) = from_folder.measured([str(tmp_path / "deep.png")], measure, white=999.0)
    assert outcome == "No such file or directory"


def test_maps_of_names_that_become_alike_are_files_of_their_own(tmp_path):
    names = ["a.jpg", "a.jpg.png", "b.png", "A.JPG", f"{'x' * 248}.jpg", "000004.png", "c.jpg",
             "c.jpg.png/d.png"]  # fmt: skip
    found = outlier_maps.names_of_maps(names, range(len(names)))
    assert found[1:4] == ["a.jpg.png", "b.png", "A.JPG.png"]
    assert found[0] == "a.jpg-2.png"
    assert found[5] == "000004.png"
    assert found[4] == "000004-2.png"
    assert len({*found}) == len(names)
    for name in found:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_bytes(images.encode_png(np.zeros((1, 1, 1), np.uint8)))


@pytest.mark.parametrize(("verb", "part"), [("check", "measures"), ("duplicates", "looks_images")])
def test_parts_that_an_earlier_version_left_are_made_anew(few, tmp_path, verb, part):
    work = tmp_path / "out" / ".work" / part
    work.mkdir(parents=True)
    numbers = np.arange(12)
    np.savez(work / "000000000.npz", positions=numbers, unreadable=numbers[:0])
    assert run(verb, few, "--output", tmp_path / "out") == 0
    assert run(verb, few, "--output", tmp_path / "whole") == 0
    name = f"{verb}.csv"
    assert (tmp_path / "out" / name).read_text() == (tmp_path / "whole" / name).read_text()


def test_a_folder_that_may_not_be_read_is_called_so(tmp_path, capsys, monkeypatch):
    write(tmp_path / "photos", ["a.png"])

    def refused(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(from_idx, "files_of_images", refused)  # root may read all
    line = complaint(capsys, "check", tmp_path / "photos", "--output", tmp_path / "out")
    assert "no permission to use" in line
    assert "change its rights" in line
    assert not (tmp_path / "out").exists()
