"""Groups that are partly wrong, and a few labels, taught to a network that teaches itself."""

import dataclasses

import numpy as np
import pytest

from kerasunsup.data import pixel_storage
from kerasunsup.data.image_set import ImageSet
from kerasunsup.models import optimizers
from kerasunsup.training import self_labelling

SETTINGS = self_labelling.StudentSettings(
    taught_steps=50, epochs=2, rounds=1, changed=0.0, batch_size=32, labelled_batch_size=6,
    filters=(8, 16), hidden_units=16,
)  # fmt: skip
NUMBER = 240


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(self_labelling, "_LEAST_STEPS", 40)
    monkeypatch.setattr(optimizers, "FusedAdam", optimizers.AveragingAdam)


def shapes() -> tuple[ImageSet, np.ndarray]:
    """A lying, a standing bar or a square, somewhere, with noise; and which."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, NUMBER)
    images = np.zeros((NUMBER, 16, 16, 1), np.float32)
    for image, label in zip(images, labels, strict=True):
        height, width = ((2, 9), (9, 2), (6, 6))[label]
        row, column = random.integers(2, 6, 2)
        image[row : row + height, column : column + width] = 0.8
    images += 0.1 * random.standard_normal(images.shape).astype(np.float32)
    return ImageSet(pixel_storage.MemoryStore(np.clip(images, 0.0, 1.0))), labels


IMAGES, LABELS = shapes()
RANDOM = np.random.default_rng(1)
IS_WRONG = RANDOM.random(NUMBER) < 0.25
GROUPS = np.where(IS_WRONG, (LABELS + RANDOM.integers(1, 3, NUMBER)) % 3, LABELS)
CONFIDENCE = RANDOM.random(NUMBER)  # says nothing: the taught are as wrong as all


def train(**options) -> self_labelling.Student:
    usual = {"images": IMAGES, "groups": GROUPS, "confidence": CONFIDENCE, "settings": SETTINGS}
    return self_labelling.train(**usual | options)


def test_a_student_is_right_where_its_groups_are_wrong_and_follows_from_its_seed():
    told = []
    student = train(watch=lambda network, epoch: told.append((network.output_shape[-1], epoch)))
    assert (GROUPS == LABELS).mean() < 0.8
    assert (student.classes == LABELS).mean() > 0.95
    assert student.classes.shape == student.probability.shape == (NUMBER,)
    assert 1 / 3 < student.probability.min() <= student.probability.max() <= 1.0
    logits = student.network.predict(IMAGES.array(), verbose=0)
    np.testing.assert_array_equal(logits.argmax(axis=1), student.classes)
    assert [epoch for _, epoch in told] == list(student.epochs)
    assert [epoch.images for epoch in student.epochs] == [32 * 50, 32 * 90, 32 * 130]
    assert np.isnan(student.epochs[0].changed)
    assert 0.0 <= student.epochs[2].changed < 0.2
    again = train()
    np.testing.assert_array_equal(student.probability, again.probability)


def test_training_ends_when_hardly_any_answer_changes():
    always = dataclasses.replace(SETTINGS, changed=1.1, epochs=5)
    assert len(train(settings=always).epochs) == 2


def test_a_second_network_begins_from_the_answers_of_the_first():
    taught = dataclasses.replace(SETTINGS, taught_steps=1, epochs=1, retaught_share=1.0)
    taught = dataclasses.replace(taught, retaught_steps=60)
    first = train(settings=taught)
    second = train(settings=dataclasses.replace(taught, rounds=2))
    assert second.epochs[0].images == first.epochs[0].images
    assert [epoch.images for epoch in second.epochs] == [32 * n for n in (1, 41, 101, 141)]
    assert np.isnan([epoch.changed for epoch in second.epochs]).tolist() == [True, False] * 2
    assert (second.classes == first.classes).mean() > 0.9
    weights = (student.network.get_weights()[0] for student in (first, second))
    assert abs(np.subtract(*weights)).mean() > 0.05  # not the first one trained on


def test_labels_name_the_groups_and_take_part():
    labelled = np.concatenate([np.flatnonzero((one == LABELS) & ~IS_WRONG)[:3] for one in range(3)])
    other_names = (GROUPS + 1) % 3
    student = train(
        groups=other_names, labelled=labelled, labels=LABELS[labelled],
        settings=dataclasses.replace(SETTINGS, epochs=1),
    )  # fmt: skip
    assert (student.classes == LABELS).mean() > 0.9
    assert [epoch.images for epoch in student.epochs] == [38 * 50, 38 * 90]


FEW = IMAGES.subset(np.arange(20))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"images": FEW, "groups": GROUPS[:20], "confidence": CONFIDENCE[:20]}, "needs 30 images"),
        ({"groups": GROUPS[:9]}, "240 images need as many groups and confidences, received 9"),
        ({"groups": np.zeros(NUMBER, np.int64)}, "two classes or more"),
        ({"groups": np.full(NUMBER, -1)}, "two classes or more"),
        ({"num_classes": 2}, "received images of 3 in 2"),
        ({"labelled": np.array([0])}, "give both or none"),
        ({"labelled": np.array([0]), "labels": np.array([0, 1])}, "received 1 and 2"),
    ],
)
def test_what_nothing_can_be_learned_from_is_one_line(options, words):
    with pytest.raises(ValueError, match=words) as caught:
        train(**options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [("share", 0.0), ("share", 1.1), ("threshold", np.nan), ("epochs", 0), ("rounds", 0)],
)
def test_settings_without_sense_are_refused(name, value):
    with pytest.raises(ValueError, match=f"{name}.* must be .*received"):
        self_labelling.StudentSettings(**{name: value})
