"""The cells of the comparison: which there are for what data, and which of them is exported."""

from __future__ import annotations

import types

import numpy as np
import pytest

from kerasunsup.data import pixel_storage
from kerasunsup.data import splits as data_splits
from kerasunsup.data.image_set import ImageSet
from kerasunsup.data.splits import Labels
from kerasunsup.errors import InputError
from kerasunsup.supervised import cells, experiment, results
from kerasunsup.supervised.settings import (
    CONTRASTIVE,
    METHOD_NAMES,
    PSEUDO_LABELLED,
    SupervisedSettings,
)


def test_methods_that_take_long_are_asked_for_by_name():
    missing = {*METHOD_NAMES} - {*SupervisedSettings().arms}
    assert missing == {*PSEUDO_LABELLED, "student", *CONTRASTIVE}


def test_more_labels_than_there_are_images_are_all_of_them(capsys):
    parts = types.SimpleNamespace(
        name="few",
        class_names=("cat", "dog"),
        train=range(10),
        labels=Labels(np.array([0, 1] * 5), np.array([0]), np.array([1])),
    )
    sizes = cells.label_counts(SupervisedSettings(labels=(10, 100)), parts)
    assert sizes == [0]
    assert "10, 100 labels are left out" in capsys.readouterr().out
    assert cells.label_counts(SupervisedSettings(labels=(5, 10, 0)), parts) == [5, 0]
    with pytest.raises(InputError, match="give numbers from 2 to 9"):
        cells.label_counts(SupervisedSettings(labels=(1,)), parts)


def splits_of(
    train: list[int], test: list[int], names: tuple[str, ...] | None
) -> data_splits.Splits:
    pixels = np.zeros((len(train) + len(test) + 1, 8, 8, 1), np.uint8)
    pool = ImageSet(pixel_storage.MemoryStore(pixels))
    end = len(train) + 1
    labels = Labels(*(np.array(part, np.int64) for part in (train, train[:1], test)))
    parts = range(len(train)), range(len(train), end), range(end, len(pixels))
    return data_splits.Splits(*map(pool.subset, parts), "odd", names, labels)


@pytest.mark.parametrize("names", [None, ("cat", "dog", "owl")])
def test_classes_that_training_lacks_are_named_and_take_no_label(names, capsys):
    odd = splits_of([0, 1] * 10, [0, 1, 2, 2], names)
    experiment.check(odd)
    assert capsys.readouterr().out == (
        f"odd has no training image of {'owl' if names else 2}: 2 of its 4 test images count as "
        "mistakes\n"
    )
    settings = SupervisedSettings(labels=(2, 30, 0))
    assert cells.label_counts(settings, odd) == [2, 0]
    assert capsys.readouterr().out == (
        "30 labels are left out: odd has 20 training images of 2 classes\n"
    )
    experiment.check(splits_of([0, 1] * 10, [0], names))
    assert capsys.readouterr().out == ""


def test_the_best_method_is_chosen_by_validation_and_not_by_test():
    def result(validation, test):
        return cells.CellResult(
            np.zeros(1, np.int64), np.ones(1, np.float32), test, 0.0, validation, {}, 0.0
        )

    cell_results = {
        cells.Cell("scratch", 0, 0): result(0.5, 0.9),
        cells.Cell("finetuned", 0, 0): result(0.6, 0.1),
        cells.Cell("finetuned", 0, 1): result(0.7, 0.9),
        cells.Cell("graph", 100, 0): result(1.0, 1.0),
    }
    assert results.exported_label_count(cell_results, [100, 0]) == 0
    assert results.best_cell(cell_results, 0) == cells.Cell("finetuned", 0, 0)
    assert results.exported_label_count([cells.Cell("graph", 100, 0)], [100, 0]) is None
    few = [cells.Cell("pseudo_labels", 100, 0), cells.Cell("neighbors", 0, 0)]
    assert results.exported_label_count(few, [100, 0]) == 100


@pytest.mark.parametrize("method", ["student", *CONTRASTIVE])
def test_what_trains_on_one_device_is_refused_on_several(method):
    with pytest.raises(InputError, match=f"--arms {method} trains on one device: leave it out"):
        SupervisedSettings(arms=("frozen", method), strategy="mirrored")
