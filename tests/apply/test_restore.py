"""`apply restore`, with a small untrained model."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest
from apply_command import STRANGE, complaint, files, run, surrogate_table, table, write
from PIL import Image

from kerasunsup.apply import output_folder, restore, result_files, tiles
from kerasunsup.models import export, loading
from kerasunsup.training import files as training_files


def test_restore_keeps_names_sizes_formats_and_what_is_there(model, tmp_path, capsys):
    images = tmp_path / "images"
    write(images, ["one.png", "sub/two.bmp", "three.jpg"])
    write(images, ["large.png"], (30, 41, 1))
    (images / "broken.png").write_bytes(b"\x89PNG and nothing more")
    output = tmp_path / "out"
    assert run("restore", model, images, "--output", output) == 0
    assert {"one.png", "sub/two.bmp", "three.jpg", "large.png"} < files(output)
    assert table(output / "unreadable.csv")[0]["file"] == "broken.png"
    with Image.open(output / "sub" / "two.bmp") as picture:
        assert (picture.format, picture.size, picture.mode) == ("BMP", (16, 16), "L")
    with Image.open(output / "large.png") as picture:
        assert picture.size == (41, 30)
    autoencoder = keras.models.load_model(model / "model.keras")
    before = np.asarray(Image.open(images / "one.png"))[np.newaxis, ..., np.newaxis] / np.float32(
        255
    )
    expected = np.rint(np.asarray(autoencoder(before))[0, ..., 0] * 255)
    np.testing.assert_allclose(np.asarray(Image.open(output / "one.png")), expected, atol=1)
    capsys.readouterr()
    assert run("restore", model, images, "--output", output) == 0
    assert "done already" in capsys.readouterr().out


def test_a_stopped_restore_goes_on_without_doing_work_twice(model, folder, tmp_path, monkeypatch):
    output = tmp_path / "out"
    write_picture = result_files.ResultFiles.write_picture
    written = []

    def stop_after_ten(self, name, pixels):
        if len(written) == 10:
            raise KeyboardInterrupt
        written.append(name)
        write_picture(self, name, pixels)

    monkeypatch.setattr(result_files.ResultFiles, "write_picture", stop_after_ten)
    arguments = ["restore", model, folder, "--output", output, "--batch-size", 4]
    assert run(*arguments) == 130
    times = {name: (output / name).stat().st_mtime_ns for name in written}
    monkeypatch.setattr(result_files.ResultFiles, "write_picture", write_picture)
    assert run(*arguments) == 0
    assert files(folder) < files(output)
    assert {name: (output / name).stat().st_mtime_ns for name in written} == times
    assert json.loads((output / "apply.json").read_text())["numbers"]["there_already"] == 10
    at_once = tmp_path / "at-once"
    assert run(*arguments[:3], "--output", at_once) == 0
    sheet = "restore_sheet.png"
    assert (output / sheet).read_bytes() == (at_once / sheet).read_bytes()


class Killed(BaseException):
    """Stands for kill -9: nothing catches it."""


def test_a_killed_restore_leaves_whole_files_and_goes_on(model, tmp_path, monkeypatch):
    names = [f"{number:04d}.png" for number in range(20)]
    write(tmp_path / "images", names)
    output = tmp_path / "out"
    arguments = ["restore", model, tmp_path / "images", "--output", output, "--batch-size", "4"]
    write_bytes = training_files.write_bytes

    def killed_in_the_ninth_image(path, content):
        if len(list(output.glob("*.png"))) == 8:
            half = path.parent / training_files.part_name(path.name)
            half.write_bytes(bytes(content)[: len(content) // 2])
            raise Killed
        write_bytes(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(training_files, "write_bytes", killed_in_the_ninth_image)
        # The system releases the lock, and nothing else is put in order.
        patch.setattr(output_folder.OutputFolder, "__exit__", lambda self, *_: self._lock.close())
        with pytest.raises(Killed):
            run(*arguments)
    done = {path: path.stat().st_mtime_ns for path in output.glob("*.png")}
    assert len(done) == 8
    assert [name for name in files(output) if name.endswith(".part")]
    for path in done:
        Image.open(path).load()  # whole
    assert run(*arguments) == 0
    assert {path: path.stat().st_mtime_ns for path in done} == done
    assert files(tmp_path / "images") < files(output)
    assert not [name for name in files(output) if name.endswith(".part")]


def test_only_the_hole_is_replaced(model, tmp_path):
    write(tmp_path / "images", ["x.png"])
    mask = np.zeros((16, 16), np.uint8)
    mask[4:8, 5:9] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    output = tmp_path / "out"
    arguments = ["restore", model, tmp_path / "images", "--mask", tmp_path / "mask.png"]
    assert run(*arguments, "--output", output) == 0
    before, after = (np.asarray(Image.open(at / "x.png")) for at in (tmp_path / "images", output))
    np.testing.assert_array_equal(after[mask == 0], before[mask == 0])
    autoencoder = keras.models.load_model(model / "model.keras")
    seen = np.where(mask == 0, before, 0)[np.newaxis, ..., np.newaxis] / np.float32(255)
    expected = np.rint(np.asarray(autoencoder(seen))[0, ..., 0] * 255)
    np.testing.assert_allclose(after[mask == 255], expected[mask == 255], atol=1)


def test_a_further_pass_sees_the_hole_as_the_pass_before_left_it(tmp_path):
    write(tmp_path / "images", ["x.png"])
    mask = np.zeros((16, 16), np.uint8)
    mask[3:8, 5:10] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    # Blurs, so that what is around a hole creeps into it, a pixel a pass.
    inputs = keras.Input((16, 16, 1))
    layer = keras.layers.Conv2D(1, 3, padding="same", kernel_initializer="ones", use_bias=False)
    blur = keras.Model(inputs, keras.layers.Rescaling(1 / 9)(layer(inputs)))
    export.write_keras(tmp_path / "blur.keras", blur)
    output = tmp_path / "out"
    arguments = ["restore", tmp_path / "blur.keras", tmp_path / "images"]
    more = ["--mask", tmp_path / "mask.png", "--passes", 3]
    assert run(*arguments, *more, "--output", output) == 0
    before, after = (np.asarray(Image.open(at / "x.png")) for at in (tmp_path / "images", output))
    np.testing.assert_array_equal(after[mask == 0], before[mask == 0])
    hole = (mask > 0)[np.newaxis, ..., np.newaxis]
    image = before[np.newaxis, ..., np.newaxis] / np.float32(255)
    seen = np.where(hole, np.float32(0), image)
    for _ in range(3):
        seen = np.where(hole, np.asarray(blur(seen)), image)
    np.testing.assert_allclose(after, np.rint(seen[0, ..., 0] * 255), atol=1)
    assert after[5, 7] > 0  # the middle, three pixels from the rim: black after two passes


def test_passes_without_a_mask_are_refused(model, folder, tmp_path, capsys):
    arguments = ["restore", model, folder, "--output", tmp_path / "out", "--passes", 2]
    assert "add --mask" in complaint(capsys, *arguments)
    assert not (tmp_path / "out").exists()


def test_an_image_that_does_not_fit_is_listed_and_the_others_are_restored(model, tmp_path, capsys):
    images = tmp_path / "images"
    write(images, ["a.png", "c.png"])
    write(images, ["late.png"], (8, 20, 1))
    write(images, ["later.png"], (16, 16, 3))
    write(images, ["wide.png"], (16, 20, 1))
    Image.fromarray(np.full((16, 16), 255, np.uint8)).save(tmp_path / "mask.png")
    output = tmp_path / "out"
    arguments = ["restore", model, images, "--output", output, "--mask", tmp_path / "mask.png"]
    assert run(*arguments) == 0
    assert {"a.png", "c.png"} < files(output)
    reasons = {row["file"]: row["reason"] for row in table(output / "unreadable.csv")}
    assert set(reasons) == {"late.png", "later.png", "wide.png"}
    assert "add --grey" in reasons["later.png"]
    assert "its mask 16 x 16: give a mask of the image's size" in reasons["wide.png"]
    assert "3 of 5 images of" in capsys.readouterr().out
    for name in ("a.png", "c.png", "later.png", "wide.png"):
        (images / name).unlink()
    line = complaint(capsys, "restore", model, images, "--output", tmp_path / "none")
    assert "can be restored, such as late.png (is 8 x 20 pixels, smaller than the model's" in line
    assert not (tmp_path / "none").exists()


def test_large_images_are_taken_a_few_at_a_time():
    large = [(index, np.zeros((3000, 3000, 1), np.uint8)) for index in range(3)]
    sizes = [len(group) for group in restore._groups(iter(large), 256)]
    assert sizes == [2, 1]


@pytest.mark.parametrize("batch_size", [1, 7, 1000])
def test_tiles_of_many_pictures_share_batches_and_none_is_larger(batch_size):
    sizes = [(16, 16), (40, 33), (17, 90)]
    random = np.random.default_rng(0)
    seen = [random.random((*size, 1), np.float32) for size in sizes]
    batches = []

    def halve(batch):
        batches.append(len(batch))
        return batch / 2

    content = loading.Content({"reconstruct": (halve, (16, 16, 1))})
    model = loading.LoadedModel(Path(), None, "", lambda: content)
    made = restore._passed(seen, model, batch_size)
    for before, after in zip(seen, made, strict=True):
        np.testing.assert_allclose(after, before / 2, atol=1e-6)
    assert sum(batches) == sum(len(tiles.TiledPicture(part, 16, 16).corners) for part in seen)
    assert set(batches[:-1]) <= {batch_size}


def test_restore_writes_strange_names_and_lists_those_it_cannot_read(
    model, strange, tmp_path, capsys
):
    (strange / "001.png").write_bytes(b"nothing")
    output = tmp_path / "out"
    assert run("restore", model, strange, "--output", output) == 0
    assert {*STRANGE[:1], *STRANGE[2:]} < files(output)
    assert [row["file"] for row in surrogate_table(output / "unreadable.csv")] == [STRANGE[1]]
    assert "carriage\\rreturn.png" in capsys.readouterr().out
