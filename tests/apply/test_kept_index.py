"""The index that `apply encode` keeps: searched by `similar`, and gone on with."""

import os
import shutil

import numpy as np
import pytest
from apply_command import complaint, files, run, table, write
from PIL import Image

from kerasunsup.apply import encoded_images, kept_index
from kerasunsup.apply.result_files import ResultFiles
from kerasunsup.data import from_folder
from kerasunsup.training import files as training_files


@pytest.fixture
def index(model, folder, tmp_path):
    assert run("encode", model, folder, "--output", tmp_path / "index") == 0
    return tmp_path / "index"


@pytest.fixture
def encoded(monkeypatch):
    """How many images were encoded in each block."""
    numbers, encode = [], encoded_images.encoded_block

    def counted(model, stream, positions, *more):
        numbers.append(len(positions))
        return encode(model, stream, positions, *more)

    monkeypatch.setattr(encoded_images, "encoded_block", counted)
    return numbers


def test_an_index_is_searched_without_the_images(model, folder, index, tmp_path, encoded):
    query = tmp_path / "query.png"
    shutil.copy(folder / "a" / "7.png", query)
    arguments = ["--query", query, "--neighbors", 3, "--output"]
    assert run("similar", index, *arguments, tmp_path / "by_index") == 0
    assert encoded == [1]
    assert run("similar", model, folder, *arguments, tmp_path / "by_images") == 0
    rows = table(tmp_path / "by_index" / "similar.csv")
    assert rows[0]["file"] == "a/7.png"
    assert rows == table(tmp_path / "by_images" / "similar.csv")
    assert (tmp_path / "by_index" / "similar_sheet.png").is_file()
    (folder / rows[1]["file"]).unlink()  # it is white on the contact sheet
    assert run("similar", index, *arguments, tmp_path / "again") == 0
    assert table(tmp_path / "again" / "similar.csv") == rows


def test_only_what_is_new_or_changed_is_encoded(model, folder, index, tmp_path, encoded):
    before = training_files.read_arrays(index / "codes.npz")
    write(folder, ["a/0_new.png", "z.png"], seed=8)
    (folder / "b" / "c" / "5.png").unlink()
    write(folder, ["a/3.png"], seed=9)
    (folder / "broken.png").write_bytes(b"no image")
    for at in range(2):
        if at:
            write(folder, ["a/0_more.png"], seed=10)
        assert run("encode", model, folder, "--output", index) == 0
    assert encoded == [4, 2]  # the broken one is tried again
    after = training_files.read_arrays(index / "codes.npz")
    assert after["files"].tolist() == sorted(files(folder) - {"broken.png"})
    assert [row["file"] for row in table(index / "unreadable.csv")] == ["broken.png"]
    assert run("encode", model, folder, "--output", tmp_path / "anew") == 0
    anew = training_files.read_arrays(tmp_path / "anew" / "codes.npz")
    np.testing.assert_array_equal(after["files"], anew["files"])
    np.testing.assert_allclose(after["codes"], anew["codes"], atol=1e-5)
    kept = np.isin(after["files"], before["files"]) & (after["files"] != "a/3.png")
    same = np.isin(before["files"], after["files"][kept])
    np.testing.assert_array_equal(after["codes"][kept], before["codes"][same])
    numbers = training_files.read_json(index / "apply.json")
    assert numbers["done"]
    assert numbers["numbers"]["images"] == 42
    assert files(index) == {
        "apply.json", "codes.csv", "codes.npz", "index.npz", "unreadable.csv",
    }  # fmt: skip


def test_a_mended_image_is_no_longer_listed(model, folder, tmp_path):
    good = (folder / "a" / "3.png").read_bytes()
    for content in (b"no image", good):
        (folder / "a" / "3.png").write_bytes(content)
        assert run("encode", model, folder, "--output", tmp_path / "index") == 0
        assert (tmp_path / "index" / "unreadable.csv").exists() == (content != good)
    assert len(kept_index.opened(tmp_path / "index").names) == 40


def test_another_white_of_deep_images_encodes_all_anew(model, tmp_path, encoded):
    """Images of more than 8 bits are scaled alike: a brighter one changes the codes of all."""
    folder = tmp_path / "deep"
    folder.mkdir()
    random = np.random.default_rng(0)
    for name, most, number in (("a", 4096, 12), ("b", 4096, 1), ("c", 65_536, 14)):
        pixels = random.integers(0, most, (16, 16)).astype(np.uint16)
        pixels[0, 0] = most - 1
        for index in range(number if name == "a" else 1):
            Image.fromarray(pixels).save(folder / f"{name}{index}.png")
        assert run("encode", model, folder, "--output", tmp_path / "index") == 0
        assert encoded.pop() == number


def test_images_that_were_only_removed_leave_the_index(model, folder, index, encoded):
    (folder / "a" / "3.png").unlink()
    assert run("encode", model, folder, "--output", index) == 0
    assert encoded == []
    assert "a/3.png" not in kept_index.opened(index).names


@pytest.mark.parametrize(
    ("where", "name", "number"),
    [
        (ResultFiles, "write_table", 2),  # what is finished is found again, of these images
        (kept_index, "write", 42),  # codes.npz was written alone: they do not belong together
    ],
)
def test_a_stopped_update_goes_on_and_other_images_do_not_get_its_codes(
    model, folder, index, monkeypatch, encoded, where, name, number
):
    write(folder, ["a/new.png"], seed=8)
    with monkeypatch.context() as patched:
        patched.setattr(where, name, _stop)
        assert run("encode", model, folder, "--output", index) == 130
        assert run("encode", model, folder, "--output", index) == 130
    write(folder, ["a/other.png"], seed=9)
    del encoded[1:]
    assert run("encode", model, folder, "--output", index) == 0
    assert encoded == [1, number]
    assert kept_index.opened(index).names == sorted(files(folder))


def _stop(*_):
    raise KeyboardInterrupt


def test_other_settings_are_another_command(model, folder, index, capsys):
    line = complaint(capsys, "encode", model, folder, "--resize", "--output", index)
    assert "another command: their --resize is False, now it is True" in line


def test_results_without_an_index_are_refused_as_before(model, folder, index, capsys):
    (index / "index.npz").unlink()
    write(folder, ["a/new.png"], seed=8)
    line = complaint(capsys, "encode", model, folder, "--output", index)
    assert "made with other images" in line


def test_images_of_another_folder_do_not_take_the_place_of_those_of_an_index(
    model, folder, index, tmp_path, monkeypatch, capsys
):
    write(tmp_path / "others", ["x.png", "y.png"], seed=8)
    before = (index / "codes.npz").read_bytes()
    for other in (tmp_path / "others", folder / "a", folder / "a" / "3.png"):
        line = complaint(capsys, "encode", model, other, "--output", index)
        assert "made with another folder of images: choose another folder" in line
    assert (index / "codes.npz").read_bytes() == before
    monkeypatch.chdir(folder.parent)  # the same folder, called otherwise
    write(folder, ["new.png"], seed=9)
    assert run("encode", model, "./images/", "--output", index) == 0
    assert len(table(index / "codes.csv")) == 41
    os.rename(folder, folder.parent / "moved")
    assert run("encode", model, folder.parent / "moved", "--output", index) == 0
    assert "done already" in capsys.readouterr().out


def test_a_first_encode_that_was_killed_goes_on_when_the_folder_has_grown(
    model, folder, tmp_path, monkeypatch
):
    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ResultFiles, "write_table", killed)
        assert run("encode", model, folder, "--output", tmp_path / "index") == 130
    write(folder, ["new.png"], seed=9)
    assert run("encode", model, folder, "--output", tmp_path / "index") == 0
    assert run("encode", model, folder, "--output", tmp_path / "at_once") == 0
    for name in ("codes.csv", "codes.npz"):
        found = (tmp_path / place / name for place in ("index", "at_once"))
        assert next(found).read_bytes() == next(found).read_bytes()


def test_images_that_could_not_be_read_are_tried_again(
    model, folder, tmp_path, monkeypatch, capsys
):
    decoded = from_folder.decoded

    def without_rights(paths, *more, **options):
        for path, picture in zip(paths, decoded(paths, *more, **options), strict=True):
            yield "Permission denied" if path.endswith("3.png") else picture

    with monkeypatch.context() as patch:
        patch.setattr(from_folder, "decoded", without_rights)
        assert run("encode", model, folder, "--output", tmp_path / "index") == 0
    assert len(table(tmp_path / "index" / "unreadable.csv")) == 4
    assert run("encode", model, folder, "--output", tmp_path / "index") == 0
    assert "4 of 40 images are new or changed" in capsys.readouterr().out
    assert len(table(tmp_path / "index" / "codes.csv")) == 40
    assert not (tmp_path / "index" / "unreadable.csv").exists()


def test_a_model_that_is_gone_or_another_one_is_refused(model, folder, tmp_path, capsys):
    run_folder = tmp_path / "run"
    shutil.copytree(model, run_folder)
    index = tmp_path / "index"
    assert run("encode", run_folder, folder, "--output", index) == 0
    arguments = ["similar", index, "--query", folder / "a" / "7.png", "--output", tmp_path / "out"]
    os.rename(run_folder, tmp_path / "moved")
    line = complaint(capsys, *arguments)
    assert f"INDEX {index}: its MODEL {run_folder} is not there" in line
    os.rename(tmp_path / "moved", run_folder)
    with (run_folder / "model.keras").open("ab") as file:
        file.write(b"changed")
    assert "was made by another model than MODEL" in complaint(capsys, *arguments)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda index: (index / "codes.npz").unlink(), "codes.npz is damaged or missing"),
        (lambda index: (index / "index.npz").write_bytes(b"PK"), "index.npz is damaged or missing"),
        (lambda index: (index / "index.npz").unlink(), "there is no index.npz"),
        (lambda index: _one_code_less(index), "codes.npz is damaged or missing"),
        (lambda index: _other_shape(index), "is damaged or missing"),
        (lambda index: _other_code(index), "do not belong together"),
    ],
)
def test_a_damaged_index_is_refused_in_one_line(folder, index, tmp_path, capsys, damage, says):
    damage(index)
    query = folder / "a" / "7.png"
    line = complaint(capsys, "similar", index, "--query", query, "--output", tmp_path / "out")
    assert says in line
    assert not (tmp_path / "out").exists()


def _one_code_less(index):
    stored = training_files.read_arrays(index / "codes.npz")
    np.savez(index / "codes.npz", codes=stored["codes"][1:], files=stored["files"])


def _other_shape(index):
    stored = training_files.read_arrays(index / "index.npz")
    np.savez(index / "index.npz", **stored | {"lowest": stored["lowest"][..., 0]})


def _other_code(index):
    stored = training_files.read_arrays(index / "codes.npz")
    np.savez(index / "codes.npz", codes=stored["codes"][::-1], files=stored["files"])


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ([], "add --query"),
        (["--query", "a.png", "--limit", 3], "leave --limit out"),
        (["--query", "a.png", "--part", "train"], "leave --part out"),
        (["--query", "a.png"], "a.png"),
    ],
)
def test_what_does_not_go_with_an_index_is_refused(index, tmp_path, capsys, more, says):
    assert says in complaint(capsys, "similar", index, *more, "--output", tmp_path / "out")


def test_a_query_of_another_size_is_refused_or_resized(index, tmp_path, capsys):
    write(tmp_path, ["large.png"], (20, 20, 1))
    arguments = ["similar", index, "--query", tmp_path / "large.png"]
    line = complaint(capsys, *arguments, "--output", tmp_path / "out")
    assert "the model takes 16 x 16: add --resize" in line
    assert run(*arguments, "--resize", "--output", tmp_path / "out") == 0


def test_images_that_are_no_files_are_named_only(model, folder, tmp_path):
    np.savez(tmp_path / "x.npz", images=np.zeros((5, 16, 16, 1), np.uint8))
    assert run("encode", model, tmp_path / "x.npz", "--output", tmp_path / "index") == 0
    query = folder / "a" / "7.png"
    arguments = ["similar", tmp_path / "index", "--query", query, "--output", tmp_path / "out"]
    assert run(*arguments) == 0
    assert {row["file"] for row in table(tmp_path / "out" / "similar.csv")} == {
        f"{number:05d}.png" for number in range(5)
    }
    assert files(tmp_path / "out") == {"apply.json", "similar.csv"}


def test_names_of_any_bytes_are_kept(model, strange, tmp_path):
    assert run("encode", model, strange, "--output", tmp_path / "index") == 0
    assert "caf\udce9.png" in kept_index.opened(tmp_path / "index").names
