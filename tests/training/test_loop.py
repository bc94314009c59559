"""The one `fit`: patience, non-finite losses, the state on disk, going on exactly."""

from __future__ import annotations

import dataclasses
import errno
import functools
import os
import shutil

import numpy as np
import pytest
import tensorflow as tf

from kerasunsup import cli, progress
from kerasunsup.ae import experiment
from kerasunsup.ae.settings import AutoencoderSettings
from kerasunsup.data import batches as data_batches
from kerasunsup.data import pixel_storage
from kerasunsup.data.image_set import ImageSet
from kerasunsup.data.splits import Splits
from kerasunsup.errors import InputError, Interrupted
from kerasunsup.settings import Command
from kerasunsup.training import callbacks, files, loop, run_folder

SETTINGS = AutoencoderSettings(
    epochs=4, batch_size=16, latent_dim=4, filters=(4,), hidden_units=8, noise=0.2
)


def splits() -> Splits:
    pixels = np.random.default_rng(0).integers(0, 256, (80, 8, 8, 1), np.uint8)
    pixels[:, :, 4:] //= 4
    pool = ImageSet(pixel_storage.MemoryStore(pixels))
    return Splits(
        pool.subset(range(50)), pool.subset(range(50, 65)), pool.subset(range(65, 80)),
        "noise", None, None,
    )  # fmt: skip


def start(
    logs, settings: AutoencoderSettings, *, resume: bool = False, name: str = "run"
) -> tuple[loop.Fitted, list[np.ndarray], callbacks.Snapshots]:
    """One session of a run; returns what training returns and the weights that it ends with."""
    command = Command("ae", settings, logs, name, resume, ())
    parts = splits()
    with loop.machine(settings), run_folder.opened(command) as run:
        model = experiment.build(settings, parts.image_shape)
        shown = parts.test.array(range(2))
        snapshots = callbacks.Snapshots(
            lambda: model(shown, training=False),
            lambda epoch: epoch == 1 or epoch % 2 == 0,
            run.folder / "checkpoints" / "snapshots",
        )
        fitted = loop.fit(
            model, parts, settings, run,
            prepare=experiment.corruption_of(settings), recorders={"snapshots": snapshots},
        )  # fmt: skip
    return fitted, model.get_weights(), snapshots


def copied(whole, logs) -> tuple:
    """The finished run in another folder; what `start` returned."""
    shutil.copytree(whole[1], logs / "ae" / "run")
    return whole[0]


def losses(fitted: loop.Fitted) -> list[list[float]]:
    return [fitted.history[name] for name in ("epoch", "loss", "val_loss", "learning_rate")]


def assert_same(first, second) -> None:
    assert losses(first[0]) == losses(second[0])
    assert first[0].best_epoch == second[0].best_epoch
    for one, other in zip(first[1], second[1], strict=True):
        np.testing.assert_array_equal(one, other)
    assert first[2].epochs == second[2].epochs
    np.testing.assert_array_equal(first[2].outputs, second[2].outputs)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of four epochs that nothing stopped, and its folder."""
    logs = tmp_path_factory.mktemp("whole")
    return start(logs, SETTINGS), logs / "ae" / "run"


def test_same_seed_trains_the_same_and_another_does_not(whole, tmp_path):
    assert_same(whole[0], start(tmp_path, SETTINGS))
    other = start(tmp_path, dataclasses.replace(SETTINGS, seed=1), name="other")
    assert losses(other[0]) != losses(whole[0][0])


def test_a_longer_resumed_run_equals_one_that_was_never_stopped(whole, tmp_path):
    start(tmp_path, dataclasses.replace(SETTINGS, epochs=2))
    assert_same(whole[0], start(tmp_path, SETTINGS, resume=True))


@pytest.mark.parametrize("epoch", [0, 1, 3])
def test_ctrl_c_keeps_the_finished_epochs_and_says_how_to_go_on(
    whole, tmp_path, monkeypatch, epoch
):
    def interrupt(self, batch, logs=None):
        if self.params["epochs"] and self._stop_in == self._epoch_number and batch >= 1:
            raise KeyboardInterrupt

    def begin(self, number, logs=None):
        self._epoch_number = number

    with monkeypatch.context() as patch:
        patch.setattr(callbacks.StopOnNonFinite, "_stop_in", epoch, raising=False)
        patch.setattr(callbacks.StopOnNonFinite, "on_epoch_begin", begin)
        patch.setattr(callbacks.StopOnNonFinite, "on_train_batch_end", interrupt)
        with pytest.raises(Interrupted, match=f"{epoch} epochs are saved") as caught:
            start(tmp_path, SETTINGS)
    assert f"python -m kerasunsup.ae --resume --name run --logs {tmp_path}" in str(caught.value)
    assert_same(whole[0], start(tmp_path, SETTINGS, resume=True))


def test_a_finished_run_that_is_resumed_trains_nothing_more(whole, tmp_path, monkeypatch):
    first = copied(whole, tmp_path)

    def refuse(*_, **__):
        raise AssertionError("an epoch was trained")

    monkeypatch.setattr(callbacks.Checkpoint, "on_epoch_end", refuse)
    assert_same(first, start(tmp_path, SETTINGS, resume=True))


def test_patience_stops_and_its_count_survives_a_stop(tmp_path):
    # At this learning rate the validation loss gets worse soon.
    settings = dataclasses.replace(SETTINGS, learning_rate=0.5, epochs=40, patience=3)
    straight = start(tmp_path, settings, name="straight")
    count = len(straight[0].history["epoch"])
    assert count < 40
    assert count == straight[0].best_epoch + 3
    assert straight[0].best_epoch == 1 + int(np.argmin(straight[0].history["val_loss"]))
    start(tmp_path, dataclasses.replace(settings, epochs=count - 1), name="stopped")
    assert_same(straight, start(tmp_path, settings, name="stopped", resume=True))
    # Once patience is over, resuming does not give it another chance.
    assert_same(straight, start(tmp_path, settings, name="straight", resume=True))


def test_without_patience_all_epochs_run_and_the_best_weights_are_kept(tmp_path):
    settings = dataclasses.replace(SETTINGS, learning_rate=0.5, epochs=12, patience=0)
    fitted, weights, _ = start(tmp_path, settings)
    assert len(fitted.history["epoch"]) == 12
    model = experiment.build(settings, (8, 8, 1))
    model.set_weights(weights)
    batches = data_batches.evaluation_batches(
        splits().validation, 16, prepare=experiment.corruption_of(settings)
    )
    loss = model.evaluate(batches, verbose=0)
    assert loss == pytest.approx(min(fitted.history["val_loss"]), rel=1e-4)


def test_a_loss_that_is_no_number_stops_with_a_clear_line(tmp_path):
    settings = dataclasses.replace(SETTINGS, learning_rate=1e30)
    with pytest.raises(InputError, match=r"loss became \w+ in epoch \d .*--learning-rate"):
        start(tmp_path, settings)


def test_a_full_disk_leaves_the_last_good_state(whole, tmp_path, monkeypatch):
    calls = []

    def full(handle):
        calls.append(handle)
        if len(calls) > 5:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(run_folder.os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            start(tmp_path, SETTINGS)
    assert not list(tmp_path.rglob("*.part"))
    done = len(
        files.read_arrays(tmp_path / "ae" / "run" / "checkpoints" / "state.npz")["history/epoch"]
    )
    assert 1 <= done < 4
    assert_same(whole[0], start(tmp_path, SETTINGS, resume=True))


def test_a_damaged_state_is_refused(whole, tmp_path):
    copied(whole, tmp_path)
    state = tmp_path / "ae" / "run" / "checkpoints" / "state.npz"
    state.write_bytes(state.read_bytes()[:1000])
    with pytest.raises(InputError, match="damaged"):
        start(tmp_path, SETTINGS, resume=True)


def nan_weight(state):
    state["model/0"].flat[3] = np.nan


def other_best_weights(state):
    state["patience/weights_0"] = state["patience/weights_0"][..., :2]


def skipped_epoch(state):
    state["history/epoch"][-1] += 1


def short_column(state):
    state["history/loss"] = state["history/loss"][:-1]


def empty_history(state):
    for name in [name for name in state if name.startswith("history/")]:
        state[name] = state[name][:0]


def counter_of_two(state):
    state["patience/wait"] = np.zeros(2, np.int64)


def text_for_a_number(state):
    state["patience/best"] = np.array("low")


def negative_wait(state):
    state["patience/wait"] = np.array(-5)


def no_history(state):
    for name in [name for name in state if name.startswith("history/")]:
        del state[name]


@pytest.mark.parametrize(
    "change",
    [
        nan_weight, other_best_weights, skipped_epoch, short_column, empty_history, counter_of_two,
        text_for_a_number, negative_wait, no_history,
    ],
)  # fmt: skip
def test_a_state_with_a_senseless_value_is_refused_with_its_file_and_what_to_do(
    whole, tmp_path, change
):
    copied(whole, tmp_path)
    path = tmp_path / "ae" / "run" / "checkpoints" / "state.npz"
    state = files.read_arrays(path)
    change(state)
    files.write_arrays(path, state)
    with pytest.raises(InputError, match=r"state\.npz .*: start a new run$"):
        start(tmp_path, SETTINGS, resume=True)


def test_a_missing_snapshot_is_named(whole, tmp_path):
    copied(whole, tmp_path)
    (tmp_path / "ae" / "run" / "checkpoints" / "snapshots" / "epoch_2.npz").unlink()
    with pytest.raises(InputError, match=r"epoch_2\.npz cannot be read"):
        start(tmp_path, SETTINGS, resume=True)


def test_each_snapshot_is_written_once_and_outside_the_state_of_each_epoch(
    whole, tmp_path, monkeypatch
):
    written: list[str] = []
    write = files.write_arrays

    def noted(path, arrays):
        written.append(path.name)
        write(path, arrays)

    monkeypatch.setattr(files, "write_arrays", noted)
    start(tmp_path, SETTINGS)
    state = "state.npz"
    assert written == ["epoch_1.npz", state, "epoch_2.npz", state, state, "epoch_4.npz", state]
    stored = files.read_arrays(whole[1] / "checkpoints" / state)
    assert [name for name in stored if name.startswith("snapshots/")] == ["snapshots/epochs"]


def test_a_state_of_an_older_version_that_holds_its_snapshots_goes_on_alike(whole, tmp_path):
    first = start(tmp_path, dataclasses.replace(SETTINGS, epochs=2))
    folder = tmp_path / "ae" / "run" / "checkpoints"
    shutil.rmtree(folder / "snapshots")
    state = files.read_arrays(folder / "state.npz")
    files.write_arrays(
        folder / "state.npz", state | {"snapshots/outputs": np.stack(first[2].outputs)}
    )
    assert_same(whole[0], start(tmp_path, SETTINGS, resume=True))
    assert_same(whole[0], start(tmp_path, SETTINGS, resume=True))  # from the files that it made


def test_a_run_that_is_removed_while_it_trains_ends_in_one_line_and_leaves_nothing(
    tmp_path, monkeypatch
):
    def remove(self, epoch, logs=None):
        if epoch == 1:
            shutil.rmtree(tmp_path / "ae" / "run")

    monkeypatch.setattr(callbacks.StopOnNonFinite, "on_epoch_end", remove)
    with pytest.raises(InputError, match=r"ae/run was removed or replaced while"):
        start(tmp_path, SETTINGS)
    assert list((tmp_path / "ae").iterdir()) == []


@pytest.mark.parametrize("share", [0.5, 2.0])
def test_a_network_larger_than_the_memory_is_refused_with_its_size(monkeypatch, share):
    monkeypatch.setattr(loop.os, "sysconf", {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 2**18}.get)
    num_weights = round(share * 2**30 / 16)
    if share < 1.0:
        loop.check_memory(num_weights, "--filters 8")
        return
    text = r"--filters 8: a network of 134,217,728 weights needs 2 GiB .* has 1\.0 GiB: choose less"
    with pytest.raises(InputError, match=text):
        loop.check_memory(num_weights, "--filters 8")


def test_a_state_of_another_model_is_refused(whole, tmp_path):
    copied(whole, tmp_path)
    with pytest.raises(InputError, match="does not fit"):
        start(tmp_path, dataclasses.replace(SETTINGS, latent_dim=5), resume=True)


def test_history_file_has_a_row_an_epoch_and_logs_have_curves(whole):
    folder = whole[1]
    lines = (folder / "history.csv").read_text().splitlines()
    assert lines[0].split(",")[:3] == ["epoch", "loss", "val_loss"]
    assert {"learning_rate", "seconds", "images_per_second"} <= set(lines[0].split(","))
    assert [line.split(",")[0] for line in lines[1:]] == ["1", "2", "3", "4"]
    assert list((folder / "train").glob("events.*"))
    assert list((folder / "validation").glob("events.*"))


def test_validation_is_corrupted_alike_in_every_epoch():
    batches = data_batches.evaluation_batches(
        splits().validation, 4, prepare=experiment.corruption_of(SETTINGS)
    )
    first, second = ([part[0].numpy() for part in batches] for _ in range(2))
    assert len(first) == 4
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)
    noisy, clean = next(iter(batches))
    assert 0.01 < float(tf.reduce_mean(tf.abs(noisy - clean))) < 0.3


def test_progress_prints_one_line_an_epoch_without_a_terminal(tmp_path, capsys):
    start(tmp_path, SETTINGS)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert lines[0].startswith("epoch 1/4: loss 0.")
    assert all(word in lines[0] for word in ("validation 0.", "images/s", "left"))


def test_progress_draws_a_bar_on_a_terminal(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(progress, "is_terminal", lambda: True)
    start(tmp_path, SETTINGS)
    drawn = capsys.readouterr()
    assert "epoch 4/4" in drawn.err
    assert "validation 0." in drawn.err
    assert "100%" in drawn.err
    assert drawn.out == ""


def test_a_run_on_a_cosine_that_stops_goes_on_to_the_same_end(tmp_path, monkeypatch):
    settings = dataclasses.replace(SETTINGS, epochs=5, schedule="cosine")

    def start(name: str, resume: bool = False) -> loop.Fitted:
        command = Command("ae", settings, tmp_path, name, resume, ())
        with loop.machine(settings), run_folder.opened(command) as run:
            model = experiment.build(settings, (8, 8, 1))
            rate = functools.partial(loop.learning_rate, settings, settings.epochs)
            return loop.fit(model, splits(), settings, run, rate=rate)

    whole = start("whole")
    rates = whole.history["learning_rate"]
    expected = [loop.learning_rate(settings, 5, epoch) for epoch in range(5)]
    assert rates == pytest.approx(expected, rel=1e-6)

    def stop(self, epoch, logs=None):
        if epoch == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(callbacks.StopOnNonFinite, "on_epoch_end", stop)
        with pytest.raises(Interrupted):
            start("stopped")
    again = start("stopped", resume=True)
    for name in ("loss", "val_loss", "learning_rate"):
        assert again.history[name] == whole.history[name]


def test_the_last_epoch_on_a_cosine_has_one_percent_of_the_rate():
    settings = dataclasses.replace(SETTINGS, schedule="cosine")
    rates = [loop.learning_rate(settings, 10, epoch) for epoch in range(12)]
    assert rates[0] == settings.learning_rate
    assert rates == sorted(rates, reverse=True)
    assert rates[9] == rates[11] == pytest.approx(0.01 * settings.learning_rate)
    assert rates[8] > 1.5 * rates[9]
    assert loop.learning_rate(settings, 1, 0) == settings.learning_rate  # of a single epoch


def test_a_deterministic_command_leaves_tensorflows_parallel_maps_as_they_were(monkeypatch):
    monkeypatch.setattr(tf.config.experimental, "enable_op_determinism", lambda: None)
    settings = dataclasses.replace(SETTINGS, deterministic=True)
    with cli.exit_status("ae") as status:
        with loop.machine(settings):
            assert tf.data.AUTOTUNE is None
        assert tf.data.AUTOTUNE is None  # for what is measured after the training
        raise InputError("stopped")
    assert status.code == 2
    assert tf.data.AUTOTUNE == tf.data.experimental.AUTOTUNE == -1
