"""`apply` as a user starts it, with a small untrained model: what it writes, and refuses."""

import csv
import json
import shutil
import subprocess
import sys
import threading
import types

import keras
import numpy as np
import pytest
from PIL import Image

from kerasunsup import (
    application,
    apply,
    config,
    export,
    latent,
    networks,
    outputs,
    restoration,
    runs,
)

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
    data = run.parent.parent / "training.npz"
    np.savez(data, images=pictures(80, seed=5))
    runs.write_json(
        run / "config.json", config.to_json(config.AutoencoderConfig(data=str(data), latent_dim=4))
    )
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
    stored = runs.read_arrays(output / "codes.npz")
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
    write_picture = outputs.Output.picture
    written = []

    def stop_after_ten(self, name, pixels):
        if len(written) == 10:
            raise KeyboardInterrupt
        written.append(name)
        write_picture(self, name, pixels)

    monkeypatch.setattr(outputs.Output, "picture", stop_after_ten)
    arguments = ["restore", model, folder, "--output", output, "--batch-size", 4]
    assert run(*arguments) == 130
    times = {name: (output / name).stat().st_mtime_ns for name in written}
    monkeypatch.setattr(outputs.Output, "picture", write_picture)
    assert run(*arguments) == 0
    assert files(folder) < files(output)
    assert {name: (output / name).stat().st_mtime_ns for name in written} == times
    assert json.loads((output / "apply.json").read_text())["numbers"]["there_already"] == 10


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
    sizes = [len(group) for group in restoration._groups(iter(large), 256)]
    assert sizes == [2, 1]


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


def test_near_duplicates_are_told_by_what_lies_around_them():
    random = np.random.default_rng(0)
    dense = random.normal(0.0, 0.05, (30, 12))
    sparse = random.normal(0.0, 5.0, (30, 12)) + 100.0
    codes = np.concatenate([dense, sparse, sparse[:1] + 0.08]).astype(np.float32)
    tables = {}
    job = types.SimpleNamespace(
        settings=config.ApplyConfig(),
        output=types.SimpleNamespace(
            table=lambda name, header, rows: tables.update({name: list(rows)})
        ),
        thumbnails=lambda positions: np.zeros((len(positions), 8, 8, 1), np.float32),
        show=lambda name, figure: None,
    )
    found = types.SimpleNamespace(codes=codes, positions=np.arange(len(codes)))
    names = np.array([str(index) for index in range(len(codes))])
    numbers = application._near_duplicates(job, found, names)
    ((first, _, second, distance),) = tables["similar.csv"]
    assert (first, second) == ("30", "60")
    assert numbers["near_duplicates"] == 1
    nearest = latent.nearest(dense.astype(np.float32), None, 1)[0]
    assert np.sum(nearest < distance) > 10  # the dense ones are nearer still, and no copies


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


@pytest.mark.parametrize(("verb", "advises"), [("outliers", True), ("generate", False)])
def test_training_images_that_are_gone_are_named(model, folder, tmp_path, capsys, verb, advises):
    moved = tmp_path / "moved"
    shutil.copytree(model, moved)
    settings = json.loads((moved / "config.json").read_text())
    runs.write_json(moved / "config.json", settings | {"data": str(tmp_path / "gone.npz")})
    given = [verb, moved, *([folder] if verb == "outliers" else [])]
    line = complaint(capsys, *given, "--output", tmp_path / "out")
    assert "was trained on cannot be read" in line
    assert "gone.npz" in line
    assert ("--reference" in line) == advises
    if advises:
        assert run(*given, "--output", tmp_path / "out", "--reference", folder) == 0


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
    output = outputs.Output(tmp_path / "out", {"verb": "encode"})
    for name in ("../x.png", "/etc/x.png", "a/../../x.png", ""):
        with pytest.raises(config.InputError, match="leads out of"):
            output.path(name)
    (tmp_path / "out" / "link").symlink_to(tmp_path)
    with pytest.raises(config.InputError, match="a link out of it"):
        output.path("link/x.png")
    output.close()


def test_a_second_process_is_kept_out(tmp_path):
    with (
        outputs.Output(tmp_path / "out", {"verb": "encode"}),
        pytest.raises(config.InputError, match="in use by another process"),
    ):
        outputs.Output(tmp_path / "out", {"verb": "encode"})


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
    assert {name.split("/")[0] for name in files(tmp_path / "out2")} == {".work", "apply.json"}
