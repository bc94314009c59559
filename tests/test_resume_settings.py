"""What `--resume` takes from the run that goes on, and what may be given beside it."""

import pytest
from settings_command import parse, refusal, store_run, write

from kerasunsup.ae import __main__ as ae
from kerasunsup.gan import __main__ as gan
from kerasunsup.gan.settings import GANSettings
from kerasunsup.novelty import __main__ as novelty
from kerasunsup.novelty.settings import NoveltySettings
from kerasunsup.settings import to_json
from kerasunsup.supervised import __main__ as supervised
from kerasunsup.supervised.settings import SupervisedSettings


def test_resume_takes_the_settings_of_the_run(tmp_path):
    stored = store_run(tmp_path / "ae" / "first", latent_dim=7, epochs=3, filters=(8, 16))
    command = parse("--logs", str(tmp_path), "--name", "first", "--resume")
    assert command.resume is True
    assert command.config == stored


def test_resume_may_change_how_long_a_run_lasts(tmp_path):
    store_run(tmp_path / "ae" / "first", epochs=3, patience=5)
    arguments = ["--resume", "--epochs", "9", "--patience", "0"]
    settings = ae.parse(["--logs", str(tmp_path), "--name", "first", *arguments]).config
    assert (settings.epochs, settings.patience) == (9, 0)


@pytest.mark.parametrize(
    "flags",
    [("--latent-dim", "8"), ("--filters", "8"), ("--deterministic",), ("--data", "other")],
)
def test_resume_refuses_a_changed_setting(tmp_path, flags):
    store_run(tmp_path / "ae" / "first", latent_dim=7, filters=(8, 16))
    text = refusal(parse, "--logs", str(tmp_path), "--name", "first", "--resume", *flags)
    assert f"this run has {flags[0]} " in text


@pytest.mark.parametrize(
    "flags",
    [
        ("--latent-dim", "7"),
        ("--filters", "8", "16"),
        ("--learning-rate", "1"),
        ("--no-deterministic",),
    ],
)
def test_resume_takes_a_setting_that_says_the_same(tmp_path, flags):
    stored = store_run(tmp_path / "ae" / "first", latent_dim=7, filters=(8, 16), learning_rate=1.0)
    command = parse("--logs", str(tmp_path), "--name", "first", "--resume", *flags)
    assert command.config == stored


@pytest.mark.parametrize("flag", ["--epochs", "--patience"])
@pytest.mark.parametrize("command", [supervised, novelty])
def test_resume_refuses_another_length_where_finished_trainings_would_keep_theirs(
    tmp_path, command, flag
):
    name = command.__name__.split(".")[1]
    settings = {
        "supervised": SupervisedSettings(),
        "novelty": NoveltySettings(),
    }[name]
    folder = tmp_path / name / "first"
    folder.mkdir(parents=True)
    write(folder / "config.json", to_json(settings))
    given = ["--logs", str(tmp_path), "--name", "first", "--resume"]
    text = refusal(command.parse, [*given, flag, "99"])
    assert text.startswith(f"--resume: this run has {flag} ")
    assert "the trainings that it has finished would keep theirs" in text
    assert command.parse([*given, "--epochs", str(settings.epochs)]).config == settings


def test_resume_lets_the_one_training_of_a_gan_last_longer(tmp_path):
    folder = tmp_path / "gan" / "first"
    folder.mkdir(parents=True)
    write(folder / "config.json", to_json(GANSettings(epochs=3)))
    given = ["--logs", str(tmp_path), "--name", "first", "--resume", "--epochs", "5"]
    assert gan.parse(given).config.epochs == 5


def test_resume_finds_images_and_encoder_from_another_folder(tmp_path, monkeypatch):
    folder, data = tmp_path / "supervised" / "first", tmp_path / "images"
    folder.mkdir(parents=True)
    settings = SupervisedSettings(data="images", encoder="gone")
    write(folder / "config.json", to_json(settings))
    given = ["--logs", str(tmp_path), "--name", "first", "--resume"]
    assert supervised.parse(given).config == settings  # an older run recorded no place
    recorded = {"data": "abc", "data_path": str(data), "encoder_path": str(tmp_path / "gone")}
    write(folder / "environment.json", recorded)
    assert supervised.parse(given).config == settings  # nothing is there any more
    data.mkdir()
    found = supervised.parse(given).config
    assert (found.data, found.encoder) == (str(data), "gone")
    assert supervised.parse([*given, "--data", "images"]).config == found
    (folder / "environment.json").write_text("[1")
    assert supervised.parse(given).config == settings


def test_resume_needs_a_name_and_a_run_and_no_other_settings(tmp_path):
    logs = ("--logs", str(tmp_path), "--resume")
    file = write(tmp_path / "a.json", {})
    assert "--resume needs --name" in refusal(parse, *logs)
    assert "there is no ae run in" in refusal(parse, *logs, "--name", "missing")
    store_run(tmp_path / "ae" / "first")
    named = (*logs, "--name", "first")
    assert "leave --config, --preset and --quick out" in refusal(parse, *named, "--config", file)
    assert "leave --config, --preset and --quick out" in refusal(parse, *named, "--quick")
    assert "--epochs must be at least 1" in refusal(parse, *named, "--epochs", "0")


def test_resume_of_a_run_with_damaged_settings_names_the_file(tmp_path):
    store_run(tmp_path / "ae" / "first")
    (tmp_path / "ae" / "first" / "config.json").write_text('{"epochs": 3')
    text = refusal(parse, "--logs", str(tmp_path), "--name", "first", "--resume")
    assert "first/config.json" in text
