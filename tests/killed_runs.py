"""Runs that end in the middle of a write, in this process, as if the system had killed them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import processes
import pytest

from kerasunsup.training import files, loop, run_folder
from kerasunsup.training import tensorboard as training_tensorboard


class Killed(BaseException):
    """Stands for kill -9: nothing catches it."""


def kill_once_at_every_write(
    main: Callable[[list[str]], int], arguments: list[str], run: Path
) -> set[tuple[str, int]]:
    """Starts a run and goes on with it until it ends; every write but the last sessions' fails.

    Each session is killed in the middle of the first write that no session before was killed in,
    so that each has half of one more file behind it. A write is told by its file's name and by how
    many epochs are saved.

    Returns:
        The writes that a session was killed in.
    """
    logs, name = str(run.parent.parent), run.name
    writes: set[tuple[str, int]] = set()
    write = files.write_bytes

    def killed(path: Path, content: bytes | memoryview) -> None:
        place = (path.name, epochs_done(run))
        if place not in writes:
            writes.add(place)
            if path.parent.is_dir():
                half = path.parent / files.part_name(path.name)
                half.write_bytes(bytes(content)[: len(content) // 2])
            raise Killed
        write(path, content)

    while True:
        goes_on = ["--resume"] if run.exists() else arguments
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(files, "write_bytes", killed)
            try:
                assert main([*goes_on, "--logs", logs, "--name", name]) == 0
            except Killed:
                assert not (run / "metrics.json").exists()
                assert len(writes) < 100
                continue
        return writes


def epochs_done(run: Path) -> int:
    """How many epochs of a run are saved."""
    state = run / "checkpoints" / "state.npz"
    return len(files.read_arrays(state)["history/epoch"]) if state.exists() else 0


def reuse_models(patch: pytest.MonkeyPatch, experiment: Any) -> None:
    """Lets an experiment of one shape compile its model once; each run gets its first weights."""
    build, models = experiment.build, {}

    def first_weights_again(
        settings: Any, shape: Any, *, is_shipped: bool = False, **more: Any
    ) -> Any:
        if is_shipped not in models:
            model = build(settings, shape, is_shipped=is_shipped, **more)
            optimizers = {id(one): one for one in vars(model).values() if hasattr(one, "apply")}
            optimizers[id(model.optimizer)] = model.optimizer
            for optimizer in optimizers.values():
                if not optimizer.built:
                    optimizer.build(model.trainable_variables)
            kept = [*model.variables, *(v for o in optimizers.values() for v in o.variables)]
            models[is_shipped] = model, [(variable, variable.numpy()) for variable in kept]
        model, first = models[is_shipped]
        for variable, value in first:
            variable.assign(value)
        model.stop_training = False
        return model

    patch.setattr(experiment, "build", first_weights_again)


def shorten_reports(patch: pytest.MonkeyPatch, experiment: Any) -> None:
    """Leaves out what takes long at the end of a run: one number, two figures, two exports."""

    def write_results(model: Any, *rest: Any, **_: Any) -> dict[str, float]:
        # A GAN comes with its run in one object.
        trained = [model.run, model.gan] if hasattr(model, "run") else [model]
        (run,) = (one for one in (*rest, *trained) if isinstance(one, run_folder.Run))
        network = trained[-1]
        (fitted,) = (part for part in rest if isinstance(part, loop.Fitted))
        for name in ("first", "second"):
            run.write_figure(name, b"a figure")
        weights = sum(float(np.abs(weight).sum()) for weight in network.get_weights())
        return {"training_seconds": fitted.seconds, "weights": weights}

    def write_export(path: Path, *_: Any) -> None:
        files.write_bytes(path, b"an export")

    patch.setattr(experiment.results, "write_results", write_results)
    of = getattr(experiment, "summary", experiment.results)
    patch.setattr(of, "summary", lambda *_, **__: "")
    patch.setattr(experiment.export, "write_saved_model", write_export)
    patch.setattr(experiment.export, "write_keras", write_export)
    patch.setattr(training_tensorboard.TensorBoardWriter, "graph", lambda *_: None)


def assert_same_end(straight: Path, killed: Path) -> None:
    """A run that was killed has the state and the numbers of one that was not, to the bit."""
    expected, found = processes.arrays_of(straight), processes.arrays_of(killed)
    assert set(found) == set(expected)
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)
    numbers, others = (json.loads((run / "metrics.json").read_text()) for run in (straight, killed))
    del numbers["training_seconds"]
    # Those of all sessions, also where the last one only wrote the report.
    seconds = files.read_arrays(killed / "checkpoints" / "state.npz")["history/seconds"]
    assert others.pop("training_seconds") == pytest.approx(seconds.sum())
    assert numbers == others
    assert not list(killed.rglob("*.part"))
