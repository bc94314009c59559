"""What is measured of samples, and when a game is said to have gone wrong."""

from __future__ import annotations

import dataclasses
import types

import numpy as np
import pytest

from kerasunsup.data import pixel_storage
from kerasunsup.data.image_set import ImageSet
from kerasunsup.data.splits import Splits
from kerasunsup.gan import measurements as measuring
from kerasunsup.gan import results
from kerasunsup.gan.settings import GANSettings
from kerasunsup.models import gan as models_gan
from kerasunsup.models import networks, optimizers
from kerasunsup.training import feature_network, files
from kerasunsup.training import tensorboard as training_tensorboard
from kerasunsup.training.run_folder import Run

SETTINGS = GANSettings(epochs=10, measure_every=2, num_samples=100, noise_dim=3, batch_size=16)
GOOD = {"real_accuracy": 0.8, "generated_accuracy": 0.8}


def splits() -> Splits:
    pixels = np.random.default_rng(0).integers(0, 256, (200, 16, 16, 1), np.uint8)
    pool = ImageSet(pixel_storage.MemoryStore(pixels))
    return Splits(
        pool.subset(range(120)), pool.subset(range(120, 140)), pool.subset(range(140, 200)),
        "noise", None, None,
    )  # fmt: skip


@pytest.fixture
def measured(tmp_path, monkeypatch):
    """(measurements, what the feature network will say, what the generator will draw)."""
    network = networks.encoder((16, 16, 1), latent_dim=3, filters=(2,), hidden_units=4)
    says: dict[str, float] = {"fid": 5.0, "kid": 1.0, "smallest_class_share": 0.1}
    drawn = {"images": splits().train.array(range(100))}
    gan = types.SimpleNamespace(refresh_averaged_generator=lambda: None, stop_training=False)
    monkeypatch.setattr(feature_network.FeatureNetwork, "compare", lambda self, *_: dict(says))
    monkeypatch.setattr(measuring, "generate", lambda *_: drawn["images"])
    with training_tensorboard.TensorBoardWriter(tmp_path) as tensorboard:
        yield (
            measuring.Measurements(
                gan, splits(), SETTINGS, feature_network.of_encoder(network), tensorboard
            ),
            says, drawn, gan,
        )  # fmt: skip


def test_noise_is_the_same_at_every_call_and_longer_ones_begin_alike():
    first = measuring.fixed_noise(SETTINGS, 4)
    assert (first.dtype, first.shape) == (np.float32, (4, 3))
    np.testing.assert_array_equal(measuring.fixed_noise(SETTINGS, 9)[:4], first)
    many = measuring.fixed_noise(SETTINGS, 20_000)
    assert np.abs(many.mean(axis=0)).max() < 0.03
    np.testing.assert_allclose(many.std(axis=0), 1.0, atol=0.03)


@pytest.mark.parametrize(
    ("epochs", "expected"),
    [
        (100, {1, 5, 10, 15, 70, 80, 90, 100}),
        (20, {1, 5, 10, 14, 15, 16, 18, 20}),
        (2, {1, 2}),
        (1, {1}),
    ],
)
def test_samples_are_shown_at_the_studys_epochs(epochs, expected):
    assert measuring.shown_epochs(epochs) == expected


@pytest.mark.parametrize(("epochs", "number"), [(1, 1), (10, 10), (100, 28), (1000, 31)])
def test_samples_are_kept_of_the_first_epochs_and_then_of_few(epochs, number):
    kept = {epoch for epoch in range(1, epochs + 1) if measuring.is_recorded(epoch, epochs)}
    assert measuring.shown_epochs(epochs) <= kept
    assert len(kept) == number


def test_spread_is_the_mean_distance_between_two_images():
    pictures = np.random.default_rng(0).random((6, 4, 4, 1))
    flat = pictures.reshape(6, -1)
    pairs = [
        np.linalg.norm(a - b) for i, a in enumerate(flat) for j, b in enumerate(flat) if i != j
    ]
    assert measuring.spread(pictures) == pytest.approx(np.mean(pairs))
    assert measuring.spread(np.repeat(pictures[:1], 5, axis=0)) == pytest.approx(0.0, abs=1e-6)


def test_measured_every_few_epochs_and_after_the_last(measured):
    measurements, *_ = measured
    with_numbers = []
    for epoch in range(9):
        logs = dict(GOOD)
        measurements.on_epoch_end(epoch, logs)
        if "fid" in logs:
            with_numbers.append(epoch + 1)
    assert with_numbers == [2, 4, 6, 8]
    logs = dict(GOOD)
    measurements.on_epoch_end(9, logs)
    assert logs["spread"] == pytest.approx(1.0, abs=0.05)


def test_a_discriminator_that_has_won_is_said_once(measured, capsys):
    measurements, *_ = measured
    for epoch in range(3):
        measurements.on_epoch_end(epoch, {"real_accuracy": 0.999, "generated_accuracy": 1.0})
    output = capsys.readouterr().out
    assert output.count("tells real and generated images apart") == 1
    assert "--gradient-penalty" in output
    measurements.on_epoch_end(4, dict(GOOD))
    assert capsys.readouterr().out == ""


def test_a_collapse_is_said_once_even_over_a_stop(measured, capsys):
    measurements, _, drawn, _ = measured
    measurements.on_epoch_end(1, dict(GOOD))
    assert capsys.readouterr().out == ""
    drawn["images"] = np.repeat(drawn["images"][:1], 100, axis=0)
    measurements.on_epoch_end(3, dict(GOOD))
    assert "has lost variety" in capsys.readouterr().out
    state = measurements.state()
    measurements._said.clear()
    measurements.restore(state)
    measurements.on_epoch_end(5, dict(GOOD))
    assert capsys.readouterr().out == ""


def test_a_class_that_is_never_generated_is_a_collapse(measured, capsys):
    measurements, says, _, _ = measured
    says["smallest_class_share"] = 0.0
    measurements.on_epoch_end(1, dict(GOOD))
    assert capsys.readouterr().out == ""  # too early to say
    measurements.on_epoch_end(5, dict(GOOD))
    assert "a class is never generated" in capsys.readouterr().out


def test_patience_counts_measurements_without_a_lower_distance(measured, monkeypatch):
    measurements, says, _, gan = measured
    monkeypatch.setattr(
        measurements, "_settings", GANSettings(
            epochs=50, measure_every=1, num_samples=100, patience=2, noise_dim=3
        )
    )  # fmt: skip
    for epoch, distance in enumerate((5.0, 4.0, 4.5)):
        says["fid"] = distance
        measurements.on_epoch_end(epoch, dict(GOOD))
    assert not gan.stop_training
    assert not measurements.is_over
    measurements.restore(measurements.state())
    measurements.on_epoch_end(3, dict(GOOD))
    assert gan.stop_training
    measurements.restore(measurements.state())
    assert measurements.is_over  # so that a run that goes on trains nothing more
    monkeypatch.setattr(measurements, "_network", "another")
    monkeypatch.setattr(measurements, "_best", np.inf)
    monkeypatch.setattr(measurements, "_waited", 0)
    measurements.restore(measurements.state() | {"network": np.array("its own"), "waited": 9})
    assert not measurements.is_over
    assert measurements.state()["best"] == np.inf


def test_pictures_are_of_the_epochs_that_were_trained(tmp_path, monkeypatch):
    """Patience ended a run of 100 epochs after 25: of 70 to 100 there is nothing."""
    shown = {}
    with training_tensorboard.TensorBoardWriter(tmp_path) as tensorboard:
        monkeypatch.setattr(results.curves, "adversarial_curves", lambda _: None)
        monkeypatch.setattr(
            results.image_grids, "sampled_images", lambda rows: [row.name for row in rows]
        )
        monkeypatch.setattr(results.style, "to_pixels", lambda figure: figure)
        monkeypatch.setattr(
            tensorboard, "show", lambda name, figure, _: shown.update({name: figure})
        )
        monkeypatch.setattr(tensorboard, "show_moving", lambda *_: None)
        trained = results.TrainedGAN(None, None, GANSettings(), None, None, tensorboard)
        kept = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 15, 20, 25]
        samples = types.SimpleNamespace(epochs=kept, outputs=[None] * len(kept))
        history = {"epoch": list(range(1, 26))}
        fitted = types.SimpleNamespace(history=history)
        results.write_training_figures(trained, fitted, samples)
    assert shown["samples_first_epochs"] == [f"epoch {epoch}" for epoch in (1, 5, 10, 15)]
    assert shown["samples_last_epochs"][-1] == "epoch 25"


def test_shares_of_classes_are_named_by_their_labels(monkeypatch, tmp_path):
    classes = np.array([3, 8, 12])
    probabilities = np.eye(3)[[0, 0, 1, 2]]
    network = types.SimpleNamespace(describe=lambda _: (np.zeros((4, 2)), probabilities))
    monkeypatch.setattr(results, "generate_blocks", lambda *_: iter(()))
    monkeypatch.setattr(results.feature_network, "classes_of", lambda _: classes)
    gan = types.SimpleNamespace(averaged_generator=None)
    trained = results.TrainedGAN(gan, splits(), SETTINGS, None, network, None)
    numbers = results._classes(trained, np.zeros((4, 3)), np.zeros(3))
    assert numbers["class_share/3"] == 0.5
    assert {name for name in numbers if "share/" in name} == {
        "class_share/3", "class_share/8", "class_share/12",
    }  # fmt: skip


def test_copies_are_found(tmp_path):
    parts = splits()
    with training_tensorboard.TensorBoardWriter(tmp_path) as tensorboard:
        trained = results.TrainedGAN(None, parts, SETTINGS, None, None, tensorboard)
        copied = results.copies(trained, parts.train.array(range(50)))
        fresh = results.copies(trained, parts.validation.array())
        few = dataclasses.replace(parts, test=parts.test.subset(range(19)))
        known = dataclasses.replace(parts, test=parts.train.subset(range(40)))
        for others in (few, known):
            trained = results.TrainedGAN(None, others, SETTINGS, None, None, tensorboard)
            assert results.copies(trained, parts.train.array(range(50))) == {}
    assert copied == {"nearest/distance_ratio": 0.0, "nearest/closer_share": 1.0}
    assert (tmp_path / "figures" / "nearest_training_images.png").is_file()
    assert fresh["nearest/distance_ratio"] == pytest.approx(1.0, abs=0.1)
    assert fresh["nearest/closer_share"] <= 0.1


def test_of_equal_images_no_spread_is_measured_and_none_is_called_a_collapse(tmp_path, capsys):
    """Nor is patience counted where there are too few images for a distance."""
    pool = ImageSet(pixel_storage.MemoryStore(np.zeros((14, 16, 16, 1), np.uint8)))
    parts = Splits(
        pool.subset(range(12)), pool.subset([12]), pool.subset([13]), "black", None, None
    )
    network = networks.encoder((16, 16, 1), latent_dim=3, filters=(2,), hidden_units=4)
    generator = networks.generator((16, 16, 1), noise_dim=3, base_filters=2)
    gan = types.SimpleNamespace(refresh_averaged_generator=lambda: generator, stop_training=False)
    settings = dataclasses.replace(SETTINGS, patience=1)
    with training_tensorboard.TensorBoardWriter(tmp_path) as tensorboard:
        measurements = measuring.Measurements(
            gan, parts, settings, feature_network.of_encoder(network), tensorboard
        )
        for epoch in (1, 3, 5):
            logs = dict(GOOD)
            measurements.on_epoch_end(epoch, logs)
            assert logs == GOOD
    assert not measurements.is_over
    assert "variety" not in capsys.readouterr().out


def test_with_one_test_image_samples_are_shown_and_no_number_is_made_up(tmp_path, capsys):
    gan = models_gan.GAN(
        networks.generator((16, 16, 1), noise_dim=3, base_filters=2),
        networks.discriminator((16, 16, 1), base_filters=2),
    )
    gan.compile(optimizers.adam(0.001, averaging=0.9), optimizers.adam(0.001))
    gan.refresh_averaged_generator()
    parts = dataclasses.replace(splits(), test=splits().test.subset([0]))
    network = networks.encoder((16, 16, 1), latent_dim=3, filters=(2,), hidden_units=4)
    run = Run(tmp_path)
    with training_tensorboard.TensorBoardWriter(tmp_path) as tensorboard:
        trained = results.TrainedGAN(
            gan, parts, SETTINGS, run, feature_network.of_encoder(network), tensorboard
        )
        assert results.comparisons(trained) == {}
    assert "fid 20, kid 20, precision 20, recall 20" in capsys.readouterr().out
    assert (tmp_path / "figures" / "comparison.png").is_file()
    assert len(files.read_json(tmp_path / feature_network.IDENTITY)["sha256"]) == 16


def test_the_measurement_reads_the_averaged_generator(tmp_path):
    """With the real networks: what is measured is what `generate` exports."""
    gan = models_gan.GAN(
        networks.generator((16, 16, 1), noise_dim=3, base_filters=2),
        networks.discriminator((16, 16, 1), base_filters=2),
    )
    gan.compile(optimizers.adam(0.001, averaging=0.9), optimizers.adam(0.001))
    gan.fit(splits().train.array(), batch_size=16, verbose=0)
    network = networks.encoder((16, 16, 1), latent_dim=3, filters=(2,), hidden_units=4)
    comparison = feature_network.of_encoder(network)
    with training_tensorboard.TensorBoardWriter(tmp_path) as tensorboard:
        measurements = measuring.Measurements(gan, splits(), SETTINGS, comparison, tensorboard)
        logs = dict(GOOD)
        measurements.on_epoch_end(1, logs)
    pictures = measuring.generate(gan.averaged_generator, measuring.fixed_noise(SETTINGS, 100))
    reference = comparison.describe(splits().train.array(range(100)))[0]
    expected = comparison.compare(pictures, reference)
    assert {name: logs[name] for name in expected} == pytest.approx(expected)


@pytest.mark.parametrize("categories", [0, 3, 8])
def test_both_ends_of_a_walk_have_one_category_and_are_two(categories):
    for seed in range(5):
        drawn = np.random.default_rng(seed).standard_normal((2, 8))
        first, second = results.ends_of_one_category(*drawn, categories)
        way = results.walk(first, second, 9)
        if categories:
            assert len(set(way[:, :categories].argmax(axis=1))) == 1
        assert np.linalg.norm(way[0] - way[-1]) > 0.5
        np.testing.assert_array_equal(first, drawn[0])
        if categories < 8:
            np.testing.assert_array_equal(second[categories:], drawn[1, categories:])


def test_a_walk_keeps_to_the_sphere_and_to_its_ends():
    random = np.random.default_rng(0)
    first, second = random.standard_normal((2, 5))
    second *= np.linalg.norm(first) / np.linalg.norm(second)
    way = results.walk(first, second, 9)
    np.testing.assert_allclose(way[[0, -1]], [first, second], rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(way, axis=1), np.linalg.norm(first), rtol=1e-5)
    turns = np.sum(way[1:] * way[:-1], axis=1)
    np.testing.assert_allclose(turns, turns[0], rtol=1e-4)  # equal steps
    one = results.walk(np.array([2.0]), np.array([-1.0]), 3)
    np.testing.assert_allclose(one, [[2.0], [0.5], [-1.0]])
