"""The feature network that sets of images are compared in."""

import keras
import numpy as np
import pytest

from kerasunsup import config, data, judge, networks


def splits(folder, name="shapes", **labels) -> data.Splits:
    """200 images of 8 x 8: a bright left half or a bright right half, with noise."""
    random = np.random.default_rng(0)
    side = np.arange(200) % 2
    pixels = random.integers(0, 60, (200, 8, 8), np.uint8)
    pixels[side == 0, :, :4] += 190
    pixels[side == 1, :, 4:] += 190
    kept = {key: value(side) for key, value in labels.items()}
    np.savez(folder / f"{name}.npz", images=pixels, **kept)
    return data.load(config.TrainingConfig(data=str(folder / f"{name}.npz")))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """(splits, folder, judge); few steps are enough where two classes are so far apart."""
    folder = tmp_path_factory.mktemp("judge")
    loaded = splits(folder, labels=lambda side: side)
    keras.utils.set_random_seed(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(judge, "_EPOCHS", 25)
        return loaded, folder / "kept", judge.classifier_of(loaded, folder / "kept")


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
    again = judge.classifier_of(loaded, folder)
    assert again.test_accuracy == first.test_accuracy
    images = loaded.test.array()
    for ours, theirs in zip(again.describe(images), first.describe(images), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_classifier_without_its_numbers_is_not_whole(trained, no_training, tmp_path):
    loaded, folder, _ = trained
    (place,) = folder.iterdir()
    copy = tmp_path / place.name
    copy.mkdir()
    (copy / "classifier.keras").write_bytes((place / "classifier.keras").read_bytes())
    with pytest.raises(AssertionError, match="it trains"):
        judge.classifier_of(loaded, tmp_path)


def test_the_same_images_with_other_labels_get_a_classifier_of_their_own(
    trained, no_training, tmp_path
):
    _, folder, _ = trained
    relabelled = splits(tmp_path, labels=lambda side: 1 - side)
    with pytest.raises(AssertionError, match="it trains"):
        judge.classifier_of(relabelled, folder)


def test_labels_without_names_may_be_any_numbers(tmp_path, monkeypatch):
    monkeypatch.setattr(judge, "_EPOCHS", 25)
    loaded = splits(tmp_path, labels=lambda side: 3 + 10**9 * side)
    found = judge.classifier_of(loaded, tmp_path / "kept")
    assert found.classifier.output_shape == (None, 2)
    assert found.test_accuracy >= 0.95


@pytest.mark.parametrize("labels", [{}, {"labels": np.zeros_like}])
def test_without_two_classes_there_is_no_classifier(tmp_path, no_training, labels):
    with pytest.raises(ValueError, match="two classes or more"):
        judge.classifier_of(splits(tmp_path, **labels), tmp_path / "kept")
    assert not (tmp_path / "kept").exists()


def test_an_encoder_describes_without_probabilities():
    encoder = networks.encoder((8, 8, 1), latent_dim=3, filters=(4,), hidden_units=8)
    found = judge.of_encoder(encoder)
    images = np.random.default_rng(0).random((5, 8, 8, 1)).astype(np.float32)
    features, probabilities = found.describe(images)
    assert probabilities is None
    assert (found.classifier, found.test_accuracy) == (None, None)
    np.testing.assert_allclose(features, np.asarray(encoder(images)), rtol=1e-5, atol=1e-6)


def test_an_encoder_is_trained_once_for_data_without_labels(tmp_path, monkeypatch):
    loaded = splits(tmp_path)
    found = judge.of_data(loaded, tmp_path / "kept")
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
    again = judge.of_data(loaded, tmp_path / "kept")
    np.testing.assert_allclose(again.describe(images)[0], features, rtol=1e-4, atol=1e-4)


def test_a_comparison_holds_what_the_number_of_images_allows(trained):
    loaded, _, network = trained
    images = loaded.train.array()[:100]  # fewer than there are features
    reference = network.describe(images)[0]
    found = network.compare(images, reference)
    assert set(found) == {
        "kid", "precision", "recall", "classifier_score", "smallest_class_share",
    }  # fmt: skip
    assert (found["precision"], found["recall"]) == (1.0, 1.0)
    assert found["smallest_class_share"] == pytest.approx(0.5, abs=0.15)
    many = np.concatenate([images, images])
    assert network.compare(many, np.concatenate([reference, reference]))["fid"] < 1e-3
    assert set(network.compare(images[:2], reference)) == {
        "classifier_score", "smallest_class_share",
    }  # fmt: skip
