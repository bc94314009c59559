"""What needs no network starts without TensorFlow, and gives the same files as with it."""

import os
import shutil
import subprocess
import sys

import pytest
from apply_command import complaint, files, run
from apply_command import parts as networks_of

from kerasunsup.apply import __main__ as apply
from kerasunsup.evaluation import clustering
from kerasunsup.models import export

_LOADED = """
import sys
from kerasunsup.apply import __main__ as apply
status = apply.main(sys.argv[1:])
print("loaded:", *sorted({"tensorflow", "keras", "tensorflow_datasets"} & set(sys.modules)))
sys.exit(status)
"""


def loaded_by(*arguments):
    """What a command loads in a process of its own that comes to a good end."""
    command = [sys.executable, "-c", _LOADED, *map(str, arguments)]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONSTARTUP"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.strip().splitlines()[-1].split()[1:]


def assert_same_files(folder, expected):
    assert files(folder) == files(expected)
    for name in files(folder) - {"apply.json"}:  # that holds the seconds
        assert (folder / name).read_bytes() == (expected / name).read_bytes(), name


@pytest.fixture
def alone(model, tmp_path):
    """A model that stands alone, so that outliers are compared with the images themselves."""
    shutil.copy(model / "model.keras", tmp_path / "alone.keras")
    return tmp_path / "alone.keras"


@pytest.fixture
def codes(alone, folder, tmp_path):
    """A folder of the parts of all images."""
    assert run("encode", alone, folder, "--output", tmp_path / "codes", "--shard", "1/1") == 0
    return tmp_path / "codes"


@pytest.mark.parametrize("verb", ["cluster", "similar", "outliers", "select"])
def test_codes_that_exist_need_no_tensorflow(alone, folder, codes, tmp_path, verb):
    arguments = [verb, alone, folder, "--output"]
    assert run(*arguments, tmp_path / "usual") == 0
    assert loaded_by(*arguments, tmp_path / "fast", "--codes", codes) == []
    assert_same_files(tmp_path / "fast", tmp_path / "usual")
    assert (tmp_path / "fast" / "apply.json").exists()


def test_a_run_is_opened_without_tensorflow_too(model, folder, tmp_path):
    shutil.copytree(model / "export", tmp_path / "alone")
    trusted = ["--trust-model"]
    for place, flags in ((model, []), (model / "export", []), (tmp_path / "alone", trusted)):
        codes = tmp_path / f"codes-{place.name}"
        arguments = [place, folder, *flags, "--output"]
        assert run("encode", *arguments, codes, "--shard", "1/1") == 0
        output = tmp_path / f"out-{place.name}"
        assert loaded_by("cluster", *arguments, output, "--codes", codes) == []
        assert "clusters.csv" in files(output)


def test_what_is_done_already_needs_no_tensorflow(model, folder, tmp_path):
    for verb in ("encode", "restore", "outliers"):
        arguments = [verb, model, folder, "--output", tmp_path / verb]
        assert run(*arguments) == 0
        assert loaded_by(*arguments) == []


def test_images_that_were_encoded_before_a_stop_need_no_tensorflow(
    model, folder, tmp_path, monkeypatch
):
    arguments = ["cluster", model, folder, "--output"]
    assert run(*arguments, tmp_path / "usual") == 0

    def stopped(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(clustering, "groups", stopped)
        assert run(*arguments, tmp_path / "out") == 130
    assert loaded_by(*arguments, tmp_path / "out") == []
    assert_same_files(tmp_path / "out", tmp_path / "usual")


def test_what_the_network_computes_loads_tensorflow(alone, folder, codes, tmp_path):
    query = ["--query", folder / "a" / "3.png", "--codes", codes]
    loaded = loaded_by("similar", alone, folder, *query, "--output", tmp_path / "out")
    assert loaded == ["keras", "tensorflow"]


def test_codes_of_a_model_that_does_not_reconstruct_show_outliers_by_themselves(folder, tmp_path):
    encoder = tmp_path / "encoder.keras"
    export.write_keras(encoder, networks_of()[0])
    codes = tmp_path / "codes"
    assert run("encode", encoder, folder, "--output", codes, "--shard", "1/1") == 0
    arguments = [encoder, folder, "--codes", codes, "--output"]
    assert run("cluster", *arguments, tmp_path / "groups") == 0
    assert run("outliers", *arguments, tmp_path / "odd") == 0
    at_once = ["outliers", encoder, folder, "--output", tmp_path / "at_once"]
    assert run(*at_once) == 0
    tables = [(tmp_path / name / "outliers.csv").read_text() for name in ("odd", "at_once")]
    assert tables[0] == tables[1]


def test_parts_of_restored_images_are_no_codes(alone, folder, tmp_path, capsys):
    restored = tmp_path / "restored"
    assert run("restore", alone, folder, "--output", restored, "--shard", "1/1") == 0
    arguments = ["cluster", alone, folder, "--codes", restored, "--output", tmp_path / "out"]
    assert "holds parts of restore: give those of encode" in complaint(capsys, *arguments)


@pytest.mark.parametrize(
    ("words", "model", "images"),
    [
        ("duplicates M --output O I", "M", "I"),
        ("duplicates --output O I", None, "I"),
        ("similar M --output O --query q I", "M", "I"),
        ("similar --output O M --neighbors 3 I", "M", "I"),
        ("outliers M --share 0.1 I --output O", "M", "I"),
        ("duplicates --output O -- M I", "M", "I"),
    ],
)
def test_settings_may_stand_between_model_and_images(words, model, images):
    command = apply.parse(words.split())
    found = command.model if command.model is None else str(command.model)
    assert (found, command.images, str(command.output)) == (model, images, "O")


def test_what_stands_too_much_is_refused_as_ever(capsys):
    with pytest.raises(SystemExit):
        apply.parse(["duplicates", "M", "--output", "O", "I", "J"])
    assert "unrecognized arguments: J (see --help)" in capsys.readouterr().err
