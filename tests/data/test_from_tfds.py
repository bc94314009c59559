"""The packaged MNIST, and data sets by their TFDS names."""

import errno
import logging
import re
import time

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from image_sources import noise, refusal, settings

from kerasunsup.data import from_tfds
from kerasunsup.data import images as data_images
from kerasunsup.data import splits as data_splits


def test_mnist_is_whole_needs_no_network_and_equals_what_tfds_reads(monkeypatch, capfd):
    def refuse(*_args, **_kwargs):
        raise OSError("no network here")

    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setattr(logging.root, "handlers", [])
    start = time.perf_counter()
    mnist = data_splits.load(settings("mnist"))
    assert time.perf_counter() - start < 20.0  # about 2 s on a machine at rest
    output, error = capfd.readouterr()
    # TensorFlow's own log is there in tests alone: see `tensorflow_startup`.
    ours = [line for line in error.splitlines() if not re.match(r"[EIW]\d{4} |WARNING: All", line)]
    assert (output, ours) == ("", [])
    assert logging.root.handlers == []  # else a program's own `basicConfig` would do nothing
    assert [len(mnist.train), len(mnist.validation), len(mnist.test)] == [55_000, 5000, 10_000]
    assert mnist.image_shape == (28, 28, 1)
    assert mnist.class_names == tuple("0123456789")
    assert mnist.train.files is None
    assert mnist.labels.train.dtype == np.int64
    expected = tfds.load(
        "mnist", data_dir=str(from_tfds.PACKAGED), split="test", batch_size=-1, download=False
    )
    assert np.array_equal(mnist.test.array(), data_images.to_unit(expected["image"].numpy()))
    assert np.array_equal(mnist.labels.test, expected["label"].numpy())


def test_missing_mnist_is_one_line(monkeypatch, tmp_path):
    monkeypatch.setattr(from_tfds, "PACKAGED", tmp_path)
    assert "missing or damaged" in refusal("mnist")


def test_unknown_name_suggests_the_closest():
    text = refusal("cifar01")
    assert "no such file or folder" in text
    assert "cifar10" in text


def test_unknown_configuration_is_one_line():
    assert "cannot use this name" in refusal("mnist/nonsense")


def test_missing_network_is_one_line(monkeypatch):
    def refuse(*_args, **_kwargs):
        raise ConnectionError("Failed to resolve\nhost")

    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", refuse)
    text = refusal("fashion_mnist")
    assert "could not be downloaded (ConnectionError: Failed to resolve host)" in text
    assert "network" in text


def test_full_disk_while_downloading_goes_through(monkeypatch):
    def refuse(*_args, **_kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", refuse)
    with pytest.raises(OSError, match="No space left"):
        data_splits.load(settings("fashion_mnist"))


class FakeInfo:
    def __init__(self, features, counts):
        self.features = tfds.features.FeaturesDict(features)
        self.splits = {
            split: type("Info", (), {"num_examples": count}) for split, count in counts.items()
        }


class FakeBuilder:
    """Stands for a TFDS data set that is on disk already."""

    def __init__(self, features, examples):
        self.info = FakeInfo(features, {split: len(part) for split, part in examples.items()})
        self._examples = examples

    def as_dataset(self, *, split, read_config, decoders):
        del read_config, decoders
        examples = self._examples[split]
        signature = {
            key: tf.TensorSpec(value.shape if key == "label" else (None, None, None), value.dtype)
            for key, value in examples[0].items()
        }
        return tf.data.Dataset.from_generator(lambda: examples, output_signature=signature)


def use_tfds(monkeypatch, features, **examples):
    builder = FakeBuilder(features, examples)
    monkeypatch.setattr(from_tfds, "_prepared_builder", lambda _name: builder)


def tfds_examples(pixels, labels=None):
    labels = range(len(pixels)) if labels is None else labels
    return [
        {"image": picture, "label": np.int64(label % 3)}
        for picture, label in zip(pixels, labels, strict=True)
    ]


LABELLED = {
    "image": tfds.features.Image(),
    "label": tfds.features.ClassLabel(names=["ant", "bee", "cat"]),
}


def test_tfds_test_split_is_the_test_set(monkeypatch):
    pixels = noise(40, 8, 8, 3)
    use_tfds(
        monkeypatch,
        LABELLED,
        train=tfds_examples(pixels[:30]),
        validation=tfds_examples(pixels[:2]),
        test=tfds_examples(pixels[30:]),
    )
    splits = data_splits.load(settings("cifar10"))
    assert np.array_equal(splits.test.array(), data_images.to_unit(pixels[30:]))
    assert splits.class_names == ("ant", "bee", "cat")
    assert splits.labels.test.tolist() == [index % 3 for index in range(10)]
    assert (len(splits.train), len(splits.validation), splits.name) == (27, 3, "cifar10")


def test_tfds_validation_split_takes_the_place_of_a_missing_test_split(monkeypatch):
    pixels = noise(40, 8, 8, 4)
    features = {"image": tfds.features.Image()}
    parts = {"train": pixels[:30], "validation": pixels[30:]}
    use_tfds(
        monkeypatch,
        features,
        **{name: [{"image": picture} for picture in part] for name, part in parts.items()},
    )
    splits = data_splits.load(settings("cifar10"), memory_limit=0)
    assert len(splits.test) == 10
    assert splits.image_shape == (8, 8, 3)  # opacity laid over white
    assert splits.labels is None
    assert splits.class_names is None


def test_tfds_files_on_disk_are_read_in_their_order(monkeypatch, tmp_path):
    pixels = noise(30, 8, 9, 3)
    features = {**LABELLED, "mask": tfds.features.Image(shape=(None, None, 1))}
    examples = [{**example, "mask": noise(5, 5, 1)} for example in tfds_examples(pixels)]
    part = tf.data.Dataset.from_generator(
        lambda: examples,
        output_signature={
            "image": tf.TensorSpec((None, None, 3), tf.uint8),
            "label": tf.TensorSpec((), tf.int64),
            "mask": tf.TensorSpec((None, None, 1), tf.uint8),
        },
    )
    builder = tfds.dataset_builders.store_as_tfds_dataset(
        name="small",
        version="1.0.0",
        features=tfds.features.FeaturesDict(features),
        split_datasets={"train": part},
        data_dir=str(tmp_path),
        disable_shuffling=True,
    )
    monkeypatch.setattr(from_tfds, "_prepared_builder", lambda _name: builder)
    source = data_splits.read("small")
    assert np.array_equal(source.store.read(np.arange(30)), pixels)
    assert source.labels.tolist() == [index % 3 for index in range(30)]
    assert source.num_test == 0


def test_tfds_images_of_differing_sizes_need_image_size(monkeypatch):
    mixed = tfds_examples([noise(8, 8, 3), noise(9, 8, 3)] * 10)
    use_tfds(monkeypatch, LABELLED, train=mixed)
    assert "--image-size" in refusal("cifar10")
    assert data_splits.load(settings("cifar10", image_size=8)).image_shape == (8, 8, 3)


def test_tfds_without_usable_images_is_one_line(monkeypatch):
    use_tfds(monkeypatch, {"text": tfds.features.Text()}, train=[{"text": "a"}])
    assert "no feature 'image'" in refusal("glue")
    examples = tfds_examples([np.zeros((8, 8, 1), np.uint16)])
    use_tfds(monkeypatch, LABELLED, train=examples)
    assert "uint16" in refusal("cifar10")
    use_tfds(monkeypatch, LABELLED, train=tfds_examples([noise(200, 200, 3)]))
    assert "--image-size" in refusal("cifar10")
