"""`apply` as a user starts it, with a small untrained model: what it writes, and refuses."""

import csv
import dataclasses
import errno
import json
import shutil
import subprocess
import sys
import threading
import tracemalloc

import keras
import numpy as np
import pytest
from PIL import Image

from kerasunsup.ae.settings import AutoencoderSettings
from kerasunsup.apply import __main__ as apply
from kerasunsup.apply import image_stream, output_folder, restore, result_files, tiles
from kerasunsup.data import splits
from kerasunsup.errors import InputError
from kerasunsup.models import export, loading, networks
from kerasunsup.settings import to_json
from kerasunsup.training import files as training_files

SHAPE = (16, 16, 1)


def pictures(number, shape=SHAPE, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (number, *shape), np.uint8)


def write(folder, names, shape=SHAPE, seed=0):
    for name, picture in zip(names, pictures(len(names), shape, seed), strict=True):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture[..., 0] if shape[-1] == 1 else picture).save(path)


def parts(shape=SHAPE):
    keras.utils.set_random_seed(0)
    return tuple(
        build(shape, latent_dim=4, filters=(4,), hidden_units=8)
        for build in (networks.encoder, networks.decoder)
    )


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A run's folder with its data, settings, SavedModel and .keras file."""
    run = tmp_path_factory.mktemp("logs") / "ae" / "small"
    training = run.parent.parent / "training.npz"
    np.savez(training, images=pictures(80, seed=5))
    settings = AutoencoderSettings(data=str(training), latent_dim=4)
    training_files.write_json(run / "config.json", to_json(settings))
    training_files.write_json(run / "environment.json", {"data": splits.load(settings).fingerprint})
    encoder, decoder = parts()
    autoencoder = networks.autoencoder(encoder, decoder)
    images = np.zeros((2, *SHAPE), np.float32)
    export.write_saved_model(
        run / "export",
        {
            "reconstruct": (autoencoder, "images", "images"),
            "encode": (encoder, "images", "codes"),
            "decode": (decoder, "codes", "images"),
        },
        {"reconstruct": images, "encode": images, "decode": np.zeros((2, 4), np.float32)},
    )
    export.write_keras(run / "model.keras", autoencoder)
    return run


@pytest.fixture
def folder(tmp_path):
    names = [f"{group}/{number}.png" for group in ("a", "b/c") for number in range(20)]
    write(tmp_path / "images", names)
    return tmp_path / "images"


def table(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def run(*arguments):
    return apply.main([str(argument) for argument in arguments])


def complaint(capsys, *arguments):
    assert run(*arguments) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    return line


def files(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("place", [".", "export", "model.keras"])
def test_encode_gives_the_codes_of_a_run_its_export_and_its_keras_file(
    model, folder, tmp_path, place
):
    output = tmp_path / "out"
    assert run("encode", model / place, folder, "--output", output, "--batch-size", 7) == 0
    stored = training_files.read_arrays(output / "codes.npz")
    assert list(stored["files"]) == sorted(files(folder))
    images = np.stack([np.asarray(Image.open(folder / name)) for name in stored["files"]])
    encoder = keras.models.load_model(model / "model.keras").get_layer("encoder")
    expected = np.asarray(encoder(images[..., np.newaxis].astype(np.float32) / 255.0))
    np.testing.assert_allclose(stored["codes"], expected, atol=1e-5)
    rows = table(output / "codes.csv")
    assert [row["file"] for row in rows] == list(stored["files"])
    assert float(rows[3]["code_2"]) == pytest.approx(expected[3, 2], rel=1e-4)
    assert files(output) == {"apply.json", "codes.csv", "codes.npz"}


def test_the_projector_gets_codes_with_their_images(model, folder, tmp_path):
    output = tmp_path / "out"
    assert run("encode", model, folder, "--output", output, "--projector") == 0
    assert len((output / "projector" / "codes.tsv").read_text().splitlines()) == 40
    assert (output / "projector" / "labels.tsv").read_text().splitlines()[0] == "a/0.png"


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


def test_a_killed_restore_leaves_whole_files_and_goes_on(model, tmp_path):
    names = [f"{number:04d}.png" for number in range(1500)]
    write(tmp_path / "images", names)
    output = tmp_path / "out"
    arguments = ["restore", model, tmp_path / "images", "--output", output, "--batch-size", "4"]
    command = [sys.executable, "-m", "kerasunsup.apply", *map(str, arguments)]
    waited = threading.Event()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        while len(list(output.glob("*.png"))) < 8:
            assert process.poll() is None
            waited.wait(0.005)
        process.kill()
    done = {path: path.stat().st_mtime_ns for path in output.glob("*.png")}
    assert 8 <= len(done) < len(names)
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


def test_large_images_are_taken_a_few_at_a_time():
    large = [(index, np.zeros((3000, 3000, 1), np.uint8)) for index in range(3)]
    sizes = [len(group) for group in restore._groups(iter(large), 256)]
    assert sizes == [2, 1]


@pytest.mark.parametrize("batch_size", [1, 7, 1000])
def test_tiles_of_many_pictures_share_batches_and_none_is_larger(batch_size):
    sizes = [(16, 16), (40, 33), (17, 90)]
    random = np.random.default_rng(0)
    seen = [random.random((*size, 1), np.float32) for size in sizes]
    layouts = [tiles.tile_layout(*size, 16, 16) for size in sizes]
    batches = []

    def halve(batch):
        batches.append(len(batch))
        return batch / 2

    made = restore._passed(seen, layouts, halve, batch_size)
    for before, after in zip(seen, made, strict=True):
        np.testing.assert_allclose(after, before / 2, atol=1e-6)
    assert sum(batches) == sum(len(layout.corners) for layout in layouts)
    assert set(batches[:-1]) <= {batch_size}


def test_similar_finds_a_copy_of_the_query_first(model, folder, tmp_path):
    query = tmp_path / "query.png"
    query.write_bytes((folder / "a" / "7.png").read_bytes())
    output = tmp_path / "out"
    arguments = ["similar", model, folder, "--query", query, "--neighbors", 3]
    assert run(*arguments, "--output", output) == 0
    rows = table(output / "similar.csv")
    assert [row["rank"] for row in rows] == ["1", "2", "3"]
    assert (rows[0]["query"], rows[0]["file"]) == ("query.png", "a/7.png")
    distances = [float(row["distance"]) for row in rows]
    assert distances[0] == pytest.approx(0.0, abs=1e-3)
    assert distances == sorted(distances)
    assert (output / "similar_sheet.png").is_file()


def test_near_duplicates_are_found_once(model, folder, tmp_path):
    (folder / "b" / "copy.png").write_bytes((folder / "a" / "3.png").read_bytes())
    output = tmp_path / "out"
    assert run("similar", model, folder, "--output", output) == 0
    rows = table(output / "similar.csv")
    assert (rows[0]["query"], rows[0]["file"]) == ("a/3.png", "b/copy.png")
    assert len({frozenset((row["query"], row["file"])) for row in rows}) == len(rows)


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


@pytest.mark.parametrize("verb", ["outliers", "generate"])
def test_training_images_that_are_gone_are_named(model, folder, tmp_path, capsys, verb):
    moved = tmp_path / "moved"
    shutil.copytree(model, moved)
    settings = json.loads((moved / "config.json").read_text())
    training_files.write_json(
        moved / "config.json", settings | {"data": str(tmp_path / "gone.npz")}
    )
    given = [verb, moved, *([folder] if verb == "outliers" else ["--count", 2])]
    line = complaint(capsys, *given, "--output", tmp_path / "out")
    assert "gone.npz" in line
    assert "--data" not in line
    assert "--reference" in line
    assert run(*given, "--output", tmp_path / "out", "--reference", folder) == 0
    assert str(folder) in capsys.readouterr().out  # and not "the images that it was trained on"


@pytest.mark.parametrize("verb", ["outliers", "generate"])
def test_other_images_in_the_place_of_the_training_images_are_not_taken_for_them(
    model, folder, tmp_path, capsys, verb
):
    moved, other = tmp_path / "moved", tmp_path / "other.npz"
    shutil.copytree(model, moved)
    np.savez(other, images=pictures(80, seed=6))
    settings = json.loads((moved / "config.json").read_text())
    training_files.write_json(moved / "config.json", settings | {"data": str(other)})
    given = [verb, moved, *([folder] if verb == "outliers" else ["--count", 2])]
    line = complaint(capsys, *given, "--output", tmp_path / "out")
    assert "other.npz holds other images" in line
    assert "--reference" in line
    # The run may know where they are by their whole path, whatever folder it was started in.
    recorded = json.loads((moved / "environment.json").read_text())
    training_files.write_json(
        moved / "environment.json", recorded | {"data_path": settings["data"]}
    )
    assert run(*given, "--output", tmp_path / "out") == 0
    assert "the images that the model was trained on" in capsys.readouterr().out


def test_cluster_names_a_group_for_every_image_and_compares_with_labels(
    model, folder, tmp_path, capsys
):
    output = tmp_path / "out"
    assert run("cluster", model, folder, "--clusters", 2, "--output", output) == 0
    assert {row["cluster"] for row in table(output / "clusters.csv")} == {"0", "1"}
    assert {"cluster_000_sheet.png", "cluster_001_sheet.png"} < files(output)
    assert "accuracy by labels" in capsys.readouterr().out


def test_generate_begins_alike_whatever_the_count_and_the_batch(model, tmp_path):
    few, many = tmp_path / "few", tmp_path / "many"
    assert run("generate", model, "--count", 3, "--output", few) == 0
    assert run("generate", model, "--count", 5, "--batch-size", 2, "--output", many) == 0
    names = [f"images/{number:05d}.png" for number in range(5)]
    assert files(many) == {"apply.json", "generate_sheet.png", *names}
    for name in names[:3]:
        assert (few / name).read_bytes() == (many / name).read_bytes()


def test_generate_from_a_generator(tmp_path):
    generator = networks.generator((16, 16, 3), noise_dim=4, base_filters=2, categories=3)
    export.write_keras(tmp_path / "generator.keras", generator)
    output = tmp_path / "out"
    assert run("generate", tmp_path / "generator.keras", "--count", 2, "--output", output) == 0
    with Image.open(output / "images" / "00001.png") as picture:
        assert (picture.size, picture.mode) == ((16, 16), "RGB")


def test_images_from_an_npz_get_names_of_their_parts(model, tmp_path):
    np.savez(tmp_path / "x.npz", x_train=pictures(3), x_test=pictures(2, seed=1))
    output = tmp_path / "out"
    arguments = ["encode", model, tmp_path / "x.npz", "--part", "test"]
    assert run(*arguments, "--output", output) == 0
    assert [row["file"] for row in table(output / "codes.csv")] == [
        "test/00000.png", "test/00001.png",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("shape", "more", "says"),
    [
        ((16, 20, 1), [], "x.png is 16 x 20 pixels, the model takes 16 x 16: add --resize"),
        ((16, 16, 3), [], "x.png is in colour, the model takes grey images: add --grey"),
    ],
)
def test_images_that_do_not_fit_are_named_and_can_be_made_to_fit(
    model, tmp_path, capsys, shape, more, says
):
    write(tmp_path / "images", ["x.png"], shape)
    arguments = ["encode", model, tmp_path / "images", "--output", tmp_path / "out"]
    assert says in complaint(capsys, *arguments)
    # Nothing came of it, so the same folder will do.
    assert run(*arguments, "--resize", "--grey") == 0


def test_a_model_that_cannot_do_it_says_what_can(model, folder, tmp_path, capsys):
    export.write_keras(tmp_path / "encoder.keras", parts()[0])
    out = tmp_path / "out"
    line = complaint(capsys, "restore", tmp_path / "encoder.keras", folder, "--output", out)
    assert "can encode, not reconstruct: give an autoencoder" in line
    assert not out.exists()


def test_what_is_no_model_is_refused(folder, tmp_path, capsys):
    (tmp_path / "bad.keras").write_bytes(b"no zip")
    for place, says in (
        ("missing", "is not there"),
        ("images", "is a folder without a model"),
        ("bad.keras", "cannot be loaded"),
    ):
        line = complaint(capsys, "encode", tmp_path / place, folder, "--output", tmp_path / "out")
        assert says in line


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


def test_nothing_is_written_outside_the_output(tmp_path):
    output = output_folder.OutputFolder(tmp_path / "out", {"verb": "encode"})
    for name in ("../x.png", "/etc/x.png", "a/../../x.png", ""):
        with pytest.raises(InputError, match="leads out of"):
            output.files.path(name)
    (tmp_path / "out" / "link").symlink_to(tmp_path)
    with pytest.raises(InputError, match="a link out of it"):
        output.files.path("link/x.png")
    output.close()


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


def test_a_full_disk_is_told_in_the_words_of_apply(model, folder, tmp_path, capsys, monkeypatch):
    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device", "x.png")

    monkeypatch.setattr(result_files.ResultFiles, "write_picture", fail)
    line = complaint(capsys, "restore", model, folder, "--output", tmp_path / "out")
    assert "--output" in line
    assert "--resume" not in line
    assert "--logs" not in line


def test_another_mask_is_another_command(model, tmp_path, capsys, monkeypatch):
    write(tmp_path / "images", ["x.png"])
    mask = tmp_path / "mask.png"
    Image.fromarray(np.full((16, 16), 255, np.uint8)).save(mask)
    arguments = ["restore", model, tmp_path / "images", "--mask", mask]
    assert run(*arguments, "--output", tmp_path / "out") == 0
    Image.fromarray(np.zeros((16, 16), np.uint8)).save(mask)
    line = complaint(capsys, *arguments, "--output", tmp_path / "out")
    assert "made with another mask" in line


STRANGE = [
    "caf\udce9.png", "carriage\rreturn.png", 'quote".png', "a,comma.png", "line\nbreak.png",
    "=1+1.png", " blank.png", "tab\t.png", "表.png", f"{'long' * 61}.png",
]  # fmt: skip


@pytest.fixture
def strange(tmp_path, monkeypatch):
    """A folder of 36 images, ten of which are read under strange names."""
    usual = [f"{number:03d}.png" for number in range(36)]
    write(tmp_path / "strange", usual)
    opened = image_stream.open_images

    def renamed(what, **more):
        stream = opened(what, **more)
        names = [*STRANGE, *usual[len(STRANGE) :]][: len(stream)]
        return dataclasses.replace(stream, names=names)

    monkeypatch.setattr(image_stream, "open_images", renamed)
    return tmp_path / "strange"


def surrogate_table(path):
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        return list(csv.DictReader(file))


def test_strange_names_are_read_back_as_they_were_from_every_table(model, strange, tmp_path):
    at = {verb: tmp_path / verb for verb in ("encode", "outliers", "cluster", "near", "similar")}
    assert run("encode", model, strange, "--output", at["encode"], "--projector") == 0
    stored = training_files.read_arrays(at["encode"] / "codes.npz")
    names = [str(name) for name in stored["files"]]
    assert names[:10] == STRANGE
    assert len(stored["codes"]) == len(names) == 36
    assert [row["file"] for row in surrogate_table(at["encode"] / "codes.csv")] == names
    assert run("outliers", model, strange, "--output", at["outliers"], "--share", 0.5) == 0
    assert run("cluster", model, strange, "--output", at["cluster"], "--clusters", 2) == 0
    for verb, file in (("outliers", "outliers.csv"), ("cluster", "clusters.csv")):
        assert {row["file"] for row in surrogate_table(at[verb] / file)} == set(names)
    query = ["--query", strange, "--neighbors", 2]
    assert run("similar", model, strange, "--output", at["similar"], *query) == 0
    rows = surrogate_table(at["similar"] / "similar.csv")
    assert list(dict.fromkeys(row["query"] for row in rows)) == names
    assert {row["file"] for row in rows} >= set(STRANGE)
    shutil.copy(strange / "000.png", strange / "001.png")
    assert run("similar", model, strange, "--output", at["near"]) == 0
    (row,) = surrogate_table(at["near"] / "similar.csv")
    assert (row["query"], row["file"]) == tuple(STRANGE[:2])
    for verb in ("outliers", "near", "similar"):
        Image.open(next(at[verb].glob("*_sheet.png"))).load()


def test_restore_writes_strange_names_and_lists_those_it_cannot_read(
    model, strange, tmp_path, capsys
):
    (strange / "001.png").write_bytes(b"nothing")
    output = tmp_path / "out"
    assert run("restore", model, strange, "--output", output) == 0
    assert {*STRANGE[:1], *STRANGE[2:]} < files(output)
    assert [row["file"] for row in surrogate_table(output / "unreadable.csv")] == [STRANGE[1]]
    assert "carriage\\rreturn.png" in capsys.readouterr().out


def test_one_long_name_does_not_make_every_name_long_in_memory(tmp_path):
    names = [f"{number}.png" for number in range(10_000)] + ["x" * 4000]
    with output_folder.OutputFolder(tmp_path / "out", {"verb": "encode"}) as output:
        tracemalloc.start()
        output.files.write_codes("codes.npz", np.zeros((len(names), 4), np.float32), names)
        (_, peak), _ = tracemalloc.get_traced_memory(), tracemalloc.stop()
        output.finish()
    assert peak < 60e6  # as one array of text: 160 MB
    assert (tmp_path / "out" / "codes.npz").stat().st_size < 5e6
    with np.load(tmp_path / "out" / "codes.npz") as stored:
        assert stored["files"][[0, 9999, 10_000]].tolist() == ["0.png", "9999.png", "x" * 4000]


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_few_images_come_to_an_end_in_every_verb(model, tmp_path, capsys, number):
    write(tmp_path / "images", [f"{index}.png" for index in range(number)])
    for verb in ("restore", "encode", "outliers", "similar"):
        output = tmp_path / verb
        if verb == "similar" and number == 1:
            line = complaint(capsys, verb, model, tmp_path / "images", "--output", output)
            assert "need two images" in line
            continue
        assert run(verb, model, tmp_path / "images", "--output", output) == 0
        assert list(output.glob("*_sheet.png")) or verb in ("encode", "similar")
    line = complaint(capsys, "cluster", model, tmp_path / "images", "--output", tmp_path / "groups")
    assert "give more images" in line


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


def test_a_saved_model_is_opened_only_where_it_is_trusted(
    model, folder, tmp_path, capsys, monkeypatch
):
    alone = tmp_path / "alone"
    shutil.copytree(model / "export", alone)
    # A file of settings in its own folder, or around it, vouches for nothing.
    around = tmp_path / "around"
    shutil.copytree(model / "export", around / "export")
    shutil.copy(model / "config.json", around)
    opened, load = [], loading.tf.saved_model.load
    monkeypatch.setattr(loading.tf.saved_model, "load", lambda at: opened.append(at) or load(at))
    for place in (alone, around, around / "export"):
        line = complaint(capsys, "encode", place, folder, "--output", tmp_path / "out")
        assert "can do anything" in line
        assert "--trust-model" in line
    for place in (model, model / "export"):
        assert run("encode", place, folder, "--output", tmp_path / f"out-{place.name}") == 0
    assert opened == []  # the .keras file beside it is
    assert run("encode", alone, folder, "--output", tmp_path / "out", "--trust-model") == 0
    assert len(opened) == 1
    codes = [
        training_files.read_arrays(tmp_path / at / "codes.npz")["codes"]
        for at in ("out", "out-export")
    ]
    np.testing.assert_allclose(codes[0], codes[1], atol=1e-5)


def test_a_damaged_part_of_stopped_work_is_made_anew(model, folder, tmp_path, monkeypatch):
    output = tmp_path / "out"
    arguments = ["encode", model, folder, "--output", output]
    monkeypatch.setattr(
        result_files.ResultFiles, "write_codes", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)
    )
    assert run(*arguments) == 130
    (part,) = (output / ".work" / "images").iterdir()
    part.write_bytes(part.read_bytes()[:100])
    monkeypatch.undo()
    assert run(*arguments) == 0
    assert len(table(output / "codes.csv")) == 40


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["encode", "m"], "required: IMAGES, --output"),
        (["clean", "m"], "invalid choice: 'clean'"),
        (["outliers", "m", "i", "--output", "o", "--share", "0"], "--share must be above 0.0"),
        (["encode", "m", "i", "--output", "o", "--clusters", "3"], "unrecognized arguments"),
    ],
)
def test_wrong_arguments_get_one_line(capsys, arguments, says):
    try:
        status = apply.main(arguments)
    except SystemExit as stopped:
        status = stopped.code
    assert status == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert says in line


def test_empty_and_unreadable_folders_are_refused(model, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    line = complaint(capsys, "encode", model, tmp_path / "empty", "--output", tmp_path / "out")
    assert "the folder is empty" in line
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "x.png").write_bytes(b"nothing")
    line = complaint(capsys, "encode", model, tmp_path / "bad", "--output", tmp_path / "out2")
    assert "can be read, such as x.png" in line
    assert not (tmp_path / "out2").exists()
