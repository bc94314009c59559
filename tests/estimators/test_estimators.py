"""The Python interface: scikit-learn's words, honest complaints, files that come back."""

import copy
import gc
import importlib
import json
import os
import pickle
import random
import re
import signal
import subprocess
import sys
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf
from matplotlib import pyplot
from sklearn import base, exceptions, model_selection, pipeline, preprocessing
from sklearn.linear_model import LogisticRegression
from sklearn.utils import estimator_checks
from tensorflow.python.framework import config

import kerasunsup as ku
from kerasunsup import estimators
from kerasunsup.ae.settings import AutoencoderSettings
from kerasunsup.errors import InputError
from kerasunsup.estimators import image_arrays, image_estimator, plots
from kerasunsup.estimators.labels import as_labels, is_missing
from kerasunsup.gan.settings import GANSettings
from kerasunsup.models import code_flow
from kerasunsup.supervised.settings import SupervisedSettings
from kerasunsup.training import callbacks

SMALL = {"latent_dim": 8, "filters": (4,), "hidden_units": 64, "batch_size": 32, "verbose": 0}


def squares(number: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Light squares of two sizes on black, uint8 (number, 16, 16), and which size."""
    generator = np.random.default_rng(seed)
    images, labels = np.zeros((number, 16, 16), np.uint8), generator.integers(2, size=number)
    for image, label in zip(images, labels, strict=True):
        top, left = generator.integers(1, 8, size=2)
        side = 3 if label == 0 else 7
        image[top : top + side, left : left + side] = generator.integers(150, 255)
    return images, labels


IMAGES, LABELS = squares(240)


@pytest.fixture(scope="module")
def autoencoder():
    return ku.Autoencoder(**SMALL, epochs=40, learning_rate=0.01).fit(IMAGES)


@pytest.fixture(scope="module")
def gan():
    return ku.GAN(epochs=1, base_filters=4, hidden_units=8, batch_size=32, verbose=0).fit(IMAGES)


@pytest.fixture(scope="module")
def classifier(autoencoder):
    labels = np.where(np.arange(len(LABELS)) < 20, LABELS, -1)
    return ku.Classifier(encoder=autoencoder, graph_steps=200, deformation=0.2, verbose=0).fit(
        IMAGES, labels
    )


def test_import_loads_nothing_heavy():
    code = "import sys, kerasunsup; print([m for m in ('tensorflow', 'numpy') if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "[]\n"
    assert {"Autoencoder", "GAN", "Classifier", "load", "load_images"} <= set(dir(ku))


def test_keras_on_another_backend_is_refused(monkeypatch):
    monkeypatch.setattr(keras.config, "backend", lambda: "jax")  # by keras.json, say
    with pytest.raises(ImportError, match="imported already on jax: import kerasunsup's names fir"):
        importlib.reload(estimators)


@pytest.mark.parametrize(
    ("estimator", "settings"),
    [
        (ku.Autoencoder, AutoencoderSettings),
        (ku.GAN, GANSettings),
        (ku.Classifier, SupervisedSettings),
    ],
)
def test_keywords_are_the_settings_of_the_command(estimator, settings):
    defaults = estimator().get_params()
    shared = {name: getattr(settings(), name) for name in defaults if hasattr(settings(), name)}
    assert {"learning_rate", "epochs", "batch_size", "seed", "precision"} <= set(shared)
    shared.pop("encoder", None)
    assert {name: defaults[name] for name in shared} == shared
    for name in defaults:
        assert f"{name}: " in estimator.__doc__  # each is explained


@pytest.mark.parametrize("estimator", [ku.Autoencoder, ku.GAN, ku.Classifier])
def test_scikit_learns_checks_of_the_interface(estimator):
    """Those that give tables of numbers are left out: an image is no row of a table."""
    name = estimator.__name__
    for check in (
        estimator_checks.check_estimator_cloneable,
        estimator_checks.check_no_attributes_set_in_init,
        estimator_checks.check_parameters_default_constructible,
        estimator_checks.check_get_params_invariance,
        estimator_checks.check_set_params,
        estimator_checks.check_do_not_raise_errors_in_init_or_set_params,
        estimator_checks.check_estimator_repr,
        estimator_checks.check_valid_tag_types,
        estimator_checks.check_estimator_tags_renamed,
        estimator_checks.check_mixin_order,
    ):
        check(name, estimator())


def test_only_training_images_are_deformed():
    plain, deformed = (
        ku.Autoencoder(**SMALL, epochs=1, learning_rate=1e-12, deformation=strength)
        .fit(IMAGES)
        .history_
        for strength in (0.0, 1.0)
    )
    assert deformed["val_loss"] == pytest.approx(plain["val_loss"], rel=1e-6)
    assert abs(deformed["loss"][0] / plain["loss"][0] - 1.0) > 0.001


def test_keywords_may_be_numpys_or_paths(autoencoder, tmp_path):
    given = {
        "latent_dim": np.int64(8),
        "filters": np.array([4, 8]),
        "learning_rate": np.float32(0.5),
        "skip": np.bool_(False),
        "sampler": np.str_("mixture"),
        "verbose": False,
    }
    settings, own = ku.Autoencoder(**given, log_dir=tmp_path)._checked()
    assert (settings.latent_dim, settings.filters, settings.learning_rate) == (8, (4, 8), 0.5)
    assert (settings.skip, settings.sampler, own.verbose) == (False, "mixture", 0)
    assert own.log_dir == str(tmp_path)
    assert ku.Autoencoder(log_dir="~/logs")._checked()[1].log_dir == os.path.expanduser("~/logs")
    changed = copy.copy(autoencoder).set_params(**given)
    loaded = ku.load(changed.save(tmp_path / "saved"))
    assert loaded._checked() == changed._checked()


def test_a_class_of_ones_own_keeps_its_initializer():
    class Small(ku.Autoencoder):
        def __init__(self, size=3):
            super().__init__(latent_dim=size)
            self.size = size

    assert Small(size=5)._checked()[0].latent_dim == 5
    assert base.clone(Small(size=5)).get_params() == {"size": 5}


def test_codes_and_reconstructions(autoencoder):
    codes = autoencoder.transform(IMAGES)
    assert codes.shape == (240, 8)
    assert codes.dtype == np.float32
    reconstructions = autoencoder.reconstruct(IMAGES)
    assert reconstructions.shape == IMAGES.shape  # as they were given
    np.testing.assert_allclose(autoencoder.inverse_transform(codes)[..., 0], reconstructions)
    error = np.square(IMAGES / 255.0 - reconstructions).mean()
    assert autoencoder.score(IMAGES) == pytest.approx(-error, rel=1e-4)
    assert error < 0.6 * (IMAGES / 255.0).var()  # it learned something
    assert isinstance(autoencoder.encoder_, keras.Model)
    np.testing.assert_array_equal(
        autoencoder.transform(IMAGES), autoencoder.transform(IMAGES[..., None] / np.float32(255))
    )
    assert list(autoencoder.get_feature_names_out()) == [f"autoencoder{i}" for i in range(8)]


def test_a_network_is_traced_once_and_goes_with_its_estimator(autoencoder, tmp_path):
    loaded = ku.load(autoencoder.save(tmp_path / "network.keras"))
    expected = loaded.transform(IMAGES)
    traced = image_estimator._FUNCTIONS[loaded.encoder_]
    np.testing.assert_array_equal(loaded.transform(IMAGES[:7]), expected[:7])
    assert image_estimator._FUNCTIONS[loaded.encoder_] is traced
    loaded.encoder_.set_weights([0 * weight for weight in loaded.encoder_.get_weights()])
    assert not loaded.transform(IMAGES).any()
    encoder = weakref.ref(loaded.encoder_)
    del loaded, traced
    gc.collect()
    assert encoder() is None


def test_history_and_best_epoch(autoencoder):
    history = autoencoder.history_
    assert history["epoch"] == list(range(1, 41))
    assert autoencoder.best_epoch_ == 1 + np.argmin(history["val_loss"])
    assert history["loss"][-1] < history["loss"][0]
    without = copy.copy(autoencoder)
    for history in ({}, {"val_loss": []}):  # of a network alone, of a training stopped at once
        without.history_ = history
        assert not hasattr(without, "best_epoch_")
        with pytest.raises(ValueError, match="no history of finished epochs: fit"):
            without.best_epoch_  # noqa: B018


def test_keywords_that_are_set_after_the_fit_count_and_are_checked(autoencoder):
    changed = copy.copy(autoencoder).set_params(sampler="mixture")
    mixture = changed.sample(3, seed=1)
    around = changed.set_params(sampler="neighbors").sample(3, seed=1)
    assert (mixture != around).any()
    np.testing.assert_array_equal(changed.set_params(sampler="mixture").sample(3, seed=1), mixture)
    np.testing.assert_array_equal(
        changed.set_params(seed=np.int64(0)).score_samples(IMAGES),
        autoencoder.score_samples(IMAGES),
    )
    for wrong in ({"sampler": "none"}, {"sampler": "mixture", "seed": "x"}):
        changed.set_params(**wrong)
        with pytest.raises(InputError, match=r"received (none|'x')"):
            changed.sample(3)
    for method in (changed.predict, changed.score_samples, changed.cluster):
        with pytest.raises(InputError, match="seed must be of type int, received 'x'"):
            method(IMAGES)


def test_samples_follow_the_seed(autoencoder, gan):
    for estimator in (autoencoder, gan):
        first = estimator.sample(5, seed=3)
        assert first.shape == (5, 16, 16, 1)
        assert 0.0 <= first.min() <= first.max() <= 1.0
        np.testing.assert_array_equal(first, estimator.sample(5, seed=3))
        assert (first != estimator.sample(5, seed=4)).any()


def test_outliers_are_told_from_usual_images(autoencoder):
    fresh, _ = squares(200, seed=1)
    odd = np.random.default_rng(2).integers(0, 255, (50, 16, 16), np.uint8)
    assert autoencoder.score_samples(odd).max() < autoencoder.score_samples(fresh).mean()
    assert (autoencoder.predict(odd) == -1).all()
    assert 0.0 < (autoencoder.predict(fresh) == -1).mean() < 0.2  # contamination is 0.05
    strict = autoencoder.decision_function(fresh)
    assert ((strict < 0) == (autoencoder.predict(fresh) == -1)).all()


def test_groups(autoencoder):
    groups = autoencoder.cluster(IMAGES, 2)
    assert np.bincount(groups).sum() == 240
    assert set(groups) == {0, 1}


def test_few_labels(classifier):
    fresh, labels = squares(200, seed=1)
    assert classifier.method_ == "graph_labels"  # auto, as most have no label
    assert classifier.score(fresh, labels) > 0.9
    probabilities = classifier.predict_proba(fresh)
    assert probabilities.shape == (200, 2)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-5)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["b", -1, "a"], ["a", "b"]),  # NumPy makes strings of them
        (np.array(["b", -1, "a"], object), ["a", "b"]),
        (np.array([1, -1, 7], object), [1, 7]),
        ([3.0, -1.0, 5.0], [3, 5]),
        ([True, False, False], [False, True]),
        (np.array([-5, -1, 0], np.int8), [-5, 0]),
    ],
)
def test_labels_are_numbers_or_names_and_minus_one_is_none(given, expected):
    read = as_labels("y", given, 3)
    assert np.unique(read[~is_missing(read)]).tolist() == expected


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["a", None, "b"], "all whole numbers or all names, received NoneType and str: -1 stands"),
        ([1, None, 2], "received NoneType and int: -1 stands"),
        (np.array(["a", 1, np.nan], object), "received float and int and str"),
        ([0.0, np.inf, 1.0], "received fractions or NaN"),
        ([0.0, 1e300, 1.0], "received fractions or NaN"),
        (np.array([b"a", b"b", b"a"]), "received |S1: convert"),
        ([1j, 0, 1], "received complex128: convert"),
        ([[1], [1, 2], [3]], "y cannot be read as one array"),
    ],
)
def test_what_are_no_labels_is_refused(given, message):
    with pytest.raises(InputError, match=re.escape(message)):
        as_labels("y", given, 3)


def test_labels_may_be_names_and_the_encoder_unfitted():
    names = np.where(LABELS == 0, "small", "large")
    encoder = ku.Autoencoder(**SMALL, epochs=1)
    classifier = ku.Classifier(encoder=encoder, epochs=1, steps=40, verbose=0).fit(IMAGES, names)
    assert classifier.method_ == "finetuned"
    assert list(classifier.classes_) == ["large", "small"]
    assert set(classifier.predict(IMAGES)) <= {"large", "small"}
    assert not hasattr(encoder, "encoder_")  # what was given is not changed
    assert classifier.get_params()["encoder__latent_dim"] == 8


def test_pipeline_and_grid_search():
    line = pipeline.make_pipeline(
        ku.Autoencoder(**SMALL, epochs=1), preprocessing.StandardScaler(), LogisticRegression()
    )
    assert line.fit(IMAGES, LABELS).predict(IMAGES).shape == (240,)
    search = model_selection.GridSearchCV(
        ku.Autoencoder(**SMALL, epochs=1), {"latent_dim": [1, 2]}, cv=2
    )
    search.fit(IMAGES)
    assert search.best_params_["latent_dim"] in (1, 2)
    assert search.best_score_ < 0.0


@pytest.mark.parametrize("kind", ["autoencoder", "gan", "classifier"])
def test_what_is_saved_comes_back(kind, request, tmp_path):
    estimator = request.getfixturevalue(kind)
    path = estimator.save(tmp_path / "saved")
    loaded = ku.load(path)
    assert type(loaded) is type(estimator)
    assert loaded.history_ == estimator.history_
    parameters = estimator.get_params(deep=False)
    parameters.pop("encoder", None)
    assert {name: loaded.get_params(deep=False)[name] for name in parameters} == parameters
    if kind == "classifier":
        assert (loaded.method_, loaded.encoder_) == ("graph_labels", None)
        np.testing.assert_array_equal(loaded.predict(IMAGES), estimator.predict(IMAGES))
    else:
        np.testing.assert_array_equal(loaded.sample(4, seed=1), estimator.sample(4, seed=1))
    if kind == "autoencoder":
        np.testing.assert_array_equal(loaded.predict(IMAGES), estimator.predict(IMAGES))
        assert loaded.best_epoch_ == estimator.best_epoch_
    with pytest.raises(ValueError, match="exists already"):
        estimator.save(path)
    assert not [name for name in os.listdir(tmp_path) if name != "saved"]


def test_a_file_holds_the_network_alone(autoencoder, tmp_path):
    path = autoencoder.save(tmp_path / "network.keras")
    loaded = ku.load(path)
    np.testing.assert_array_equal(loaded.transform(IMAGES), autoencoder.transform(IMAGES))
    with pytest.raises(ValueError, match="sample needs codes of training images"):
        loaded.sample(3)


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        ([], "is damaged"),
        ({"keywords": 3}, "is damaged"),
        ({"keywords": {"novel": 1}, "version": "9.1"}, r"\(novel\): install version 9.1"),
    ],
)
def test_keywords_of_another_version_are_refused(autoencoder, tmp_path, stored, message):
    path = autoencoder.save(tmp_path / "saved")
    (path / "estimator.json").write_text(json.dumps(stored))
    with pytest.raises(InputError, match=message):
        ku.load(path)


def test_a_program_alone_is_refused_in_pythons_words(tmp_path):
    (tmp_path / "saved_model.pb").write_bytes(b"")
    with pytest.raises(InputError, match=r"give the run's folder or a .keras file$"):
        ku.load(tmp_path)


def test_pickles(autoencoder):
    again = pickle.loads(pickle.dumps(autoencoder))  # noqa: S301 - made here
    np.testing.assert_array_equal(again.transform(IMAGES), autoencoder.transform(IMAGES))
    assert not hasattr(base.clone(autoencoder), "encoder_")


def test_samples_of_a_flow_come_back_from_files(tmp_path, monkeypatch):
    monkeypatch.setattr(code_flow, "_UNITS", 8)
    monkeypatch.setattr(code_flow, "_LEAST_STEPS", 10)
    fitted = ku.Autoencoder(**SMALL, epochs=1, sampler="flow").fit(IMAGES)
    drawn = fitted.sample(4, seed=2)
    assert drawn.shape == (4, 16, 16, 1)
    copies = [
        ku.load(fitted.save(tmp_path / "saved")),
        pickle.loads(pickle.dumps(fitted)),  # noqa: S301 - made here
    ]
    monkeypatch.setattr(code_flow, "train", None)  # it was saved
    for again in copies:
        np.testing.assert_array_equal(again.sample(4, seed=2), drawn)


def test_a_run_folder_is_written_only_where_it_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ku.Autoencoder(**SMALL, epochs=1).fit(IMAGES)
    assert os.listdir(tmp_path) == []
    fitted = ku.Autoencoder(**SMALL, epochs=2, log_dir="logs").fit(IMAGES)
    assert fitted.run_folder_.parent.samefile(tmp_path / "logs" / "ae")
    files = set(os.listdir(fitted.run_folder_))
    assert {"config.json", "history.csv", "model.keras", "train"} <= files
    loaded = ku.load(fitted.run_folder_)
    np.testing.assert_array_equal(loaded.sample(2, seed=1), fitted.sample(2, seed=1))


def test_images_of_a_part_are_taken_as_they_are():
    splits = ku.load_images("mnist", limit=200, test_limit=50)
    assert splits.train.images.shape == (200, 28, 28, 1)
    assert splits.train.labels.shape == (200,)
    assert len(splits.test) == 50
    images = np.asarray(splits.test)
    assert images.shape == (50, 28, 28, 1)
    assert np.asarray(splits.test, np.float64).dtype == np.float64
    some = splits.test[10:20]
    assert np.array_equal(some.images, images[10:20])
    assert np.array_equal(some.labels, splits.test.labels[10:20])
    ones = splits.test[splits.test.labels == 1]
    assert 0 < len(ones) < 50
    assert set(ones.labels) == {1}
    assert np.array_equal(splits.test[[4, -1]].images, images[[4, -1]])
    assert np.array_equal(splits.test[-1], images[-1])
    assert [image.shape for image in some] == 10 * [(28, 28, 1)]
    with pytest.raises(IndexError):
        splits.test[50]
    with pytest.raises(ValueError, match="copy=False"):
        np.asarray(splits.test, copy=False)
    fitted = ku.Autoencoder(**SMALL, epochs=1).fit(splits.train, validation=splits.validation)
    np.testing.assert_array_equal(
        fitted.transform(splits.test), fitted.transform(splits.test.images)
    )


def test_the_callers_random_numbers_and_settings_are_left_alone(autoencoder, tmp_path):
    def drawn():
        numbers = random.random(), np.random.random()  # noqa: NPY002, S311
        return *numbers, float(tf.random.normal(())), float(keras.random.normal(()))

    keras.utils.set_random_seed(5)
    expected = [drawn() for _ in range(3)]
    keras.utils.set_random_seed(5)
    assert drawn() == expected[0]
    keras.config.set_image_data_format("channels_first")
    keras.config.set_floatx("float16")
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        fitted = ku.Autoencoder(**SMALL, epochs=1, deterministic=True).fit(IMAGES)
        assert keras.config.image_data_format() == "channels_first"
        assert keras.config.floatx() == "float16"
        assert keras.config.dtype_policy().name == "mixed_bfloat16"
    finally:
        keras.config.set_image_data_format("channels_last")
        keras.config.set_floatx("float32")
        keras.config.set_dtype_policy("float32")
    assert {layer.compute_dtype for layer in fitted.decoder_.layers} == {"float32"}
    assert fitted.image_shape_ == (16, 16, 1)
    assert drawn() == expected[1]
    assert not config.is_op_determinism_enabled()
    ku.load(autoencoder.save(tmp_path / "saved"))
    assert drawn() == expected[2]


def test_same_seed_same_model():
    codes = [ku.Autoencoder(**SMALL, epochs=1).fit(IMAGES).transform(IMAGES) for _ in range(2)]
    np.testing.assert_allclose(codes[0], codes[1], atol=1e-4)


@pytest.mark.parametrize("kind", ["autoencoder", "gan", "classifier"])
def test_ctrl_c_leaves_a_fitted_estimator(kind, autoencoder, monkeypatch, capsys):
    seen = []

    def stop(self, batch, logs=None):
        seen.append(batch)
        if len(seen) == 20:
            raise KeyboardInterrupt

    monkeypatch.setattr(callbacks.EpochOrder, "on_train_batch_begin", stop, raising=False)
    if kind == "classifier":
        from kerasunsup.supervised import network_trainer

        monkeypatch.setattr(network_trainer.LearningCurve, "on_train_batch_begin", stop)
        fitted = ku.Classifier(encoder=autoencoder, steps=90, verbose=0).fit(IMAGES, LABELS)
        assert fitted.predict(IMAGES).shape == (240,)
        return
    if kind == "gan":
        small = {"base_filters": 4, "hidden_units": 8, "batch_size": 32, "verbose": 0}
        fitted = ku.GAN(**small, epochs=50).fit(IMAGES)
    else:
        fitted = ku.Autoencoder(**SMALL, epochs=50).fit(IMAGES)
    done = len(fitted.history_["epoch"])
    assert 1 <= done < 50
    assert f"stopped after {done} epochs" in "".join(capsys.readouterr())
    assert fitted.sample(2).shape == (2, 16, 16, 1)
    if kind == "autoencoder":
        held_out = fitted.history_["val_loss"][fitted.best_epoch_ - 1]
        assert held_out == min(fitted.history_["val_loss"])


def test_a_variational_autoencoder_has_the_same_methods(tmp_path):
    fitted = ku.Autoencoder(**SMALL, epochs=2, variational=True, beta=0.5).fit(IMAGES)
    assert {"loss", "reconstruction", "kl", "mse", "val_mse"} <= set(fitted.history_)
    means = fitted.transform(IMAGES[:3])
    np.testing.assert_allclose(
        fitted.inverse_transform(means)[..., 0], fitted.reconstruct(IMAGES[:3]), atol=1e-6
    )
    assert fitted.sample(2).shape == (2, 16, 16, 1)
    loaded = ku.load(fitted.save(tmp_path / "saved"))
    assert loaded.variational is True
    np.testing.assert_allclose(loaded.transform(IMAGES[:3]), means, atol=1e-5)
    (axes,) = ku.plot_history(fitted).axes
    np.testing.assert_allclose(axes.lines[0].get_ydata(), fitted.history_["mse"])


def test_a_signal_stops_a_training(monkeypatch):
    def press(self, epoch, logs=None):
        if epoch == 2:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(callbacks.EpochProgress, "on_epoch_end", press)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # pytest's workers ignore it
    try:
        fitted = ku.Autoencoder(**SMALL, epochs=40, patience=0).fit(IMAGES)
    finally:
        signal.signal(signal.SIGINT, before)
    assert fitted.history_["epoch"] == [1, 2, 3]
    assert fitted.transform(IMAGES).shape == (240, 8)


def test_one_bar_or_nothing(capfd, monkeypatch):
    from kerasunsup import progress

    ku.Autoencoder(**SMALL, epochs=1).fit(IMAGES)
    assert capfd.readouterr() == ("", "")
    monkeypatch.setattr(progress, "is_terminal", lambda: True)
    ku.Autoencoder(**{**SMALL, "verbose": 1}, epochs=2).fit(IMAGES)
    out, err = capfd.readouterr()
    assert out == ""
    assert "epoch 2/2" in err
    assert err.strip().count("\n") == 0  # one bar
    ku.Autoencoder(**SMALL, epochs=1).fit(IMAGES)
    assert capfd.readouterr() == ("", "")


def test_figures_are_shown_inline(autoencoder, gan):
    noisy = np.clip(IMAGES / 255.0 + 0.1, 0.0, 1.0)
    for figure in (
        ku.plot_reconstructions(autoencoder, IMAGES, inputs=noisy, most=4),
        ku.plot_codes(autoencoder, IMAGES, LABELS),
        ku.plot_history(autoencoder),
        ku.plot_history(gan),
        ku.plot_samples(autoencoder, n=3),
        ku.plot_samples(gan, n=12),
    ):
        assert figure._repr_png_().startswith(b"\x89PNG")
    picture = figure._repr_png_()
    again = pickle.loads(pickle.dumps(figure))  # noqa: S301 - made here
    assert again._repr_png_() == picture
    again.suptitle("another")
    assert again._repr_png_() != picture
    assert pyplot.get_fignums() == []  # else a notebook would show it twice


@pytest.mark.parametrize(
    ("labels", "class_names", "numbers", "names"),
    [
        ([1, 0, 2], None, [1, 0, 2], None),
        ([1, 0, 1], ["zero", 1], [1, 0, 1], ["zero", "1"]),
        ([3, -1, 7], None, [0, 2, 1], ["3", "7", "none"]),
        ([1, -1, 0], ["a", "b"], [1, 2, 0], ["a", "b", "none"]),
        (["b", -1, "a"], None, [1, 2, 0], ["a", "b", "none"]),
        ([True, False, True], None, [1, 0, 1], None),
    ],
)
def test_codes_are_coloured_by_labels_as_a_classifier_takes_them(
    labels, class_names, numbers, names
):
    result = plots._numbered(as_labels("labels", labels, 3), class_names)
    assert (result[0].tolist(), result[1]) == (numbers, names)


@pytest.mark.parametrize("plot", [ku.plot_codes, ku.plot_reconstructions, ku.plot_samples])
@pytest.mark.parametrize("given", [None, ku.Autoencoder, "run"])
def test_figures_of_what_is_no_estimator_are_refused(plot, given):
    with pytest.raises(TypeError, match=r"this figure is of a fitted Autoencoder.*received"):
        plot(given, *([] if plot is ku.plot_samples else [IMAGES]))


def test_a_classifier_has_no_such_figures(classifier):
    with pytest.raises(TypeError, match="Autoencoder or GAN, received an object of type Classifi"):
        ku.plot_history(classifier)


def part_of_images():
    return image_arrays.LabelledImages(image_arrays.as_image_set(IMAGES), LABELS)


def test_a_part_of_images_is_shown_in_short():
    assert repr(part_of_images()) == "LabelledImages(240 of 16 x 16 x 1, labels)"


@pytest.mark.parametrize("index", [None, True, [[0, 1], [2, 3]]])
def test_what_is_no_index_of_images_is_refused(index):
    with pytest.raises(IndexError, match="a number, a slice, positions or a mask"):
        part_of_images()[index]


COLOUR = np.zeros((30, 16, 16, 3), np.uint8)
WRONG = {
    "latent_dim must be at least 1, received 0": lambda _: ku.Autoencoder(latent_dim=0).fit(IMAGES),
    "log_dir is empty": lambda _: ku.Autoencoder(log_dir="").fit(IMAGES),
    "epochs must be of type int, received 2.5": lambda _: ku.GAN(epochs=2.5).fit(IMAGES),
    "contamination must be at most 0.5": lambda _: ku.Autoencoder(contamination=2.0).fit(IMAGES),
    "crop 16 cuts the whole image out": lambda _: ku.Autoencoder(crop=16).fit(IMAGES),
    "must be 16 x 16 x 1 .*received 16 x 16 x 3": lambda ae: ae.transform(COLOUR),
    r"\(num_images, height, width\).*received \(16, 16\)": lambda ae: ae.transform(IMAGES[0]),
    r"in \[0, 1\], received 0 to 510": lambda ae: ae.transform(IMAGES * 2.0 / IMAGES.max() * 255),
    r"in \[0, 1\], received nan": lambda ae: ae.transform(np.full((3, 16, 16), np.nan)),
    "dtype uint8 or float, received int64": lambda ae: ae.transform(IMAGES.astype(int)),
    "dtype uint8 or float, received <U5": lambda ae: ae.transform(["a.png", "b.png"][:1] * 3),
    "images cannot be read as one array": lambda ae: ae.transform([IMAGES[0], IMAGES[0, :9]]),
    "give .train, .validation or .test": lambda ae: ae.transform(
        image_arrays.LoadedImages(*3 * [None], "mnist", None)
    ),
    "images must be one or more, received none": lambda ae: ae.score(part_of_images()[:0]),
    r"one or more, received \(3, 0, 16\)": lambda ae: ae.transform(np.zeros((3, 0, 16))),
    "received none: give some": lambda _: ku.Autoencoder(**SMALL).fit(
        IMAGES, validation=part_of_images()[:0]
    ),
    "ten or more|10 or more": lambda _: ku.Autoencoder(**SMALL).fit(IMAGES[:5]),
    "sides must be 8 to 128": lambda _: ku.Autoencoder(**SMALL).fit(IMAGES[:, :4, :4]),
    "sides must be 16 to 64": lambda _: ku.GAN(verbose=0).fit(IMAGES[:, :9, :9]),
    r"codes must be \(num_codes, 8\), received \(2, 5\)": lambda ae: ae.inverse_transform(
        np.zeros((2, 5))
    ),
    "labels must be whole numbers from 0, received -2": lambda ae: ku.plot_codes(
        ae, IMAGES, LABELS - 2
    ),
    "labels are names already": lambda ae: ku.plot_codes(
        ae, IMAGES, LABELS.astype(str), ["a", "b"]
    ),
    r"one label an image \(240,\), received \(5,\)": lambda ae: ku.plot_codes(ae, IMAGES, range(5)),
    "images must be 4 or more, received 3": lambda ae: ku.plot_codes(ae, IMAGES[:3]),
    "most must be a whole number of at least 1, received 2.5": lambda ae: ku.plot_reconstructions(
        ae, IMAGES, most=2.5
    ),
    "codes must be numbers, received <U1": lambda ae: ae.inverse_transform(8 * ["a"]),
    "codes must be numbers, received complex": lambda ae: ae.inverse_transform([8 * [1j]]),
    "codes cannot be read as one array": lambda ae: ae.inverse_transform([[1.0], [1.0, 2.0]]),
    "codes must be finite": lambda ae: ae.inverse_transform(np.full((2, 8), np.inf)),
    "n must be a whole number of at least 1, received 0": lambda ae: ae.sample(0),
    "seed must be a whole number of at least 0, received -1": lambda ae: ae.sample(1, seed=-1),
    "seed must be at most 4294967295": lambda ae: ae.sample(1, seed=2**40),
    "fewer groups": lambda ae: ae.cluster(IMAGES, 100),
    "two classes or more, received 1": lambda ae: ku.Classifier(encoder=ae).fit(
        IMAGES, np.where(LABELS == 0, 0, -1)
    ),
    r"one label an image \(240,\), received \(3,\)": lambda ae: ku.Classifier(encoder=ae).fit(
        IMAGES, [0, 1, 1]
    ),
    "encoder must be an Autoencoder": lambda _: ku.Classifier(encoder=3).fit(IMAGES, LABELS),
    "is not there": lambda _: ku.load("no/such/run"),
    "no such file or folder": lambda _: ku.load_images("no_such_folder/images.npz"),
    "image_size must be at least 8": lambda _: ku.load_images("mnist", image_size=2),
}


@pytest.mark.parametrize("message", WRONG)
def test_wrong_use_is_one_clear_line(message, autoencoder):
    with pytest.raises(ValueError, match=message) as caught:
        WRONG[message](autoencoder)
    assert "\n" not in str(caught.value)
    assert "--" not in str(caught.value)


def test_what_is_not_fitted_says_so():
    for call in (
        lambda: ku.Autoencoder().transform(IMAGES),
        lambda: ku.GAN().sample(),
        lambda: ku.Classifier().predict(IMAGES),
        lambda: ku.Autoencoder().save("nowhere"),
        lambda: ku.plot_history(ku.Autoencoder()),
    ):
        with pytest.raises(exceptions.NotFittedError, match="call fit"):
            call()
