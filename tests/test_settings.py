"""Settings: their bounds, where they come from, and what the user sees when one is wrong."""

import os

import pytest
from settings_command import parse, refusal, write

from kerasunsup.ae import __main__ as ae
from kerasunsup.ae.settings import AutoencoderSettings
from kerasunsup.apply import __main__ as apply
from kerasunsup.report import __main__ as report
from kerasunsup.settings import TrainingSettings, to_json

# --------------------------------------------------------------------------------- checks of fields

WRONG = [
    ("data", 3, "--data must be of type str"),
    ("image_size", 7, "--image-size must be at least 8"),
    ("image_size", 129, "--image-size must be at most 128"),
    ("image_size", 28.0, "--image-size must be of type int"),
    ("limit", 0, "--limit must be at least 1"),
    ("test_limit", 0, "--test-limit must be at least 1"),
    ("epochs", 0, "--epochs must be at least 1"),
    ("epochs", None, "--epochs must be of type int"),
    ("epochs", True, "--epochs must be of type int"),
    ("epochs", "5", "--epochs must be of type int"),
    ("epochs", 10**30, "--epochs must be at most 2147483647"),
    ("batch_size", 0, "--batch-size must be at least 1"),
    ("batch_size", 2**63, "--batch-size must be at most 2147483647"),
    ("learning_rate", 0.0, "--learning-rate must be above 0.0"),
    ("learning_rate", -0.1, "--learning-rate must be above 0.0"),
    ("learning_rate", float("nan"), "--learning-rate must be a finite number"),
    ("learning_rate", float("inf"), "--learning-rate must be a finite number"),
    ("learning_rate", 10**400, "--learning-rate must be a finite number"),
    ("learning_rate", False, "--learning-rate must be of type float"),
    ("patience", -1, "--patience must be at least 0"),
    ("seed", -1, "--seed must be at least 0"),
    ("seed", 2**31, "--seed must be at most 2147483647"),
    ("precision", "float16", "--precision must be one of auto, float32, mixed_bfloat16"),
    ("precision", ["float32"], "--precision must be of type str"),
    ("strategy", "multi", "--strategy must be one of none, mirrored"),
    ("deterministic", 1, "--deterministic must be of type bool"),
    ("deterministic", "yes", "--deterministic must be of type bool"),
    ("latent_dim", 0, "--latent-dim must be at least 1"),
    ("latent_dim", 4097, "--latent-dim must be at most 4096"),
    ("filters", (), "--filters needs one or more values"),
    ("filters", "32", "--filters needs one or more values"),
    ("filters", 32, "--filters needs one or more values"),
    ("filters", (32, 0), "--filters must be at least 1"),
    ("filters", (32, 1.5), "--filters must be of type int"),
    ("schedule", "linear", "--schedule must be one of constant, cosine"),
    ("hidden_units", 0, "--hidden-units must be at least 1"),
    ("weight_decay", -1e-9, "--weight-decay must be at least 0.0"),
    ("noise", 5.1, "--noise must be at most 5.0"),
    ("noise", -0.1, "--noise must be at least 0.0"),
    ("crop", 128, "--crop must be at most 127"),
    ("crop", -1, "--crop must be at least 0"),
    ("deformation", -0.1, "--deformation must be at least 0.0"),
    ("snapshot_every", 0, "--snapshot-every must be at least 1"),
    ("num_codes", 9, "--num-codes must be at least 10"),
    ("student", 1, "--student must be of type bool"),
    ("student_rounds", 0, "--student-rounds must be at least 1"),
    ("variational", 1, "--variational must be of type bool"),
    ("beta", -0.5, "--beta must be at least 0.0"),
    ("warm_up", 0, "--warm-up must be at least 1"),
    ("sampler", "gan", "--sampler must be one of mixture, flow, neighbors"),
    ("num_samples", 99, "--num-samples must be at least 100"),
    ("skip", 1, "--skip must be of type bool"),
]


@pytest.mark.parametrize(("name", "value", "expected"), WRONG)
def test_a_wrong_value_is_refused_with_its_flag_its_bound_and_what_was_received(
    name, value, expected
):
    text = refusal(AutoencoderSettings, **{name: value})
    assert text.startswith(expected)
    assert "received" in text


def test_every_setting_stands_in_the_table_of_wrong_values():
    settings = set(to_json(AutoencoderSettings()))
    assert settings == {name for name, _, _ in WRONG}


BOUNDS = [
    ("image_size", (None, 8, 128)),
    ("limit", (None, 1)),
    ("epochs", (1, 2**31 - 1)),
    ("patience", (0,)),
    ("seed", (0, 2**31 - 1)),
    ("latent_dim", (1, 4096)),
    ("filters", ((1,), (8, 16, 32))),
    ("weight_decay", (0.0, 1e300)),
    ("noise", (0.0, 5.0)),
    ("crop", (0, 127)),
    ("num_codes", (10,)),
]


@pytest.mark.parametrize(("name", "values"), BOUNDS)
def test_the_bounds_themselves_are_allowed(name, values):
    for value in values:
        assert getattr(AutoencoderSettings(**{name: value}), name) == value


@pytest.mark.parametrize(("name", "value"), [("beta", 4.0), ("warm_up", 3)])
def test_what_is_for_the_variational_autoencoder_is_refused_for_the_plain_one(name, value):
    text = refusal(AutoencoderSettings, **{name: value})
    assert text.startswith(f"--{name.replace('_', '-')} {value} is for the variational")
    assert "add --variational" in text
    assert getattr(AutoencoderSettings(variational=True, **{name: value}), name) == value


def test_whole_numbers_become_floats_and_lists_become_tuples():
    settings = AutoencoderSettings(learning_rate=1, filters=[8, 16])
    assert isinstance(settings.learning_rate, float)
    assert settings.filters == (8, 16)
    assert hash(settings) == hash(AutoencoderSettings(learning_rate=1.0, filters=(8, 16)))


# ----------------------------------------------------------------------------- where they come from


def test_defaults_give_way_to_the_file_that_to_quick_and_that_to_flags(tmp_path):
    file = write(tmp_path / "a.json", {"epochs": 7, "latent_dim": 16, "noise": 0.5, "limit": 400})
    settings = parse("--config", file, "--quick", "--noise", "0.25", "--patience", "3").config
    assert settings.batch_size == AutoencoderSettings().batch_size  # default
    assert settings.latent_dim == 16  # file
    assert settings.limit == 400  # file: already smaller than --quick
    assert settings.epochs == 2  # --quick
    assert settings.noise == 0.25  # flag over file
    assert settings.patience == 3  # flag
    assert parse("--config", file, "--quick", "--epochs", "9").config.epochs == 9  # flag over quick
    assert parse("--config", file).config.epochs == 7
    assert parse("--quick").config.limit == 1000  # where the default is None


def test_quick_leaves_what_the_file_has_smaller():
    assert parse("--quick", quick={"epochs": 80}).config.epochs == TrainingSettings.epochs


def test_each_setting_has_a_flag_that_sets_it():
    given = {
        "--data": "cifar10", "--image-size": "32", "--limit": "9", "--test-limit": "8",
        "--epochs": "3", "--batch-size": "64", "--learning-rate": "0.01", "--patience": "0",
        "--seed": "5", "--precision": "mixed_bfloat16", "--strategy": "mirrored",
        "--latent-dim": "2", "--filters": "8", "--hidden-units": "16", "--weight-decay": "0",
        "--noise": "0.1", "--crop": "4", "--snapshot-every": "1", "--num-codes": "20",
        "--num-samples": "200", "--schedule": "cosine", "--beta": "2", "--warm-up": "3",
        "--student-rounds": "1", "--sampler": "flow", "--deformation": "0.5",
    }  # fmt: skip
    arguments = [word for pair in given.items() for word in pair]
    settings = to_json(parse(*arguments, "--deterministic", "--student", "--variational").config)
    defaults = to_json(AutoencoderSettings())
    # A denoiser with skips has no code, which others of these are about.
    assert [name for name in defaults if settings[name] == defaults[name]] == ["skip"]
    assert parse("--skip").config.skip is True


def test_a_setting_of_several_values_takes_them_one_after_the_other():
    assert parse("--filters", "8", "16", "32", "--epochs", "4").config.filters == (8, 16, 32)
    assert parse("--filters", "8").config.filters == (8,)
    assert refusal(parse, "--filters", "8", "0").startswith("--filters must be at least 1")


def test_a_switch_of_the_file_can_be_turned_off(tmp_path):
    file = write(tmp_path / "a.json", {"deterministic": True})
    assert parse("--config", file).config.deterministic is True
    assert parse("--config", file, "--no-deterministic").config.deterministic is False


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"filters": (8, 16), "noise": 0.3, "limit": 12, "data": "some folder/ä", "epochs": 3},
        {"image_size": 28, "weight_decay": 1e-7, "precision": "mixed_bfloat16"},
    ],
)
def test_settings_survive_the_way_through_their_file(tmp_path, settings):
    before = AutoencoderSettings(**settings)
    file = write(tmp_path / "a.json", to_json(before))
    assert parse("--config", file).config == before


def test_command_keeps_logs_name_and_arguments():
    command = parse("--logs", "elsewhere", "--name", "first", "--epochs", "3")
    assert command.experiment == "ae"
    assert str(command.logs) == "elsewhere"
    assert command.name == "first"
    assert command.resume is False
    assert command.arguments == ("--logs", "elsewhere", "--name", "first", "--epochs", "3")
    assert (str(parse().logs), parse().name) == ("logs", None)


# ---------------------------------------------------------------------------------------- bad files


@pytest.mark.parametrize(
    ("key", "advice"),
    [
        ("latent_dims", "did you mean 'latent_dim'?"),
        ("learningrate", "did you mean 'learning_rate'?"),
        ("zzz", "known are data, image_size,"),
    ],
)
def test_unknown_setting_in_config_file_names_the_closest(tmp_path, key, advice):
    text = refusal(parse, "--config", write(tmp_path / "a.json", {key: 3}))
    assert f"unknown setting '{key}'" in text
    assert advice in text


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"epochs: 3", "is not JSON"),
        (b"", "is not JSON"),
        (b"\xff\xfe\x00", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[1, 2]", "must hold one JSON object, received list"),
        (b"null", "must hold one JSON object, received NoneType"),
        (b'{"learning_rate": NaN}', "--learning-rate must be a finite number"),
        (b'{"learning_rate": 1e999}', "--learning-rate must be a finite number"),
        (b'{"epochs": 3, "seed": 1, "epochs": 4}', "'epochs' stands in it more than once"),
        (b'{"data": "a\\u0000b"}', "--data holds a zero byte"),
    ],
)
def test_a_file_that_holds_no_settings_is_refused(tmp_path, content, expected):
    (tmp_path / "a.json").write_bytes(content)
    assert expected in refusal(parse, "--config", str(tmp_path / "a.json"))


def test_a_byte_order_mark_before_the_settings_is_no_mistake(tmp_path):
    (tmp_path / "a.json").write_bytes(b'\xef\xbb\xbf{"epochs": 3}')
    assert parse("--config", str(tmp_path / "a.json")).config.epochs == 3


def test_a_file_that_cannot_be_read_is_named_with_the_reason(tmp_path):
    assert "No such file" in refusal(parse, "--config", str(tmp_path / "missing.json"))
    assert "Is a directory" in refusal(parse, "--config", str(tmp_path))


@pytest.mark.parametrize("value", ["many", None, [2], True])
def test_quick_does_not_hide_a_wrong_value_of_the_file(tmp_path, value):
    file = write(tmp_path / "a.json", {"epochs": value})
    assert refusal(parse, "--config", file, "--quick").startswith("--epochs must be of type int")


# ------------------------------------------------------------------------------------------- --name


@pytest.mark.parametrize("name", ["a", "run-1", "2024.05", "lr=0.1", "_x", "A" * 100])
def test_a_name_that_can_be_a_folder_is_taken(name):
    assert parse("--name", name).name == name


@pytest.mark.parametrize(
    "name", ["", ".", "..", ".hidden", "a/b", "../up", "a b", "a\n", "ä", "A" * 101]
)
def test_a_name_that_cannot_be_a_folder_is_refused(name):
    text = refusal(parse, "--name", name)
    assert "--name" in text
    assert "use letters" in text


# -------------------------------------------------------------------------------------------- paths


PATHS = {
    "--logs": lambda text: parse("--logs", text),
    "--tuning": lambda text: ae.parse(["--tune", "--tuning", text]),
    "--config": lambda text: parse("--config", text),
    "--output": lambda text: report.parse(["--output", text]),
    "MODEL": lambda text: apply.parse(["encode", text, "images", "--output", "o"]),
}  # fmt: skip


@pytest.mark.parametrize("name", PATHS)
def test_a_path_of_a_user_that_is_none_or_without_a_letter_is_refused(name):
    text = refusal(PATHS[name], "~nosuchuser/runs.html")
    assert text.startswith(f"{name} ~nosuchuser/runs.html: the home folder of ~nosuchuser is not")
    assert refusal(PATHS[name], " ") == f"{name} is empty: give a path"


def test_the_home_folder_is_found_where_the_shell_does_not_put_it_in(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert parse("--logs", "~/runs").logs == tmp_path / "runs"
    assert ae.parse(["--tune", "--tuning", "~/found"]).search.tuning == str(tmp_path / "found")


def test_a_place_that_is_no_utf_8_is_refused_where_tensorflow_writes(tmp_path):
    assert "no UTF-8" in refusal(parse, "--logs", os.fsdecode(b"caf\xe9"))
    assert parse("--data", os.fsdecode(b"caf\xe9")).config.data == "caf\udce9"
