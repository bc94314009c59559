"""The command `ae`, from the command line to everything that it leaves behind."""

from __future__ import annotations

import base64
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
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
from kerasunsup.ae import experiment, results
from kerasunsup.ae.settings import AutoencoderSettings
from kerasunsup.data import images, splits
from kerasunsup.models import code_flow, loading
from kerasunsup.report import __main__ as report_command
from kerasunsup.settings import read_config, to_json
from kerasunsup.training import code_sampler, files

SMALL = [*processes.SMALL, "--num-codes", "60"]
# Of runs that must agree with each other, however they came to their end.
SAME = ["--epochs", "6", "--deterministic", "--noise", "0.3", *SMALL]

# Of data of 16 x 16 pixels.
TINY = [
    "--filters", "2", "--hidden-units", "4", "--latent-dim", "2", "--batch-size", "16",
    "--num-codes", "10", "--num-samples", "100",
]  # fmt: skip

FIGURES = {
    "learning_curve", "reconstructions", "restorations", "corruption_sweep", "encoded_space",
    "samples", "samples_mixture_100", "drawn_codes", "code_plane", "walks", "walk_confidence",
}  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """The folder of a run on real MNIST images, started as a user would."""
    logs = tmp_path_factory.mktemp("logs")
    assert ae.main(["--quick", "--logs", str(logs), "--name", "first"]) == 0
    return logs / "ae" / "first"


@pytest.fixture
def short_report(monkeypatch, small_figures):
    """One strength of each corruption, and small figures, where the report is not the point."""
    monkeypatch.setattr(results, "_SIGMAS", (0.4,))
    monkeypatch.setattr(results, "_HOLES", (4,))


def noise_images(number: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (number, 16, 16, 1), np.uint8)


def write_images(folder: Path, count: int, *, colour: bool) -> Path:
    folder.mkdir()
    generator = np.random.default_rng(0)
    for index in range(count):
        picture = np.full((9, 12, 3 if colour else 1), 255 * (index % 2), np.uint8)
        picture[:, : 2 + index % 5] = generator.integers(0, 256, picture.shape[2])
        (folder / f"{index}.png").write_bytes(images.encode_png(picture))
    return folder


def test_a_run_leaves_what_the_interface_promises(finished):
    assert {path.name for path in finished.iterdir()} >= {
        "config.json", "environment.json", "history.csv", "metrics.json", "figures",
        "checkpoints", "model.keras", "export", "train", "validation", "report", "projector",
        "README.md", "sampler.npz",
    }  # fmt: skip
    assert {path.stem for path in (finished / "figures").glob("*.png")} == FIGURES
    for path in (finished / "figures").glob("*.png"):
        assert min(images.decode(path).shape[:2]) > 200
    with Image.open(finished / "figures" / "reconstructions.gif") as moving:
        assert moving.n_frames == 2
    assert not list(finished.rglob("*.part*"))
    assert (finished / "export").stat().st_mode & 0o777 == (finished.stat().st_mode & 0o777)


def test_numbers_have_the_promised_names_and_agree_with_the_saved_model(finished):
    numbers = json.loads((finished / "metrics.json").read_text())
    promised = {
        "test/mse", "test/psnr_db", "test/ssim", "pca/mse", "noise_0.5/psnr_db", "crop_8/gain_db",
        "real/fid", "real/precision", "integers/fid", "gaussian/recall", "mixture_100/fid",
        "mixture_10/classifier_score", "judge/accuracy", "walks/straight_confidence",
        "walks/density_confidence",
    }  # fmt: skip
    assert promised <= set(numbers)
    assert all(isinstance(value, int | float) for value in numbers.values())
    settings = AutoencoderSettings(limit=1000, test_limit=300)
    test_images = splits.load(settings).test.array()
    model = keras.models.load_model(finished / "model.keras")
    outputs = model.predict(test_images, verbose=0)
    assert np.mean((outputs - test_images) ** 2) == pytest.approx(numbers["test/mse"], rel=1e-4)
    gain = numbers["noise_0.4/psnr_db"] - numbers["noise_0.4/input_psnr_db"]
    assert numbers["noise_0.4/gain_db"] == pytest.approx(gain)
    # Anchors: PSNR of clipped noise on MNIST.
    assert numbers["noise_0.4/input_psnr_db"] == pytest.approx(11.0, abs=0.1)
    assert numbers["pca/mse"] == pytest.approx(0.0168, abs=0.0015)
    assert numbers["mean_image/mse"] == pytest.approx(0.067, abs=0.003)


def test_tensorboard_holds_curves_figures_text_and_settings(finished):
    def tags(folder: str) -> dict:
        events = event_accumulator.EventAccumulator(str(finished / folder))
        events.Reload()
        return {**events.Tags(), "events": events}

    def named(found: dict) -> set[str]:
        return {tag for kind in ("scalars", "tensors") for tag in found[kind]}

    assert {"epoch_loss", "epoch_learning_rate", "epoch_images_per_second"} <= named(tags("train"))
    assert "epoch_loss" in named(tags("validation"))
    report = tags("report")
    assert FIGURES | {"settings", "numbers", "test/mse"} <= named(report)
    by_epoch = report["events"].Tensors("reconstructions_by_epoch")
    assert [event.step for event in by_epoch] == [1, 2]
    plugins = report["events"].PluginTagToContent("hparams")
    assert any("session_start" in tag for tag in plugins)
    assert report["graph"]


def test_config_of_a_run_starts_the_same_run_again(finished, tmp_path):
    stored = read_config(AutoencoderSettings, finished / "config.json")
    assert AutoencoderSettings(**stored).limit == 1000
    again = cli.parse(
        "ae", AutoencoderSettings, description="", quick={},
        argv=["--config", str(finished / "config.json")],
    )  # fmt: skip
    assert to_json(again.config) == stored


def test_export_runs_in_a_process_without_the_package(finished, tmp_path):
    settings = AutoencoderSettings(limit=1000, test_limit=300)
    pictures = splits.load(settings).test.array(range(7))
    model = keras.models.load_model(finished / "model.keras")
    codes = np.asarray(model.get_layer("encoder")(pictures))
    noise = code_sampler.noise(50, settings.latent_dim, seed=3)
    generator = code_sampler.read(finished / "sampler.npz").generator(model.get_layer("decoder"))
    generated = generator.predict(noise, verbose=0)
    np.savez(
        tmp_path / "expected.npz", images=pictures, reconstructed=np.asarray(model(pictures)),
        codes=codes, decoded=np.asarray(model.get_layer("decoder")(codes)),
        noise=noise, generated=generated,
    )  # fmt: skip
    script = f"""
import sys
sys.modules["kerasunsup"] = None  # importing it now fails
import numpy as np
import tensorflow as tf
loaded = tf.saved_model.load({str(finished / "export")!r})
expected = np.load({str(tmp_path / "expected.npz")!r})
signatures = loaded.signatures
assert set(signatures) == {{
    "serving_default", "reconstruct", "encode", "decode", "generate"
}}, signatures
def worst(name, argument, value, output, key):
    result = signatures[name](**{{argument: tf.constant(value)}})
    assert set(result) == {{output}}, result
    return float(np.abs(result[output].numpy() - expected[key]).max())
images, codes = expected["images"], expected["codes"]
print(
    worst("serving_default", "images", images, "images", "reconstructed"),
    worst("reconstruct", "images", images, "images", "reconstructed"),
    worst("encode", "images", images, "codes", "codes"),
    worst("decode", "codes", codes, "images", "decoded"),
    worst("generate", "noise", expected["noise"], "images", "generated"),
    float(np.abs(loaded.encode(images[:1])["codes"].numpy() - codes[:1]).max()),
)
"""
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0, result.stderr
    differences = [float(word) for word in result.stdout.split()]
    assert len(differences) == 6
    assert max(differences) <= 1e-5


def test_a_report_takes_the_run_for_its_step_and_shows_its_numbers(finished, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    logs = str(finished.parent.parent)
    assert report_command.main(["--quick", "--page-only", "--logs", logs]) == 0
    page = (tmp_path / "report.html").read_text()
    numbers = json.loads((finished / "metrics.json").read_text())
    (shown,) = json.loads((tmp_path / "report.json").read_text())["numbers"].values()
    assert len(shown) > 40
    assert shown == pytest.approx({name: numbers[name] for name in shown}, rel=1e-5)
    for name in ("test/mse", "mixture_100/fid", "latent/graph_accuracy"):
        assert name in shown
    assert f"{numbers['test/mse']:.5f}" in page
    # Restored images are shown of the runs that learned to restore.
    elsewhere = {"restorations", "samples_mixture_100"}
    for name in FIGURES:
        png = (finished / "figures" / f"{name}.png").read_bytes()
        content = base64.b64encode(png).decode("ascii")
        assert (content in page) is (name not in elsewhere), name
    assert "the GAN has not been run" in page


def test_a_run_of_the_earlier_layout_goes_on_and_its_model_opens(tmp_path, short_report):
    """It was made by version 0.1.0 when the package was flat, of 100 images in two epochs."""
    run = tmp_path / "ae" / "before"
    shutil.copytree(Path(__file__).parent / "run_before_the_move", run)
    model = loading.open_model(run)
    codes = model.function("encode")(np.zeros((3, 28, 28, 1), np.float32))
    assert codes.shape == (3, 2)
    assert AutoencoderSettings(**read_config(AutoencoderSettings, run / "config.json")).limit == 100
    before = (run / "history.csv").read_text().splitlines()
    (run / "metrics.json").unlink()
    arguments = ["--resume", "--name", "before", "--epochs", "3", "--logs", str(tmp_path)]
    assert ae.main(arguments) == 0
    after = (run / "history.csv").read_text().splitlines()
    assert after[: len(before)] == before
    column = after[0].split(",").index("loss")
    losses = [float(line.split(",")[column]) for line in after[1:]]
    assert losses == sorted(losses, reverse=True)
    assert len(losses) == 3
    assert "test/mse" in json.loads((run / "metrics.json").read_text())


def test_a_name_that_exists_is_refused_and_left_alone(finished, capsys):
    before = (finished / "metrics.json").read_bytes()
    arguments = ["--quick", "--logs", str(finished.parent.parent), "--name", "first"]
    assert ae.main(arguments) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "exists already" in error
    assert "--resume" in error
    assert (finished / "metrics.json").read_bytes() == before


@pytest.mark.parametrize("colour", [False, True])
def test_a_folder_of_odd_sized_images_without_labels(tmp_path, short_report, colour, capsys):
    folder = write_images(tmp_path / "pictures", 240, colour=colour)
    arguments = [
        "--data", str(folder), "--epochs", "2", "--latent-dim", "3", "--batch-size", "8",
        "--filters", "4", "8", "--hidden-units", "8", "--noise", "0.2", "--crop", "3",
        "--logs", str(tmp_path / "logs"), "--name", "own", "--num-samples", "100",
    ]  # fmt: skip
    assert ae.main(arguments) == 0
    run = tmp_path / "logs" / "ae" / "own"
    numbers = json.loads((run / "metrics.json").read_text())
    assert "mixture_10/kid" in numbers  # in an encoder's space, of 24 test images
    assert "mixture_10/classifier_score" not in numbers
    assert "9 x 12" in capsys.readouterr().out
    model = keras.models.load_model(run / "model.keras")
    assert model.input_shape == (None, 9, 12, 3 if colour else 1)


def test_a_flow_is_fitted_once_measured_and_kept_with_the_run(tmp_path, short_report, monkeypatch):
    monkeypatch.setattr(code_flow, "_UNITS", 16)
    monkeypatch.setattr(code_flow, "_LEAST_STEPS", 20)
    np.savez(tmp_path / "images.npz", images=noise_images(240))
    arguments = ["--data", str(tmp_path / "images.npz"), "--epochs", "1", *TINY]
    arguments += ["--logs", str(tmp_path), "--name", "one", "--sampler", "flow"]
    assert ae.main(arguments) == 0
    run = tmp_path / "ae" / "one"
    numbers = json.loads((run / "metrics.json").read_text())
    assert {"flow/fid", "flow/precision", "flow/recall", "mixture_100/fid"} <= set(numbers)
    assert (run / "figures" / "samples_flow.png").exists()
    assert "decode, reconstruct, generate" in (run / "README.md").read_text()
    kept = (run / "sampler.npz").read_bytes()

    def no_fit(*_):
        raise AssertionError("it is fitted already")

    monkeypatch.setattr(code_sampler, "fit", no_fit)
    (run / "metrics.json").unlink()
    assert ae.main(["--resume", "--name", "one", "--logs", str(tmp_path)]) == 0
    assert json.loads((run / "metrics.json").read_text())["flow/fid"] == numbers["flow/fid"]
    assert (run / "sampler.npz").read_bytes() == kept


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["--sampler", "flow", "--latent-dim", "300"],
            ["--sampler flow", "at most 256", "--latent-dim 300"],
        ),
        (["--data", "no/such/folder"], ["no/such/folder"]),
        (["--crop", "28"], ["--crop 28", "28 x 28"]),
        (["--filters", *["4"] * 7], ["--filters", "at most"]),
        (["--logs", "{file}/logs"], ["Not a directory", "--logs"]),
        (["--learning-rate", "1e30", "--epochs", "3"], ["loss became", "--learning-rate 1e+30"]),
    ],
)
def test_bad_input_is_one_line_and_status_2(tmp_path, capsys, arguments, words):
    (tmp_path / "file").write_text("in the way")
    filled = [argument.format(file=tmp_path / "file") for argument in arguments]
    given = [] if "--logs" in filled else ["--logs", str(tmp_path / "logs")]
    assert ae.main([*SMALL, *given, *filled]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1, error
    assert error.startswith("kerasunsup ae: ")
    for word in words:
        assert word in error


def test_patience_that_is_over_is_told_of_and_corrupted_images_have_no_line_of_clean_ones(
    tmp_path, short_report, monkeypatch, capsys
):
    drawn = {}
    curve = results.curves.learning_curve

    def noted(*values, pca_mse, **more):
        drawn["pca_mse"] = pca_mse
        return curve(*values, pca_mse=pca_mse, **more)

    monkeypatch.setattr(results.curves, "learning_curve", noted)
    arguments = ["--patience", "1", "--learning-rate", "0.5", "--noise", "0.3", "--epochs", "9"]
    same = ["--name", "one", "--logs", str(tmp_path)]
    assert ae.main([*SMALL, *arguments, *same]) == 0
    assert drawn["pca_mse"] is None
    capsys.readouterr()
    assert ae.main(["--resume", *same, "--epochs", "20"]) == 0
    assert "--patience is over since epoch" in capsys.readouterr().out


def test_small_codes_and_mixed_precision_reach_the_end(tmp_path, short_report):
    arguments = ["--latent-dim", "1", "--precision", "mixed_bfloat16", "--epochs", "1"]
    # Few units: a processor without instructions for this precision is slow in it.
    arguments += ["--filters", "4", "--hidden-units", "16", "--name", "one"]
    assert ae.main([*SMALL, *arguments, "--logs", str(tmp_path)]) == 0
    assert keras.config.dtype_policy().name == "float32"  # put back
    model = keras.models.load_model(tmp_path / "ae" / "one" / "model.keras")
    assert model.output.dtype == "float32"


# ------------------------------------------------------------------ processes that are really ended


def command(logs: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "kerasunsup.ae", "--logs", str(logs), *arguments]


@pytest.mark.slow("kerasunsup/training/", "kerasunsup/ae/experiment.py")
def test_killed_in_the_middle_of_a_save_a_run_ends_bit_identical(tmp_path):
    """Really: by the system, in a process of its own. Other moments are tested in this process."""
    processes.finished(command(tmp_path, "--name", "straight", *SAME), is_quiet=True)
    run = tmp_path / "ae" / "killed"
    history = run / "history.csv"

    def is_saving() -> bool:
        """With a whole state of an earlier epoch to go on from."""
        return history.exists() and any((run / "checkpoints").glob(".state*.part"))

    def started(*more: str) -> subprocess.Popen:
        arguments = command(tmp_path, "--name", "killed", *more)
        return subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def kill_when(process: subprocess.Popen, has_happened: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < deadline and not has_happened():
            time.sleep(0.0005)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        assert not (run / "metrics.json").exists()

    with started(*SAME) as process:
        kill_when(process, is_saving)
    assert 1 <= killed_runs.epochs_done(run) < 6
    with started("--resume") as process:
        kill_when(process, lambda: any((run / "figures").glob("*.png")))
    output = processes.finished(command(tmp_path, "--name", "killed", "--resume"))
    assert "epoch " not in output  # trained, and in the middle of its report
    assert "test error (MSE)" in output
    killed_runs.assert_same_end(tmp_path / "ae" / "straight", run)


def test_killed_at_any_write_a_run_ends_bit_identical(tmp_path, capsys, monkeypatch):
    np.savez(tmp_path / "images.npz", images=noise_images(100))
    arguments = ["--data", str(tmp_path / "images.npz"), "--epochs", "2", "--noise", "0.3", *TINY]
    killed_runs.reuse_models(monkeypatch, experiment)
    killed_runs.shorten_reports(monkeypatch, experiment)
    logs = ["--logs", str(tmp_path)]
    assert ae.main([*arguments, *logs, "--name", "straight"]) == 0
    capsys.readouterr()
    run = tmp_path / "ae" / "killed"
    writes = killed_runs.kill_once_at_every_write(ae.main, arguments, run)
    saves = {("state.npz", done) for done in range(2)}
    report = {(name, 2) for name in ("model.keras", "first.png", "second.png", "metrics.json")}
    assert writes >= saves | report | {("config.json", 0), ("history.csv", 2)}
    output = capsys.readouterr().out
    assert "epoch " not in output[output.rindex("run " + str(run)) :]  # only the report was missing
    killed_runs.assert_same_end(tmp_path / "ae" / "straight", run)


def test_ctrl_c_saves_and_prints_the_line_that_goes_on(tmp_path):
    arguments = ["--name", "stopped", "--epochs", "1000", *SMALL]
    error = processes.interrupted(command(tmp_path, *arguments), "epoch 3/")
    assert f"python -m kerasunsup.ae --resume --name stopped --logs {tmp_path}" in error
    state = files.read_arrays(tmp_path / "ae" / "stopped" / "checkpoints" / "state.npz")
    assert len(state["history/epoch"]) >= 3
