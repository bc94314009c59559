"""The search for the autoencoder's settings, through the command line, and what it leaves."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import processes
import pytest
from search_problems import SETTINGS, by_settings, command, outcome, pixels, splits
from tensorboard.backend.event_processing import event_accumulator
from tensorboard.plugins.hparams import plugin_data_pb2

from kerasunsup.ae import __main__ as ae
from kerasunsup.ae import experiment as ae_experiment
from kerasunsup.ae import search
from kerasunsup.ae.settings import AutoencoderSettings
from kerasunsup.data import batches as data_batches
from kerasunsup.evaluation import latent_space
from kerasunsup.search import distributed, figures, session
from kerasunsup.settings import read_config
from kerasunsup.training import files, precision


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """A real search through the command line, and its folder."""
    folder = tmp_path_factory.mktemp("searched")
    np.savez(folder / "images.npz", images=pixels())
    status = ae.main(arguments(folder))
    assert status == 0
    return folder


def arguments(folder: Path, *more: str) -> list[str]:
    return [
        "--tune", "--max-epochs", "3", "--search-only", "--data", str(folder / "images.npz"),
        "--batch-size", "16", "--filters", "4", "--hidden-units", "8", "--latent-dim", "8",
        "--tuning", str(folder / "tuning"), "--logs", str(folder / "logs"), *more,
    ]  # fmt: skip


def test_pca_is_given_the_corrupted_images_that_the_trials_are_given(tmp_path):
    parts, errors = splits(), {}
    for noise in (0.0, 0.5):
        settings = dataclasses.replace(SETTINGS, noise=noise, batch_size=32)
        wanted = search.problem(command(tmp_path, settings=settings), parts)
        errors[noise] = wanted.reference(4)
        batches = data_batches.evaluation_batches(parts.validation, 32, prepare=wanted.prepare)
        given = np.concatenate([pair[0].numpy() for pair in batches])
        pca = latent_space.principal_components(
            parts.train.array().reshape(len(parts.train), -1), 4, 0
        )
        restored = pca.inverse_transform(pca.transform(given.reshape(len(given), -1)))
        clean = parts.validation.array().reshape(len(given), -1)
        assert errors[noise] == pytest.approx(np.square(restored - clean).mean(), rel=1e-4)
    assert errors[0.5] > 1.05 * errors[0.0]


def test_a_search_of_an_earlier_version_is_the_same_one(tmp_path):
    """New settings that change no trial must not be among those that a search is known by."""
    given = command(tmp_path)
    made = session.Search(given, search.problem(given, splits()))
    stored = files.read_json(Path(__file__).parents[2] / "tuning" / "ae" / "record.json")
    assert set(made.fingerprint()["settings"]) == set(stored["fingerprint"]["settings"])


@pytest.mark.parametrize("kind", ["tune", "grid", "random"])
def test_the_wide_space_chooses_the_networks_shape_too(tmp_path, kind):
    chosen = {}
    for wide in (False, True):
        given = command(tmp_path, kind=kind, wide=wide)
        made = session.Search(given, search.problem(given, splits()))
        chosen[wide] = set(made.names)
        settings = made.settings_of(made.oracle.create_trial("local"))
        assert isinstance(settings, AutoencoderSettings)
        ae_experiment.check(settings, splits())  # every choice can be built
    assert chosen[False] == {"latent_dim", "learning_rate", "weight_decay"}
    added = {"hidden_units"} if kind == "grid" else {"hidden_units", "filters"}
    assert chosen[True] == chosen[False] | added


def test_best_files_are_valid_configs_and_the_one_asked_for_is_best_json(searched):
    folder = searched / "tuning" / "ae"
    best = AutoencoderSettings(**read_config(AutoencoderSettings, folder / "best.json"))
    assert (best.latent_dim, best.hidden_units, best.schedule) == (8, 8, "cosine")
    sizes = {int(path.stem[5:]) for path in folder.glob("best_*.json")}
    found = files.read_json(folder / "record.json")
    assert sizes >= {int(size) for size in found["front"]}
    for path in folder.glob("best_*.json"):
        read = read_config(AutoencoderSettings, path)
        assert read["latent_dim"] == int(path.stem[5:])
        assert not any("/" in name for name in read)  # none of KerasTuner's own values


def test_the_record_says_all_that_is_needed_to_judge_a_search(searched):
    found = files.read_json(searched / "tuning" / "ae" / "record.json")
    assert found["kind"] == "hyperband"
    assert found["environment"]["versions"]["keras-tuner"]
    assert found["environment"]["seed"] == 0
    assert found["seconds"] > 0
    assert found["epochs"] == sum(result["trained_epochs"] for result in found["trials"])
    best = min(
        (result for result in found["trials"] if result["score"] is not None),
        key=lambda result: result["score"],
    )
    assert found["best"] == best["trial"]
    for result in found["trials"]:
        size = str(result["settings"]["latent_dim"])
        assert result["score"] == result["validation_mse"] / found["reference"][size]
        assert result["validation_mse"] == min(result["history"]["val_loss"])
        assert len(result["history"]["loss"]) == result["last_epoch"]


def test_every_trial_is_in_tensorboard_with_settings_score_and_curve(searched):
    folder = searched / "logs" / "ae_search" / "hyperband"
    found = files.read_json(searched / "tuning" / "ae" / "record.json")

    def events(path):
        accumulator = event_accumulator.EventAccumulator(str(path))
        accumulator.Reload()
        return accumulator

    def hparams(accumulator, name):
        content = accumulator.summary_metadata[f"_hparams_/{name}"].plugin_data.content
        return plugin_data_pb2.HParamsPluginData.FromString(content)

    experiment = hparams(events(folder), "experiment").experiment
    named = {info.name: info for info in experiment.hparam_infos}
    assert set(named) == {"latent_dim", "learning_rate", "weight_decay"}
    assert named["learning_rate"].domain_interval.max_value == pytest.approx(1e-2)
    assert [v.number_value for v in named["latent_dim"].domain_discrete.values] == [8, 16, 32, 64]
    assert [info.name.tag for info in experiment.metric_infos] == ["validation/mse", "score"]
    for result in found["trials"]:
        trial = events(folder / result["trial"])
        values = hparams(trial, "session_start_info").session_start_info.hparams
        assert values["learning_rate"].number_value == result["settings"]["learning_rate"]
        assert set(trial.Tags()["tensors"]) >= {"validation/mse", "score"}
        curve = events(folder / result["trial"] / "validation").Tensors("epoch_loss")
        assert [event.step for event in curve] == list(range(result["last_epoch"]))


def test_the_figures_are_drawn(searched, tmp_path):
    assert (searched / "tuning" / "ae" / "hyperband" / "importance.png").exists() == bool(
        files.read_json(searched / "tuning" / "ae" / "record.json")["importance"]
    )
    assert (searched / "tuning" / "ae" / "search_progress.png").stat().st_size > 5000
    assert (searched / "tuning" / "ae" / "hyperband" / "code_size.png").stat().st_size > 5000


def test_the_importance_of_settings_is_that_of_the_committed_record_and_needs_trials(caplog):
    stored = files.read_json(Path(__file__).parents[2] / "tuning" / "ae" / "record.json")
    given = stored.pop("importance")
    found = search.importance(stored, seed=0)
    for part in ("error", "score"):
        for name, shares in given[part]["settings"].items():
            np.testing.assert_allclose(found[part]["settings"][name], shares, atol=0.02)
    few = stored | {"trials": stored["trials"][:15]}
    with caplog.at_level("INFO"):
        assert search.importance(few, seed=0) is None
        assert figures.importance(few | {"importance": None}) is None
        same = [result | {"score": 2.0} for result in stored["trials"]]
        same = [result | {"validation_mse": 2.0} for result in same]
        assert search.importance(stored | {"trials": same}, seed=0) is None
    assert caplog.messages == [
        "importance of settings: not estimated, 11 combinations were trained and 20 are needed",
        "importance of settings: not estimated, no trial is better than another",
    ]


def test_searches_are_drawn_beside_those_on_the_same_data_and_settings_only(searched, tmp_path):
    found = files.read_json(searched / "tuning" / "ae" / "record.json")
    given = command(tmp_path, kind="random")
    folder = tmp_path / "tuning" / "ae"
    this = found | {"kind": "random"}
    files.write_json(folder / "record.json", found)
    assert list(search.comparable(given, this)) == ["hyperband", "random"]
    for key, value in (("data", "0"), ("settings", {"seed": 1})):
        other = found | {"kind": "grid", "fingerprint": found["fingerprint"] | {key: value}}
        files.write_json(folder / "grid" / "record.json", other)
        assert list(search.comparable(given, this)) == ["hyperband", "random"]
    fingerprint = found["fingerprint"]
    other = fingerprint["settings"] | {"precision": "mixed_bfloat16"}
    grid = found | {"kind": "grid", "fingerprint": fingerprint | {"settings": other}}
    files.write_json(folder / "grid" / "record.json", grid)
    assert list(search.comparable(given, this)) == ["hyperband", "grid", "random"]


def test_all_trials_have_the_faster_arithmetic_and_a_stopped_search_keeps_it(
    searched, tmp_path, monkeypatch
):
    given = command(tmp_path, settings=dataclasses.replace(SETTINGS, precision="auto"))
    seconds = {"float32": 2.0, "mixed_bfloat16": 1.0}
    monkeypatch.setattr(precision, "seconds_a_step", lambda build, element: seconds)
    monkeypatch.setattr(precision, "_LEAST_STEPS", 1)
    monkeypatch.setattr(precision, "has_bfloat16", lambda: True)

    def chosen(given) -> str:
        return search._with_one_arithmetic(given, splits()).precision

    assert chosen(given) == "mixed_bfloat16"
    shared = dataclasses.replace(given.search, distributed=("chief", "localhost:1"))
    assert chosen(dataclasses.replace(given, search=shared)) == "float32"
    fixed = dataclasses.replace(given.config, precision="float32")
    assert chosen(dataclasses.replace(given, config=fixed)) == "float32"
    begun = Path(given.search.tuning) / "ae" / "hyperband" / "fingerprint.json"
    files.write_json(begun, {"settings": {"precision": "float32"}})
    assert chosen(given) == "float32"
    anew = dataclasses.replace(given.search, overwrite=True)
    assert chosen(dataclasses.replace(given, search=anew)) == "mixed_bfloat16"
    files.write_json(begun, {"settings": {"precision": "float1"}})  # damaged: `claim` says so
    assert chosen(given) == "mixed_bfloat16"
    # What is found is trained in what was asked for.
    best = read_config(AutoencoderSettings, searched / "tuning" / "ae" / "best.json")
    assert best["precision"] == "auto"


def test_the_best_is_trained_into_a_run_of_its_own(searched, capsys):
    given = arguments(searched, "--epochs", "2", "--name", "best", "--num-samples", "100")
    given.remove("--search-only")
    assert ae.main(given) == 0
    run = searched / "logs" / "ae" / "best"
    stored = read_config(AutoencoderSettings, run / "config.json")
    best = read_config(AutoencoderSettings, searched / "tuning" / "ae" / "best.json")
    assert stored == best | {"precision": "float32"}  # what `auto` came to
    assert stored["epochs"] == 2
    assert (run / "metrics.json").exists()
    capsys.readouterr()
    assert ae.main(given) == 2  # known before anything is searched
    assert "exists already" in capsys.readouterr().err


def child(folder: Path, *more: str, code: str | None = None) -> subprocess.Popen:
    start = ["-m", "kerasunsup.ae"] if code is None else ["-c", code]
    return subprocess.Popen(
        [sys.executable, *start, *arguments(folder, *more)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"},
    )  # fmt: skip


def wait_for(condition, process: subprocess.Popen | None = None, seconds: float = 120) -> None:
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, "it did not happen"
        assert process is None or process.poll() is None, process.communicate()[0]
        time.sleep(0.02)


class Killed(BaseException):
    """Stands for kill -9: nothing catches it."""


def test_a_search_killed_in_the_middle_of_a_save_goes_on_to_the_same_result(
    searched, tmp_path, monkeypatch
):
    np.savez(tmp_path / "images.npz", images=pixels())
    folder = tmp_path / "tuning" / "ae" / "hyperband"
    replace = os.replace

    def killed(source, destination):
        if Path(destination).suffix == ".npz" and list(folder.glob("trial_*/result.json")):
            raise Killed
        replace(source, destination)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed)
        with pytest.raises(Killed):
            ae.main(arguments(tmp_path))
    done = len(list(folder.glob("trial_*/result.json")))
    assert ae.main(arguments(tmp_path)) == 0
    one, other = (
        files.read_json(place / "tuning" / "ae" / "record.json") for place in (searched, tmp_path)
    )
    assert 1 <= done < len(other["trials"])
    assert outcome(one) == outcome(other)


CRASHING = """
import sys
from kerasunsup.ae import __main__ as ae; from kerasunsup import tensorflow_startup
tensorflow_startup.import_tensorflow()
from kerasunsup.search import trials
def train(self, task):
    raise TypeError("a bug in this worker")
trials.TrialRunner.train = train
sys.exit(ae.main(sys.argv[1:]))
"""


@pytest.mark.slow("kerasunsup/search/", "kerasunsup/ae/search.py")
def test_two_workers_and_one_that_breaks_lose_nothing(searched, tmp_path, monkeypatch, capsys):
    """One worker has a bug, one is killed; the third ends the search, as if it were alone."""
    np.savez(tmp_path / "images.npz", images=pixels())
    monkeypatch.setattr(distributed, "SILENCE", 6.0)
    address = f"localhost:{processes.free_port()}"
    folder = tmp_path / "tuning" / "ae" / "hyperband"
    signs = folder / "workers"
    workers = {}
    problems = []

    def drive() -> None:
        try:
            workers["bad"] = child(tmp_path, "--distributed", "bad", address, code=CRASHING)
            wait_for(lambda: workers["bad"].poll() is not None)
            workers["one"] = child(tmp_path, "--distributed", "one", address)
            wait_for(lambda: list(folder.glob("trial_*/result.json")), workers["one"])
            workers["one"].send_signal(signal.SIGKILL)
            workers["two"] = child(tmp_path, "--distributed", "two", address)
        except BaseException as error:
            problems.append(error)

    thread = threading.Thread(target=drive)
    thread.start()
    status = ae.main(arguments(tmp_path, "--distributed", "chief", address))
    thread.join()
    outputs = {name: worker.communicate(timeout=60)[0] for name, worker in workers.items()}
    assert not problems
    assert status == 0
    output = capsys.readouterr().out
    assert "worker bad failed: TypeError: a bug in this worker; its trial 0000" in output
    assert "worker one has been silent for 6 s" in output
    assert "a bug in this worker" in outputs["bad"]
    assert workers["bad"].returncode == 1
    assert workers["two"].returncode == 0, outputs["two"]
    assert (signs / "two.json").exists()
    alone, shared = (
        files.read_json(place / "tuning" / "ae" / "record.json") for place in (searched, tmp_path)
    )
    assert {result["worker"] for result in shared["trials"]} <= {"one", "two"}
    assert by_settings(shared) == by_settings(alone)
