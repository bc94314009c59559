"""The command `novelty`: one class against the rest, from the command line to its figures."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics

from kerasunsup.data import images, pixel_storage
from kerasunsup.data import splits as data_splits
from kerasunsup.data.image_set import ImageSet
from kerasunsup.data.splits import Labels, Splits
from kerasunsup.errors import InputError
from kerasunsup.evaluation import classifier_metrics
from kerasunsup.models import code_flow
from kerasunsup.novelty import __main__ as novelty
from kerasunsup.novelty import experiment, results
from kerasunsup.novelty.settings import OUTLIER_SCORES, NoveltySettings
from kerasunsup.settings import read_config
from kerasunsup.training.run_folder import Run


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> list[str]:
    """Arguments of a small run: 180 images of 16 x 16 with a bright bar, whose row is the class."""
    path = tmp_path_factory.mktemp("data") / "bars.npz"
    labels = np.arange(180) % 3
    pixels = np.random.default_rng(0).integers(0, 120, (180, 16, 16), np.uint8)
    for picture, label in zip(pixels, labels, strict=True):
        picture[4 * label + 2 : 4 * label + 5] += 60
    np.savez(path, images=pixels, labels=labels)
    return ["--data", str(path), "--epochs", "1", "--latent-dim", "4", "--view-steps", "3"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory, small) -> Path:
    """A run of two classes."""
    logs = tmp_path_factory.mktemp("logs")
    arguments = [*small, "--classes", "1", "0", "--logs", str(logs), "--name", "first"]
    assert novelty.main(arguments) == 0
    return logs / "novelty" / "first"


# Without --flow.
MEASURED = set(OUTLIER_SCORES) - {"flow"}


def numbers_of(run: Path) -> dict[str, float]:
    return json.loads((run / "metrics.json").read_text())


def test_a_run_leaves_numbers_figures_and_an_autoencoder_a_class(finished):
    numbers = numbers_of(finished)
    for score in MEASURED:
        areas = [numbers[f"{score}/auroc_{label}"] for label in (0, 1)]
        assert numbers[f"{score}/auroc_mean"] == pytest.approx(np.mean(areas))
        assert all(0.0 <= area <= 1.0 for area in areas)
    assert {path.stem for path in (finished / "figures").glob("*.png")} == {"auroc", "overlooked"}
    for label in (0, 1):
        assert (finished / "classes" / "ae" / f"class-{label}" / "export").is_dir()
    assert not list((finished / "checkpoints").glob("*.npz"))  # no copy of the images stays


def test_an_autoencoder_saw_images_of_its_class_alone_and_its_error_is_the_score(
    finished, monkeypatch
):
    settings = NoveltySettings(**read_config(NoveltySettings, finished / "config.json"))
    splits = data_splits.load(settings)
    clean = experiment.clean_images(splits, 1)
    assert len(clean) == np.sum(splits.labels.train == 1)
    run = Run(finished / "classes" / "ae" / "class-1")
    assert run.read_metrics()["epochs"] == 1
    view_scores = experiment.view_scores_of_class(settings, splits, 1, Run(finished))
    scores = experiment.scores_of(run, view_scores, settings, splits, 1)
    assert set(scores) == MEASURED
    monkeypatch.setattr(code_flow, "_LEAST_STEPS", 5)
    with_flow = dataclasses.replace(settings, flow=True)
    more = experiment.scores_of(run, view_scores, with_flow, splits, 1)
    assert set(more) == set(OUTLIER_SCORES)
    assert np.isfinite(more["flow"]).all()
    areas = results.areas_under_curves(splits, {1: more})
    assert list(areas) == list(OUTLIER_SCORES)
    area = metrics.roc_auc_score(splits.labels.test != 1, scores["error"])
    assert numbers_of(finished)["error/auroc_1"] == pytest.approx(area, abs=1e-6)


def test_a_stopped_run_goes_on_with_the_classes_that_are_missing(finished, capsys):
    before = numbers_of(finished)
    first = finished / "classes" / "ae" / "class-1" / "model.keras"
    written = first.stat().st_mtime_ns
    (finished / "metrics.json").unlink()
    logs = str(finished.parent.parent)
    assert novelty.main(["--resume", "--name", "first", "--logs", logs]) == 0
    assert first.stat().st_mtime_ns == written
    assert numbers_of(finished) == pytest.approx(before)
    assert "2 of 2" in capsys.readouterr().out


def test_data_without_labels_and_unknown_classes_are_one_line(small, tmp_path, capsys):
    folder = tmp_path / "images"
    folder.mkdir()
    for index in range(20):
        picture = np.full((9, 9, 1), 10 * index, np.uint8)
        (folder / f"{index}.png").write_bytes(images.encode_png(picture))
    logs = ["--logs", str(tmp_path / "logs")]
    for arguments, text in (
        (["--data", str(folder)], "has no labels of two classes or more"),
        (["--classes", "11", *small], "--classes 11: bars has 12 training images and one"),
    ):
        assert novelty.main([*arguments, *logs]) == 2
        error = capsys.readouterr().err
        assert text in error
        assert error.count("\n") == 1
    assert not (tmp_path / "logs").exists()


def unbalanced(test_labels, train_labels=(0,) * 20 + (1,) * 5 + (2,)) -> Splits:
    labels = np.array([*train_labels, *test_labels, 0])
    pixels = np.arange(4 * len(labels), dtype=np.uint8).reshape(-1, 2, 2, 1)
    everything = ImageSet(pixel_storage.MemoryStore(pixels))
    cuts = np.split(np.arange(len(labels)), [len(train_labels), len(labels) - 1])
    parts = [everything.subset(cut) for cut in cuts]
    return Splits(
        train=parts[0], test=parts[1], validation=parts[2], name="birds",
        class_names=("tit", "owl", "roc"),
        labels=Labels(labels[cuts[0]], labels[cuts[2]], labels[cuts[1]]),
    )  # fmt: skip


def test_a_smoke_run_takes_the_first_classes_that_are_large_enough():
    settings = novelty.parse(["--quick"]).config
    for train_labels, expected in (((0,) * 5 + (1, 2) * 12, [1, 2]), ((0, 1, 2) * 12, [0, 1])):
        assert experiment.classes_of(settings, unbalanced([0, 1, 2], train_labels)) == expected


def test_classes_that_are_too_small_are_named_and_the_others_measured(capsys):
    chosen = experiment.classes_of(NoveltySettings(), unbalanced([0, 0, 1]))
    assert chosen == [0]
    assert "owl (5 training images), roc (1 training images)" in capsys.readouterr().out
    with pytest.raises(InputError, match="--classes 1: birds has 12 training images"):
        experiment.classes_of(NoveltySettings(classes=(1,)), unbalanced([0, 1]))
    with pytest.raises(InputError, match="no class has 12 training images"):
        experiment.classes_of(NoveltySettings(), unbalanced([0, 1], (0,) * 5 + (1,) * 5))


def test_where_the_test_part_holds_one_class_images_of_the_others_join_it():
    splits = unbalanced([0, 0])
    joined = experiment.with_others(splits)
    np.testing.assert_array_equal(joined.labels.test, [0, 0, 1, 1, 1, 1, 1, 2])
    np.testing.assert_array_equal(joined.test.array()[2:], splits.train.array(range(20, 26)))
    mixed = unbalanced([0, 1])
    assert experiment.with_others(mixed) is mixed


def test_the_area_counts_pairs_and_half_of_ties():
    generator = np.random.default_rng(0)
    is_positive = generator.random(60) < 0.4
    scores = np.round(generator.random(60), 1)
    pairs = scores[is_positive][:, None] - scores[~is_positive]
    expected = np.mean((pairs > 0) + 0.5 * (pairs == 0))
    assert classifier_metrics.auroc(is_positive, scores) == pytest.approx(expected)
    with pytest.raises(ValueError, match="both kinds"):
        classifier_metrics.auroc(np.ones(3, bool), np.zeros(3))
