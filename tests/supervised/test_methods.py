"""The methods of the comparison: subsets, what each begins with, and that cells stand alone."""

import dataclasses

import keras
import numpy as np
import pytest

from kerasunsup.data import pixel_storage
from kerasunsup.data.image_set import ImageSet
from kerasunsup.data.splits import Labels, Splits
from kerasunsup.errors import InputError
from kerasunsup.evaluation import selection
from kerasunsup.models import optimizers
from kerasunsup.models.optimizers import FusedAdam
from kerasunsup.supervised import encoded_images, methods
from kerasunsup.supervised.cells import Cell, CellResult, balanced_subset
from kerasunsup.supervised.network_trainer import measured_steps
from kerasunsup.supervised.settings import (
    CONTRASTIVE,
    METHOD_NAMES,
    PSEUDO_LABELLED,
    TRAINED,
    SupervisedSettings,
)
from kerasunsup.training import self_labelling

SHAPE = (12, 12, 1)
RANDOM = np.random.default_rng(0)
CLASSES = np.array([3, 8])  # labels need not begin at 0


def pictures(number: int) -> tuple[np.ndarray, np.ndarray]:
    """A bright upper or lower half, with noise, and which."""
    labels = RANDOM.integers(0, 2, number)
    images = 0.3 * RANDOM.random((number, *SHAPE), np.float32)
    for image, label in zip(images, labels, strict=True):
        image[6 * label : 6 * label + 6] += 0.5
    return images, CLASSES[labels]


def splits() -> Splits:
    sets = [pictures(number) for number in (200, 60, 80)]
    return Splits(
        *(ImageSet(pixel_storage.MemoryStore(images)) for images, _ in sets),
        name="halves",
        class_names=None,
        labels=Labels(*(labels for _, labels in sets)),
    )


SPLITS = splits()
SETTINGS = SupervisedSettings(
    epochs=1,
    steps=8,
    pseudo_label_steps=3,
    graph_steps=40,
    student_epochs=1,
    unlabelled_batch_size=16,
    batch_size=32,
    seed=5,
)


@pytest.fixture(scope="module")
def encoder() -> keras.Model:
    keras.utils.set_random_seed(0)
    inputs = keras.Input(SHAPE, name="images")
    codes = keras.layers.Dense(4, name="codes")(keras.layers.Flatten()(inputs))
    return keras.Model(inputs, codes, name="encoder")


@pytest.fixture(scope="module")
def trainer(encoder) -> methods.MethodTrainer:
    return methods.MethodTrainer(SPLITS, CLASSES, encoder, SETTINGS)


def test_subsets_are_balanced_nested_and_follow_from_the_seed():
    labels = np.repeat([0, 1, 2], [50, 30, 5])
    few = balanced_subset(labels, 9, 1)
    assert np.bincount(labels[few]).tolist() == [3, 3, 3]
    many = balanced_subset(labels, 40, 1)
    assert np.bincount(labels[many]).tolist() in ([18, 17, 5], [17, 18, 5])  # no more of the third
    assert set(few) < set(many)
    np.testing.assert_array_equal(few, balanced_subset(labels, 9, 1))
    assert set(few) != set(balanced_subset(labels, 9, 2))
    np.testing.assert_array_equal(balanced_subset(labels, 0, 1), np.arange(85))


@pytest.mark.parametrize("number", [2, 86])
def test_subsets_that_cannot_be_drawn_are_refused(number):
    with pytest.raises(ValueError, match=f"{number} labels cannot be drawn from 85 images of 3"):
        balanced_subset(np.repeat([0, 1, 2], [50, 30, 5]), number, 0)


def test_central_images_are_labelled_where_that_is_asked_for(trainer, encoder, monkeypatch):
    seen = []
    monkeypatch.setattr(
        encoded_images.EncodedImages,
        "probe",
        lambda self, method, labelled, labels, seed, queries: (
            seen.append(labelled) or np.full((len(queries), 2), 0.5)
        ),
    )
    settings = dataclasses.replace(SETTINGS, choose="central", labels=(2, 20, 500, 0))
    central = methods.MethodTrainer(SPLITS, CLASSES, encoder, settings)
    for number, repetition in ((20, 0), (20, 1), (2, 0), (0, 0)):
        central.train(Cell("linear_probe", number, repetition))
    codes = np.concatenate([encoder.predict(block, verbose=0) for block in SPLITS.train.blocks()])
    expected = selection.worth_labelling(codes, 20, SETTINGS.seed)
    np.testing.assert_array_equal(seen[0], np.sort(expected))
    np.testing.assert_array_equal(seen[1], seen[0])
    np.testing.assert_array_equal(seen[2], np.sort(expected[:2]))
    np.testing.assert_array_equal(seen[3], np.arange(200))
    trainer.train(Cell("linear_probe", 20, 1))
    of_classes = np.searchsorted(CLASSES, SPLITS.labels.train)
    np.testing.assert_array_equal(seen[4], balanced_subset(of_classes, 20, SETTINGS.seed + 1))


def test_measured_points_double_and_end_with_the_last():
    assert sorted(measured_steps(11)) == [1, 2, 4, 8, 11]
    assert sorted(measured_steps(8)) == [1, 2, 4, 8]
    assert measured_steps(1) == {1}


# Those on a contrastive encoder are others of them on another encoder: see test_contrastive.
@pytest.mark.parametrize("method", [name for name in METHOD_NAMES if name not in CONTRASTIVE])
def test_every_method_gives_an_answer_for_every_image(trainer, method, monkeypatch):
    monkeypatch.setattr(self_labelling, "_LEAST_STEPS", 10)
    result = trainer.train(Cell(method, 20, 0))
    assert result.predictions.shape == result.confidence.shape == (80,)
    assert set(result.predictions) <= {0, 1}
    assert result.confidence.min() >= 0.5 - 1e-6
    right = CLASSES[result.predictions] == SPLITS.labels.test
    assert result.accuracy == right.mean()
    assert np.isfinite(result.loss)
    if method in TRAINED:
        size, steps = {
            "pseudo_labels": (20 + 16, 3),
            "pseudo_labels_scratch": (20 + 16, 3),
            "graph_labels": (32, 40),
        }.get(method, (20, 8))
        measured = (0, *sorted(measured_steps(steps)))
        if method == "student":  # three rounds: the end of teaching, then of an epoch
            size, measured = 32 + 20, (60, 70, 250, 260, 440, 450)
        assert result.curve["images"].tolist() == [size * step for step in measured]
        assert (np.diff(result.curve["seconds"]) > 0).all()
        # Nothing is known at the start: the new layer is zeros.
        if method not in ("convolutional", "student"):
            assert result.curve["loss"][0] == pytest.approx(np.log(2), rel=1e-4)
    else:
        assert result.curve == {}
    if method not in ("convolutional", *PSEUDO_LABELLED):  # too few steps for these
        assert result.accuracy > 0.9


def test_a_student_of_labelled_images_alone_is_one_network(encoder, monkeypatch):
    train, given = self_labelling.train, []

    def watched(*arguments, **options):
        given.append(options["settings"])
        return train(*arguments, **options)

    monkeypatch.setattr(self_labelling, "train", watched)
    trainer = methods.MethodTrainer(SPLITS, CLASSES, encoder, SETTINGS)
    assert trainer.train(Cell("student", 0, 0)).accuracy > 0.9
    assert (given[0].rounds, given[0].epochs) == (1, 3)  # of as many epochs as three networks


def test_cells_do_not_depend_on_what_was_trained_before(encoder, monkeypatch):
    monkeypatch.setattr(optimizers, "FusedAdam", FusedAdam)  # compiled once for all cells
    trainer = methods.MethodTrainer(SPLITS, CLASSES, encoder, SETTINGS)
    cell = Cell("finetuned", 20, 1)
    first = trainer.train(cell)
    trainer.train(Cell("finetuned", 0, 0))
    again = trainer.train(cell)
    alone = methods.MethodTrainer(SPLITS, CLASSES, encoder, SETTINGS).train(cell)
    for other in (again, alone):
        np.testing.assert_array_equal(first.confidence, other.confidence)
        assert first.curve["loss"].tolist() == other.curve["loss"].tolist()


def test_the_encoder_itself_is_never_changed(trainer, encoder):
    before = [np.array(weight) for weight in encoder.weights]
    for method in ("frozen", "finetuned", "pseudo_labels"):
        trainer.train(Cell(method, 20, 0))
    for old, new in zip(before, encoder.weights, strict=True):
        np.testing.assert_array_equal(old, np.array(new))


def test_methods_begin_where_they_say(encoder):
    def starts(seed, *names):
        settings = dataclasses.replace(SETTINGS, learning_rate=1e-30, steps=1, seed=seed)
        new = methods.MethodTrainer(SPLITS, CLASSES, encoder, settings)
        for method in names:
            new.train(Cell(method, 20, 0))
            network = new._trainers[method].network
            yield np.array(network.get_layer("encoder").get_weights()[0])

    known = encoder.get_weights()[0]
    scratch, finetuned = starts(2, "scratch", "finetuned")
    np.testing.assert_allclose(finetuned, known, atol=1e-6)
    assert np.abs(scratch - known).max() > 0.01
    (other,) = starts(1, "scratch")
    assert np.abs(scratch - other).max() > 0.01


def test_the_classifier_of_a_cell_answers_as_the_cell_did(trainer, monkeypatch):
    monkeypatch.setattr(self_labelling, "_LEAST_STEPS", 10)
    for method in ("frozen", "finetuned", "student"):
        result = trainer.train(Cell(method, 20, 0), keeps_weights=True)
        kept = CellResult.from_arrays(result.to_arrays())
        trainer.train(Cell(method, 20, 1))  # what is trained later changes nothing
        model = trainer.classifier(method, kept.weights)
        probabilities = model.predict(SPLITS.test.array(), verbose=0)
        np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, atol=1e-5)
        np.testing.assert_array_equal(probabilities.argmax(axis=1), result.predictions)
        np.testing.assert_allclose(probabilities.max(axis=1), result.confidence, atol=1e-5)


def test_patience_ends_a_training_that_gets_worse(encoder):
    settings = dataclasses.replace(
        SETTINGS, steps=300, learning_rate=50.0, patience=2, schedule="constant"
    )
    result = methods.MethodTrainer(SPLITS, CLASSES, encoder, settings).train(Cell("frozen", 4, 0))
    losses = result.curve["loss"]
    assert len(losses) - 1 - int(np.argmin(losses)) == 2
    assert result.curve["images"][-1] < 300 * 4


def test_an_result_comes_back_from_its_arrays(trainer):
    result = trainer.train(Cell("scratch", 20, 0))
    back = CellResult.from_arrays(result.to_arrays())
    assert back.accuracy == result.accuracy
    np.testing.assert_array_equal(back.predictions, result.predictions)
    assert set(back.curve) == {"images", "seconds", "accuracy", "loss"}
    with pytest.raises(KeyError):
        CellResult.from_arrays({})


@pytest.mark.parametrize("method", ["mixture", "graph"])
def test_what_unlabelled_codes_hold_is_found_once_for_all_cells(encoder, monkeypatch, method):
    made = []
    structure = encoded_images.probes.STRUCTURES[method]
    monkeypatch.setitem(
        encoded_images.probes.STRUCTURES,
        method,
        lambda *given: made.append(method) or structure(*given),
    )
    new = methods.MethodTrainer(SPLITS, CLASSES, encoder, SETTINGS)
    found = [new.train(Cell(method, size, 0)) for size in (10, 40)]
    assert made == [method]
    monkeypatch.setattr(
        encoded_images.probes, "MOST_CODES", 100
    )  # too many to hold: some are drawn
    drawn = methods.MethodTrainer(SPLITS, CLASSES, encoder, SETTINGS).train(Cell(method, 40, 0))
    assert made == [method]
    assert drawn.accuracy == pytest.approx(found[1].accuracy, abs=0.1)


def test_a_student_of_too_few_images_is_one_line(encoder):
    few = dataclasses.replace(
        SPLITS,
        train=SPLITS.train.subset(np.arange(20)),
        labels=dataclasses.replace(SPLITS.labels, train=SPLITS.labels.train[:20]),
    )
    trainer = methods.MethodTrainer(few, CLASSES, encoder, SETTINGS)
    with pytest.raises(InputError, match=r"--arms student: groups need .* give more images"):
        trainer.train(Cell("student", 10, 0))
