"""The command `gan`, from the command line to everything that it leaves behind."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import keras
import killed_runs
import numpy as np
import processes
import pytest
from PIL import Image
from tensorboard.backend.event_processing import event_accumulator

from kerasunsup import cli
from kerasunsup.ae import __main__ as ae
from kerasunsup.data import images, splits
from kerasunsup.gan import __main__ as gan
from kerasunsup.gan import experiment
from kerasunsup.gan.settings import GANSettings
from kerasunsup.models import gan as models_gan
from kerasunsup.models import networks
from kerasunsup.settings import read_config, to_json
from kerasunsup.training import callbacks, feature_network

SMALL = [
    *processes.SMALL, "--base-filters", "4", "--noise-dim", "8", "--measure-every", "2",
    "--batch-size", "64",
]  # fmt: skip

# Of data of 16 x 16 pixels.
TINY = [
    "--base-filters", "2", "--hidden-units", "4", "--noise-dim", "3", "--batch-size", "16",
    "--num-samples", "100", "--measure-every", "2",
]  # fmt: skip

FIGURES = {
    "samples_first_epochs", "samples_last_epochs", "adversarial_curves", "categories",
    "comparison", "samples", "nearest_training_images", "noise_walks",
    "walk_confidence",
}  # fmt: skip


@pytest.fixture(scope="module")
def logs(tmp_path_factory) -> Path:
    """Where small runs go."""
    return tmp_path_factory.mktemp("small")


@pytest.fixture(scope="module")
def finished(logs) -> Path:
    """The folder of a run on real MNIST images, started as a user would."""
    assert (
        gan.main(["--quick", "--epochs", "5", *SMALL, "--logs", str(logs), "--name", "first"]) == 0
    )
    return logs / "gan" / "first"


@pytest.fixture
def small_network(monkeypatch):
    """A feature network that needs no training, for data without labels."""

    def encoder(splits, _):
        keras.utils.set_random_seed(0)  # the same one for each session of a run
        shape = {"latent_dim": 3, "filters": (2,), "hidden_units": 4}
        return feature_network.of_encoder(networks.encoder(splits.image_shape, **shape))

    monkeypatch.setattr(feature_network, "encoder_of", encoder)


def data(folder: Path) -> list[str]:
    pixels = np.random.default_rng(0).integers(0, 256, (100, 16, 16, 1), np.uint8)
    np.savez(folder / "images.npz", images=pixels)
    return ["--data", str(folder / "images.npz")]


def test_a_run_leaves_what_the_interface_promises(finished):
    assert {path.name for path in finished.iterdir()} >= {
        "config.json", "environment.json", "history.csv", "metrics.json", "figures",
        "checkpoints", "generator.keras", "discriminator.keras", "export", "train", "report",
        "README.md",
    }  # fmt: skip
    assert {path.stem for path in (finished / "figures").glob("*.png")} == FIGURES
    for path in (finished / "figures").glob("*.png"):
        assert min(images.decode(path).shape[:2]) > 150, path
    with Image.open(finished / "figures" / "gan_progress.gif") as moving:
        assert moving.n_frames > 1
    assert not list(finished.rglob("*.part*"))


def test_numbers_have_the_promised_names_and_their_twins(finished):
    numbers = json.loads((finished / "metrics.json").read_text())
    names = {
        "fid", "kid", "precision", "recall", "classifier_score", "smallest_class_share",
        "unsure_share",
    }  # fmt: skip
    prefixes = ("", "real/", "last_weights/", "running_statistics/")
    assert {prefix + name for prefix in prefixes for name in names} <= set(numbers)
    assert all(isinstance(value, int | float) for value in numbers.values())
    shares = [numbers[f"class_share/{digit}"] for digit in range(10)]
    assert sum(shares) == pytest.approx(1.0)
    assert min(shares) == numbers["smallest_class_share"]
    diversity = [value for name, value in numbers.items() if name.startswith("diversity/")]
    assert len(diversity) >= 2
    assert min(diversity) == numbers["least_diversity"] >= 0.0
    assert numbers["real/fid"] < numbers["fid"]
    assert numbers["nearest/distance_ratio"] > 0
    assert 0.1 <= numbers["walks/noise_confidence"] <= 1.0


def test_history_has_a_row_an_epoch_and_numbers_where_they_were_measured(finished):
    lines = (finished / "history.csv").read_text().splitlines()
    header = lines[0].split(",")
    assert len(lines) == 6
    assert {"generator_loss", "discriminator_loss", "real_accuracy", "fid", "spread"} <= set(header)
    column = [line.split(",")[header.index("fid")] for line in lines[1:]]
    assert [value == "nan" for value in column] == [True, False, True, False, False]
    assert all(float(value) > 0 for value in column if value != "nan")


def test_tensorboard_holds_curves_samples_and_settings(finished):
    def tags(folder: str) -> dict:
        events = event_accumulator.EventAccumulator(str(finished / folder))
        events.Reload()
        return {**events.Tags(), "events": events}

    def named(found: dict) -> set[str]:
        return {tag for kind in ("scalars", "tensors") for tag in found[kind]}

    assert {"epoch_generator_loss", "epoch_discriminator_loss", "epoch_real_accuracy"} <= named(
        tags("train")
    )
    assert "epoch_loss" not in named(tags("train"))
    report = tags("report")
    assert (FIGURES | {"settings", "numbers", "samples/fid", "fid"}) <= named(report)
    plugins = report["events"].PluginTagToContent("hparams")
    assert any("session_start" in tag for tag in plugins)
    assert report["graph"]


def test_the_saved_model_runs_without_the_package_and_the_keras_files_load(finished):
    script = """
import sys
sys.modules["kerasunsup"] = None
import numpy as np, tensorflow as tf, keras
model = tf.saved_model.load(sys.argv[1] + "/export")
noise = np.load(sys.argv[1] + "/noise.npy")
images = model.signatures["generate"](noise=tf.constant(noise))["images"].numpy()
default = model.signatures["serving_default"](noise=tf.constant(noise))["images"].numpy()
logits = model.signatures["discriminate"](images=tf.constant(images))["logits"].numpy()
assert images.shape == (3, 28, 28, 1) and images.dtype == np.float32
assert 0.0 <= images.min() and images.max() <= 1.0
assert logits.shape == (3, 1)
np.testing.assert_array_equal(images, default)
generator = keras.models.load_model(sys.argv[1] + "/generator.keras")
discriminator = keras.models.load_model(sys.argv[1] + "/discriminator.keras")
np.testing.assert_allclose(generator.predict(noise, verbose=0), images, atol=1e-5)
np.testing.assert_allclose(discriminator.predict(images, verbose=0), logits, atol=1e-4)
"""
    stored = read_config(GANSettings, finished / "config.json")
    noise = np.random.default_rng(0).standard_normal((3, stored["noise_dim"]), np.float32)
    np.save(finished / "noise.npy", noise)
    result = subprocess.run(
        [sys.executable, "-c", script, str(finished)], capture_output=True, text=True, timeout=200
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(("colour", "precision"), [(False, "float32"), (True, "mixed_bfloat16")])
def test_a_folder_of_images_without_labels(tmp_path, monkeypatch, small_figures, colour, precision):
    monkeypatch.setattr(feature_network, "_LEAST_STEPS", 4)
    folder = tmp_path / "pictures"
    folder.mkdir()
    generator = np.random.default_rng(0)
    for index in range(240):  # 24 for the test and 21 for validation: enough to be compared
        picture = np.full((17, 20, 3 if colour else 1), 255 * (index % 2), np.uint8)
        picture[:, : 2 + index % 7] = generator.integers(0, 256, picture.shape[2])
        (folder / f"{index}.png").write_bytes(images.encode_png(picture))
    arguments = [
        "--data", str(folder), "--epochs", "2", "--batch-size", "32", "--base-filters", "2",
        "--noise-dim", "3", "--num-samples", "100", "--logs", str(tmp_path / "logs"),
        "--name", "own", "--precision", precision,
    ]  # fmt: skip
    assert gan.main(arguments) == 0
    run = tmp_path / "logs" / "gan" / "own"
    numbers = json.loads((run / "metrics.json").read_text())
    assert {"kid", "real/kid", "precision"} <= set(numbers)
    assert "classifier_score" not in numbers
    model = keras.models.load_model(run / "generator.keras")
    assert model.output_shape == (None, 17, 20, 3 if colour else 1)
    assert model.get_layer("relu_0").compute_dtype == "float32"


def test_a_preset_gives_way_to_flags_and_is_no_setting():
    def parse(*arguments):
        return cli.parse(
            "gan",
            GANSettings,
            description="",
            quick={},
            presets=gan._PRESETS,
            argv=arguments,
        ).config

    study = parse("--preset", "study")
    assert (study.loss, study.averaging, study.schedule) == ("minimax", 0.0, "constant")
    assert (study.epochs, study.batch_size, study.learning_rate) == (100, 128, 0.0005)
    assert parse("--preset", "study", "--averaging", "0.5").averaging == 0.5
    assert "preset" not in to_json(study)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--data", "no/such/folder"], ["no/such/folder"]),
        (["--epochs", "0"], ["--epochs must be at least 1"]),
        (["--image-size", "12"], ["--image-size must be at least 16", "12"]),
        (["--image-size", "65"], ["--image-size must be at most 64", "65"]),
        (["--data", "{small}"], ["16 to 64", "12 x 12", "--image-size"]),
        (["--preset", "none"], ["--preset", "study"]),
        (["--loss", "hinge"], ["--loss", "minimax"]),
        (
            ["--loss", "relativistic", "--label-smoothing", "0.1"],
            ["--label-smoothing 0.1", "--loss relativistic", "leave one of them out"],
        ),
        (["--learning-rate", "1e30", "--epochs", "3"], ["loss became", "--learning-rate 1e+30"]),
        (["--resume", "--name", "other"], ["no gan run"]),
    ],
)
def test_bad_input_is_one_line_and_status_2(logs, tmp_path, capsys, arguments, words):
    small = tmp_path / "small.npz"
    np.savez(small, images=np.random.default_rng(0).integers(0, 256, (40, 12, 12), np.uint8))
    filled = [argument.format(small=small) for argument in arguments]
    try:
        status = gan.main([*SMALL, "--logs", str(logs), *filled])
    except SystemExit as error:  # argparse's own
        status = error.code
    assert status == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1, error
    assert error.startswith("kerasunsup gan: ")
    for word in words:
        assert word in error


def test_a_name_that_exists_is_refused_and_another_experiments_run_is_none(finished, capsys):
    logs = str(finished.parent.parent)
    assert gan.main(["--quick", "--logs", logs, "--name", "first"]) == 2
    assert "exists already" in capsys.readouterr().err
    assert ae.main(["--resume", "--logs", logs, "--name", "first"]) == 2
    assert "no ae run" in capsys.readouterr().err


# ------------------------------------------------------------------------------ runs that are ended


def test_killed_at_any_write_a_run_ends_bit_identical(tmp_path, capsys, monkeypatch, small_network):
    arguments = [*data(tmp_path), "--epochs", "2", *TINY]
    killed_runs.reuse_models(monkeypatch, experiment)
    killed_runs.shorten_reports(monkeypatch, experiment)
    monkeypatch.setattr(models_gan, "settle_statistics", lambda *_: None)  # long, and of no state
    logs = ["--logs", str(tmp_path)]
    assert gan.main([*arguments, *logs, "--name", "straight"]) == 0
    assert "epoch 2/2: generator " in capsys.readouterr().out
    run = tmp_path / "gan" / "killed"
    writes = killed_runs.kill_once_at_every_write(gan.main, arguments, run)
    saves = {("state.npz", done) for done in range(2)}
    report = {(name, 2) for name in ("generator.keras", "first.png", "second.png", "metrics.json")}
    assert writes >= saves | report | {("config.json", 0), ("history.csv", 2)}
    output = capsys.readouterr().out
    assert "epoch " not in output[output.rindex("run " + str(run)) :]  # only the report was missing
    killed_runs.assert_same_end(tmp_path / "gan" / "straight", run)
    names = set(processes.arrays_of(run))
    assert {"measurements/best", "samples/epochs", "epoch_1", "history/kid"} <= names


@pytest.mark.parametrize("place", ["training", "report"])
def test_ctrl_c_saves_and_prints_the_line_that_goes_on(
    tmp_path, capsys, monkeypatch, small_network, place
):
    """Of the real key in a process of its own see `ae` and `supervised`."""

    def pressed(*_, **__):
        raise KeyboardInterrupt

    killed_runs.shorten_reports(monkeypatch, experiment)
    target = callbacks.StopOnNonFinite if place == "training" else experiment.results
    name = "on_train_batch_end" if place == "training" else "write_results"
    monkeypatch.setattr(target, name, pressed)
    arguments = ["--epochs", "1", "--name", "stopped", "--logs", str(tmp_path)]
    assert gan.main([*data(tmp_path), *arguments, *TINY]) == 130
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    done = 0 if place == "training" else 1
    assert f"stopped, {done} epochs are saved" in error
    assert f"python -m kerasunsup.gan --resume --name stopped --logs {tmp_path}" in error


def test_the_data_that_trains_is_the_splits_training_part(monkeypatch, logs):
    class SeenError(Exception):
        """Nothing after it is looked at."""

    seen = []
    fit = keras.Model.fit

    def watched(self, batches, *others, **options):
        if self.name != "gan":
            return fit(self, batches, *others, **options)
        seen.extend(np.concatenate([np.array(batch) for batch in batches]))
        raise SeenError

    monkeypatch.setattr(keras.Model, "fit", watched)
    with pytest.raises(SeenError):
        gan.main(["--epochs", "1", "--logs", str(logs), *SMALL])
    settings = GANSettings(limit=600, test_limit=200)
    train = splits.load(settings).train.array()
    assert len(seen) == 600 // 64 * 64
    found = {image.tobytes() for image in seen}
    assert found <= {image.tobytes() for image in train}
