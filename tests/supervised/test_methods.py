"""The arms of the comparison: subsets, what each begins with, and that cells stand alone."""

import dataclasses

import keras
import numpy as np
import pytest

from kerasunsup.data import pixel_storage
from kerasunsup.data.image_set import ImageSet
from kerasunsup.data.splits import Labels, Splits
from kerasunsup.supervised import methods
from kerasunsup.supervised.settings import SupervisedSettings

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
def workshop(encoder) -> methods.Workshop:
    return methods.Workshop(SPLITS, CLASSES, encoder, SETTINGS)


def test_subsets_are_balanced_nested_and_follow_from_the_seed():
    labels = np.repeat([0, 1, 2], [50, 30, 5])
    few = methods.balanced_subset(labels, 9, 1)
    assert np.bincount(labels[few]).tolist() == [3, 3, 3]
    many = methods.balanced_subset(labels, 40, 1)
    assert np.bincount(labels[many]).tolist() in ([18, 17, 5], [17, 18, 5])  # no more of the third
    assert set(few) < set(many)
    np.testing.assert_array_equal(few, methods.balanced_subset(labels, 9, 1))
    assert set(few) != set(methods.balanced_subset(labels, 9, 2))
    np.testing.assert_array_equal(methods.balanced_subset(labels, 0, 1), np.arange(85))


@pytest.mark.parametrize("number", [2, 86])
def test_subsets_that_cannot_be_drawn_are_refused(number):
    with pytest.raises(ValueError, match=f"{number} labels cannot be drawn from 85 images of 3"):
        methods.balanced_subset(np.repeat([0, 1, 2], [50, 30, 5]), number, 0)


def test_measured_points_double_and_end_with_the_last():
    assert sorted(methods.measured_steps(11)) == [1, 2, 4, 8, 11]
    assert sorted(methods.measured_steps(8)) == [1, 2, 4, 8]
    assert methods.measured_steps(1) == {1}


@pytest.mark.parametrize("arm", list(methods.NAMES))
def test_every_arm_gives_an_answer_for_every_image(workshop, arm):
    outcome = workshop.run(methods.Cell(arm, 20, 0))
    assert outcome.predictions.shape == outcome.confidence.shape == (80,)
    assert set(outcome.predictions) <= {0, 1}
    assert outcome.confidence.min() >= 0.5 - 1e-6
    right = CLASSES[outcome.predictions] == SPLITS.labels.test
    assert outcome.accuracy == right.mean()
    assert np.isfinite(outcome.loss)
    if arm in methods.TRAINED:
        size, steps = {
            "pseudo_labels": (20 + 16, 3),
            "pseudo_labels_scratch": (20 + 16, 3),
            "graph_labels": (32, 40),
        }.get(arm, (20, 8))
        assert outcome.curve["images"].tolist() == [
            size * step for step in (0, *sorted(methods.measured_steps(steps)))
        ]
        assert (np.diff(outcome.curve["seconds"]) > 0).all()
        # Nothing is known at the start: the new layer is zeros.
        if arm != "convolutional":
            assert outcome.curve["loss"][0] == pytest.approx(np.log(2), rel=1e-4)
    else:
        assert outcome.curve == {}
    if arm not in ("convolutional", *methods.PSEUDO_LABELLED):  # too few steps for these
        assert outcome.accuracy > 0.9


def test_cells_do_not_depend_on_what_was_trained_before(workshop, encoder):
    cell = methods.Cell("finetuned", 20, 1)
    first = workshop.run(cell)
    workshop.run(methods.Cell("finetuned", 0, 0))
    again = workshop.run(cell)
    alone = methods.Workshop(SPLITS, CLASSES, encoder, SETTINGS).run(cell)
    for other in (again, alone):
        np.testing.assert_array_equal(first.confidence, other.confidence)
        assert first.curve["loss"].tolist() == other.curve["loss"].tolist()


def test_the_encoder_itself_is_never_changed(workshop, encoder):
    before = [np.array(weight) for weight in encoder.weights]
    for arm in ("frozen", "finetuned", "pseudo_labels"):
        workshop.run(methods.Cell(arm, 0, 0))
    for old, new in zip(before, encoder.weights, strict=True):
        np.testing.assert_array_equal(old, np.array(new))


def test_arms_begin_where_they_say(encoder):
    def start(arm, seed):
        settings = dataclasses.replace(SETTINGS, learning_rate=1e-30, seed=seed)
        shop = methods.Workshop(SPLITS, CLASSES, encoder, settings)
        shop.run(methods.Cell(arm, 20, 0))
        return np.array(shop._trainers[arm].network.get_layer("encoder").get_weights()[0])

    known = encoder.get_weights()[0]
    np.testing.assert_allclose(start("finetuned", 0), known, atol=1e-6)
    scratch = start("scratch", 2)
    assert np.abs(scratch - known).max() > 0.01
    assert np.abs(scratch - start("scratch", 1)).max() > 0.01


def test_the_classifier_of_a_cell_answers_as_the_cell_did(workshop):
    for arm in ("frozen", "finetuned"):
        outcome = workshop.run(methods.Cell(arm, 20, 0), keeps_weights=True)
        kept = methods.Outcome.from_arrays(outcome.to_arrays())
        workshop.run(methods.Cell(arm, 0, 1))  # what is trained later changes nothing
        model = workshop.classifier(arm, kept)
        probabilities = model.predict(SPLITS.test.array(), verbose=0)
        np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, atol=1e-5)
        np.testing.assert_array_equal(probabilities.argmax(axis=1), outcome.predictions)
        np.testing.assert_allclose(probabilities.max(axis=1), outcome.confidence, atol=1e-5)


def test_patience_ends_a_training_that_gets_worse(encoder):
    settings = dataclasses.replace(
        SETTINGS, steps=300, learning_rate=50.0, patience=2, schedule="constant"
    )
    outcome = methods.Workshop(SPLITS, CLASSES, encoder, settings).run(methods.Cell("frozen", 4, 0))
    losses = outcome.curve["loss"]
    assert len(losses) - 1 - int(np.argmin(losses)) == 2
    assert outcome.curve["images"][-1] < 300 * 4


def test_an_outcome_comes_back_from_its_arrays(workshop):
    outcome = workshop.run(methods.Cell("scratch", 20, 0))
    back = methods.Outcome.from_arrays(outcome.to_arrays())
    assert back.accuracy == outcome.accuracy
    np.testing.assert_array_equal(back.predictions, outcome.predictions)
    assert set(back.curve) == {"images", "seconds", "accuracy", "loss"}
    with pytest.raises(KeyError):
        methods.Outcome.from_arrays({})


@pytest.mark.parametrize("arm", ["mixture", "graph"])
def test_what_unlabelled_codes_hold_is_found_once_for_all_cells(encoder, monkeypatch, arm):
    made = []
    structure = methods.probes.STRUCTURES[arm]
    monkeypatch.setitem(
        methods.probes.STRUCTURES, arm, lambda *given: made.append(arm) or structure(*given)
    )
    shop = methods.Workshop(SPLITS, CLASSES, encoder, SETTINGS)
    found = [shop.run(methods.Cell(arm, size, 0)) for size in (10, 40)]
    assert made == [arm]
    monkeypatch.setattr(methods.probes, "MOST_CODES", 100)  # too many to hold: some are drawn
    drawn = methods.Workshop(SPLITS, CLASSES, encoder, SETTINGS).run(methods.Cell(arm, 40, 0))
    assert made == [arm]
    assert drawn.accuracy == pytest.approx(found[1].accuracy, abs=0.1)
