"""The feature network that sets of images are compared in."""

import dataclasses

import keras
import numpy as np
import pytest

from kerasunsup.data import pixel_storage
from kerasunsup.data import splits as data_splits
from kerasunsup.data.image_set import ImageSet
from kerasunsup.data.splits import Splits
from kerasunsup.errors import InputError
from kerasunsup.models import networks
from kerasunsup.settings import TrainingSettings
from kerasunsup.training import feature_network, files


def splits(folder, name="shapes", **labels) -> Splits:
    """200 images of 8 x 8: a bright left half or a bright right half, with noise."""
    random = np.random.default_rng(0)
    side = np.arange(200) % 2
    pixels = random.integers(0, 60, (200, 8, 8), np.uint8)
    pixels[side == 0, :, :4] += 190
    pixels[side == 1, :, 4:] += 190
    kept = {key: value(side) for key, value in labels.items()}
    np.savez(folder / f"{name}.npz", images=pixels, **kept)
    return data_splits.load(TrainingSettings(data=str(folder / f"{name}.npz")))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """(splits, folder, feature network); two classes far apart need few steps."""
    folder = tmp_path_factory.mktemp("judge")
    loaded = splits(folder, labels=lambda side: side)
    keras.utils.set_random_seed(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(feature_network, "_EPOCHS", 25)
        return loaded, folder / "kept", feature_network.classifier_of(loaded, folder / "kept")


@pytest.fixture
def no_training(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("it trains")

    monkeypatch.setattr(keras.Model, "fit", refuse)


def test_two_classes_far_apart_are_told_apart(trained):
    loaded, _, found = trained
    assert found.test_accuracy >= 0.95
    features, probabilities = found.describe(loaded.test.array())
    assert (features.shape, features.dtype) == ((20, 128), np.float32)
    assert (probabilities.shape, probabilities.dtype) == ((20, 2), np.float32)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-5)
    right = probabilities.argmax(axis=1) == loaded.labels.test
    assert right.mean() == pytest.approx(found.test_accuracy)


def test_features_and_probabilities_are_those_of_the_classifier(trained):
    loaded, _, found = trained
    images = loaded.test.array()
    features, probabilities = found.describe(images)
    np.testing.assert_allclose(features, np.asarray(found.features(images)), rtol=1e-4, atol=1e-5)
    expected = np.asarray(keras.ops.softmax(found.classifier(images)))
    np.testing.assert_allclose(probabilities, expected, rtol=1e-4, atol=1e-5)


def test_the_classifier_is_kept_and_not_trained_again(trained, no_training):
    loaded, folder, first = trained
    again = feature_network.classifier_of(loaded, folder)
    assert again.test_accuracy == first.test_accuracy
    images = loaded.test.array()
    for ours, theirs in zip(again.describe(images), first.describe(images), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_stored_network_of_another_shape_is_refused_in_one_line(trained, tmp_path):
    loaded, folder, _ = trained
    (path,) = folder.glob("*.npz")
    arrays = files.read_arrays(path)
    del arrays["weights_00"]
    files.write_arrays(tmp_path / path.name, arrays)
    with pytest.raises(InputError, match="remove it, and it is made anew"):
        feature_network.classifier_of(loaded, tmp_path)


def test_the_same_data_gives_the_same_network_in_another_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(feature_network, "_LEAST_STEPS", 3)
    loaded = splits(tmp_path, labels=lambda side: side)
    keras.utils.set_random_seed(1)
    first = feature_network.classifier_of(loaded, tmp_path / "first").identity()
    keras.utils.set_random_seed(2)
    second = feature_network.classifier_of(loaded, tmp_path / "second").identity()
    assert first == second
    assert first["origin"] == "trained on shapes"


def test_a_second_command_waits_for_the_network_and_trains_none(
    trained, no_training, tmp_path, monkeypatch, capsys
):
    loaded, folder, first = trained
    (path,) = folder.glob("*.npz")
    lock = files.locked(tmp_path / f".{path.stem}.lock", "")

    def other_command_ends(_: float) -> None:
        (tmp_path / path.name).write_bytes(path.read_bytes())
        lock.close()

    monkeypatch.setattr(files.time, "sleep", other_command_ends)
    assert feature_network.classifier_of(loaded, tmp_path).identity() == first.identity()
    assert capsys.readouterr().out.count("waiting for it") == 1


def test_the_same_images_with_other_labels_get_a_classifier_of_their_own(
    trained, no_training, tmp_path
):
    _, folder, _ = trained
    relabelled = splits(tmp_path, labels=lambda side: 1 - side)
    with pytest.raises(AssertionError, match="it trains"):
        feature_network.classifier_of(relabelled, folder)


def test_labels_without_names_may_be_any_numbers(tmp_path, monkeypatch):
    monkeypatch.setattr(feature_network, "_EPOCHS", 25)
    loaded = splits(tmp_path, labels=lambda side: 3 + 10**9 * side)
    found = feature_network.classifier_of(loaded, tmp_path / "kept")
    assert found.classifier.output_shape == (None, 2)
    assert found.test_accuracy >= 0.95


@pytest.mark.parametrize("labels", [{}, {"labels": np.zeros_like}])
def test_without_two_classes_there_is_no_classifier(tmp_path, no_training, labels):
    with pytest.raises(ValueError, match="two classes or more"):
        feature_network.classifier_of(splits(tmp_path, **labels), tmp_path / "kept")
    assert not (tmp_path / "kept").exists()


def test_an_encoder_describes_without_probabilities():
    encoder = networks.encoder((8, 8, 1), latent_dim=3, filters=(4,), hidden_units=8)
    found = feature_network.of_encoder(encoder)
    images = np.random.default_rng(0).random((5, 8, 8, 1)).astype(np.float32)
    features, probabilities = found.describe(images)
    assert probabilities is None
    assert (found.classifier, found.test_accuracy) == (None, None)
    np.testing.assert_allclose(features, np.asarray(encoder(images)), rtol=1e-5, atol=1e-6)


def test_an_encoder_is_trained_once_for_data_without_labels(tmp_path, monkeypatch):
    loaded = splits(tmp_path)
    found = feature_network.of_data(loaded, tmp_path / "kept")
    assert found.classifier is None
    images = loaded.test.array()
    features, _ = found.describe(images)
    assert features.shape == (20, 64)
    # Two classes far apart lie apart in it.
    side = images[:, :, :4].mean(axis=(1, 2, 3)) > 0.5
    within = np.linalg.norm(features[side] - features[side].mean(axis=0), axis=1).mean()
    between = np.linalg.norm(features[side].mean(axis=0) - features[~side].mean(axis=0))
    assert between > 2 * within

    def refuse(*_, **__):
        raise AssertionError("it trains")

    monkeypatch.setattr(keras.Model, "fit", refuse)
    again = feature_network.of_data(loaded, tmp_path / "kept")
    np.testing.assert_allclose(again.describe(images)[0], features, rtol=1e-4, atol=1e-4)


def test_a_comparison_holds_what_the_number_of_images_allows(trained):
    loaded, _, network = trained
    images = loaded.train.array()[:100]  # fewer than there are features
    reference = network.describe(images)[0]
    found = network.compare(images, reference)
    assert set(found) == {
        "kid", "precision", "recall", "classifier_score", "smallest_class_share", "unsure_share",
    }  # fmt: skip
    assert (found["precision"], found["recall"]) == (1.0, 1.0)
    assert found["smallest_class_share"] == pytest.approx(0.5, abs=0.15)
    assert 0.0 <= found["unsure_share"] <= 1.0
    many = np.concatenate([images, images])
    assert network.compare(many, np.concatenate([reference, reference]))["fid"] < 1e-3
    assert network.compare(images[:2], reference) == {}


def test_what_is_left_out_is_said_with_the_number_that_it_needs(trained, capsys):
    _, _, network = trained
    feature_network.log_left_out(network, [dict.fromkeys(network.needs, 0.0)])
    assert capsys.readouterr().out == ""
    feature_network.log_left_out(network, [{"fid": 1.0, "kid": 0.0}, {"kid": 1.0}])
    line = capsys.readouterr().out
    assert line.count("\n") == 1
    assert "fid 129, precision 20, recall 20, classifier_score 20" in line
    assert "kid" not in line


def test_blocks_of_images_are_described_as_the_whole_is(trained):
    loaded, _, network = trained
    images = loaded.train.array()
    whole = network.describe(images)
    parts = network.describe(iter([images[:7], images[7:]]))
    for ours, theirs in zip(parts, whole, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.fixture(scope="module")
def mnist() -> Splits:
    return data_splits.load(TrainingSettings(seed=4, limit=100, test_limit=300))


def test_mnist_is_compared_in_the_shipped_network_whatever_the_limit(mnist, no_training, tmp_path):
    found = feature_network.of_data(mnist, tmp_path / "kept")
    assert not (tmp_path / "kept").exists()
    assert found.identity() == {
        "sha256": "e8f5d85b1a592635", "origin": "shipped with the package", "test_accuracy": 0.9931,
    }  # fmt: skip
    probabilities = found.describe(mnist.test.array())[1]
    assert np.mean(probabilities.argmax(axis=1) == mnist.labels.test) > 0.98
    assert feature_network.PACKAGED.stat().st_size < 1_000_000


def test_real_images_are_those_that_the_network_was_not_trained_on(mnist, tmp_path):
    """The validation images of seed 0, by which it was trained, not those of the seed at hand."""
    found = feature_network.of_data(mnist, tmp_path)
    held_out = data_splits.load(TrainingSettings(seed=0)).validation
    np.testing.assert_array_equal(np.sort(found.held_out), np.sort(held_out.positions))
    real = np.concatenate(list(found.real_images(mnist, 10_000)))
    assert len(real) == len(mnist.test)  # no more than there are to compare with
    np.testing.assert_array_equal(real, held_out.array(range(300)))


def test_mnist_in_another_size_or_with_other_classes_is_other_data(mnist):
    small = np.zeros((20, 16, 16, 1), np.uint8)
    resized = ImageSet(pixel_storage.MemoryStore(small))
    assert feature_network._packaged(mnist) is not None
    assert (
        feature_network._packaged(dataclasses.replace(mnist, train=resized, test=resized)) is None
    )
    assert (
        feature_network._packaged(dataclasses.replace(mnist, class_names=("even", "odd"))) is None
    )
    other = ImageSet(pixel_storage.MemoryStore(np.zeros((20, 28, 28, 1), np.uint8)))
    assert feature_network._packaged(dataclasses.replace(mnist, train=other, test=other)) is None


def test_a_network_of_ones_own_keeps_the_validation_images_of_its_first_run(trained):
    loaded, _, found = trained
    np.testing.assert_array_equal(found.held_out, loaded.validation.positions)
    (real,) = found.real_images(loaded, 10)
    np.testing.assert_array_equal(real, loaded.validation.array(range(10)))
