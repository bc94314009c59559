"""The folder that `apply` writes to: whose it is, and who is kept out."""

import shutil

import numpy as np
import pytest
from apply_command import complaint, files, run, write
from PIL import Image

from kerasunsup.apply import output_folder
from kerasunsup.errors import InputError
from kerasunsup.training import files as training_files


def test_an_output_of_something_else_is_left_alone(model, folder, tmp_path, capsys):
    output = tmp_path / "out"
    output.mkdir()
    (output / "thesis.txt").write_text("years of work")
    assert "no results of apply" in complaint(capsys, "encode", model, folder, "--output", output)
    assert files(output) == {"thesis.txt"}
    done = tmp_path / "done"
    assert run("generate", model, "--count", 2, "--output", done) == 0
    line = complaint(capsys, "generate", model, "--count", 3, "--output", done)
    assert "another command: their --count is 2, now it is 3" in line


def test_results_inside_the_images_folder_are_not_taken_for_images(model, folder):
    output = folder / "restored"
    assert run("restore", model, folder, "--output", output) == 0
    assert run("restore", model, folder, "--output", folder / "again") == 0
    assert not (output / "restored").exists()


@pytest.mark.parametrize("verb", ["encode", "cluster"])
def test_a_second_command_is_kept_out_and_deletes_nothing(tmp_path, verb):
    with output_folder.OutputFolder(tmp_path / "out", {"verb": "encode"}) as first:
        training_files.write_bytes(first.part("images/000000000.npz"), b"an hour of work")
        before = files(tmp_path / "out")
        with pytest.raises(InputError, match="in use by another process"):
            output_folder.OutputFolder(tmp_path / "out", {"verb": verb})
        assert files(tmp_path / "out") == before


def test_unfinished_work_of_another_command_is_left_alone(tmp_path):
    with output_folder.OutputFolder(tmp_path / "out", {"verb": "encode"}) as first:
        training_files.write_bytes(first.part("images/000000000.npz"), b"an hour of work")
    before = files(tmp_path / "out")
    with pytest.raises(InputError, match="another command: their verb is encode, now"):
        output_folder.OutputFolder(tmp_path / "out", {"verb": "cluster"})
    assert files(tmp_path / "out") == before
    with output_folder.OutputFolder(tmp_path / "out", {"verb": "encode"}) as again:
        assert again.part("images/000000000.npz").exists()


def test_a_lock_that_was_removed_with_finished_work_is_no_lock(tmp_path, monkeypatch):
    """Between opening the lock's file and locking it, its owner may come to its end."""
    locked, finished = training_files.locked, []

    def finish_first(path, complaint):
        file = locked(path, complaint)
        if not finished:
            finished.append(True)
            training_files.write_json(
                tmp_path / "out" / "apply.json", {"verb": "encode", "done": True}
            )
            (tmp_path / "out" / "codes.csv").write_text("file\n")
            shutil.rmtree(path.parent)
        return file

    monkeypatch.setattr(training_files, "locked", finish_first)
    with output_folder.OutputFolder(tmp_path / "out", {"verb": "encode"}) as output:
        assert output.is_done
    assert files(tmp_path / "out") == {"apply.json", "codes.csv"}


@pytest.mark.parametrize("place", ["file", "file/below", "dangling"])
def test_an_output_that_cannot_be_a_folder_is_refused(model, folder, tmp_path, capsys, place):
    (tmp_path / "file").write_text("text")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    line = complaint(capsys, "encode", model, folder, "--output", tmp_path / place)
    assert "cannot be a folder" in line


def test_another_mask_is_another_command(model, tmp_path, capsys, monkeypatch):
    write(tmp_path / "images", ["x.png"])
    mask = tmp_path / "mask.png"
    Image.fromarray(np.full((16, 16), 255, np.uint8)).save(mask)
    arguments = ["restore", model, tmp_path / "images", "--mask", mask]
    assert run(*arguments, "--output", tmp_path / "out") == 0
    Image.fromarray(np.zeros((16, 16), np.uint8)).save(mask)
    line = complaint(capsys, *arguments, "--output", tmp_path / "out")
    assert "made with another mask" in line
