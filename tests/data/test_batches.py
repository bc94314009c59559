"""The order and the content of batches."""

import itertools
import time

import numpy as np
import pytest
import tensorflow as tf
from image_sources import noise, numbered_set, orders

from kerasunsup.data import batches as data_batches
from kerasunsup.data import images as data_images
from kerasunsup.data import pixel_storage
from kerasunsup.data.image_set import ImageSet


def test_batches_of_a_set_as_large_as_mnist_are_fast():
    pool = ImageSet(pixel_storage.MemoryStore(noise(55_000, 28, 28, 1)))
    batches = iter(data_batches.training_batches(pool, 128, seed=0))
    next(batches)
    start = time.perf_counter()
    for _ in range(200):
        next(batches)
    assert (time.perf_counter() - start) / 200 < 0.005  # 0.3 ms on a machine at rest


def test_an_epoch_is_full_batches_in_a_new_order():
    epochs = [
        orders(data_batches.training_batches(numbered_set(50), 16, seed=3, epoch=epoch))
        for epoch in (0, 1)
    ]
    assert data_batches.steps_per_epoch(numbered_set(50), 16) == 3
    assert [[len(batch) for batch in epoch] for epoch in epochs] == [[16] * 3] * 2
    assert [len(set(itertools.chain(*epoch))) for epoch in epochs] == [48] * 2
    assert epochs[0] != epochs[1]
    assert int(data_batches.training_batches(numbered_set(50), 16, seed=3).cardinality()) == 3


def test_order_depends_on_seed_and_epoch_only():
    pool = numbered_set(50)
    first = orders(data_batches.training_batches(pool, 16, seed=3))
    assert first == orders(data_batches.training_batches(pool, 16, seed=3))
    assert first != orders(data_batches.training_batches(pool, 16, seed=4))
    tf.random.set_seed(99)
    batches = data_batches.training_batches(pool, 16, seed=3)
    assert first == orders(batches) == orders(batches)
    smaller = orders(data_batches.training_batches(pool, 8, seed=3))
    assert smaller[0] + smaller[1] == first[0]


def noisy(inputs, seed):
    return inputs + tf.random.stateless_normal(tf.shape(inputs), seed), seed


def test_going_on_at_an_epoch_gives_the_tail():
    """A variable that counts the epochs, as in a training, and again from the third on."""

    def elements(first_epoch, num_epochs):
        epoch = tf.Variable(first_epoch, dtype=tf.int64)
        batches = data_batches.training_batches(
            numbered_set(50), 16, seed=3, epoch=epoch, prepare=noisy
        )
        seen = []
        for number in range(first_epoch, first_epoch + num_epochs):
            epoch.assign(number)
            seen += [[part.numpy() for part in element] for element in batches]
        return seen

    whole, tail = elements(0, 4), elements(2, 2)
    assert (len(whole), len(tail)) == (12, 6)
    for (inputs, seed), (again, same_seed) in zip(whole[6:], tail, strict=True):
        assert np.array_equal(inputs, again)
        assert np.array_equal(seed, same_seed)
    assert len({tuple(seed) for _, seed in whole}) == 12
    assert whole[0][1].dtype == np.int32
    fixed = data_batches.training_batches(numbered_set(50), 16, seed=3, epoch=3, prepare=noisy)
    for (inputs, _), (again, _) in zip(whole[9:], fixed, strict=True):
        assert np.array_equal(inputs, again)


def test_batches_are_the_same_where_no_map_is_parallel(monkeypatch):
    def batches() -> list[np.ndarray]:
        made = data_batches.training_batches(numbered_set(50), 16, seed=3, epoch=2)
        return [images.numpy() for images, _ in made]

    usual = batches()
    assert data_batches.map_options(2) == {"num_parallel_calls": 2, "deterministic": True}
    monkeypatch.setattr(tf.data, "AUTOTUNE", None)
    assert data_batches.map_options(2) == {}
    np.testing.assert_array_equal(batches(), usual)


def test_fewer_images_than_a_batch_make_one_batch():
    pool = numbered_set(5)
    assert data_batches.steps_per_epoch(pool, 16) == 1
    batches = orders(data_batches.training_batches(pool, 16, seed=0))
    assert [sorted(batch) for batch in batches] == [list(range(5))]


def test_images_are_deformed_another_way_in_each_epoch_before_they_are_prepared():
    pool = ImageSet(pixel_storage.MemoryStore(noise(40, 12, 12, 1)))

    def epoch_of(number, prepare=None):
        batches = data_batches.training_batches(
            pool, 20, seed=3, epoch=number, prepare=prepare, deformation=0.5
        )
        return [tuple(part.numpy() for part in element) for element in batches]

    plain = [batch.numpy() for batch, _ in data_batches.training_batches(pool, 20, seed=3)]
    first, again, second = epoch_of(0), epoch_of(0), epoch_of(1)
    for (inputs, targets), repeated, original in zip(first, again, plain, strict=True):
        np.testing.assert_array_equal(inputs, targets)
        np.testing.assert_array_equal(inputs, repeated[0])
        assert (abs(inputs - original).mean(axis=(1, 2, 3)) > 0.01).all()
    # The same image, wherever the order of an epoch has it, is no second time the same.
    assert not {image.tobytes() for batch, _ in first for image in batch} & {
        image.tobytes() for batch, _ in second for image in batch
    }
    given = epoch_of(0, prepare=lambda images, seed: (images, seed))
    for (inputs, seed), (expected, _) in zip(given, first, strict=True):
        np.testing.assert_array_equal(inputs, expected)
        assert seed.shape == (2,)


def labelled(num_images: int, batch_size: int, num_steps: int, *, seed: int = 3):
    """The batches of numbered images whose labels are a known function of the number."""
    labels = (np.arange(num_images) * 7) % 10
    return data_batches.labelled_batches(
        numbered_set(num_images), labels, batch_size, seed=seed, num_steps=num_steps
    )


def test_labelled_batches_are_the_training_batches_epoch_by_epoch():
    expected = [
        batch
        for epoch in range(3)
        for batch in orders(
            data_batches.training_batches(numbered_set(50), 16, seed=3, epoch=epoch)
        )
    ]
    assert len(expected) == 9
    assert orders(labelled(50, 16, 9)) == expected
    assert orders(labelled(50, 16, 9, seed=4)) != expected
    batches = labelled(50, 16, 9)
    assert orders(batches) == orders(batches)  # a second pass begins at epoch 0 again


def test_each_label_goes_with_its_image():
    for inputs, targets in labelled(50, 16, 6):
        numbers = data_images.to_uint8(inputs.numpy())[:, 0, 0, 0].astype(np.int64)
        assert np.array_equal(targets, (numbers * 7) % 10)
        assert (inputs.dtype, targets.dtype) == (tf.float32, tf.int64)


@pytest.mark.parametrize("num_steps", [1, 3, 4, 7, 200])
def test_labelled_batches_are_as_many_as_asked_for(num_steps):
    batches = labelled(50, 16, num_steps)
    assert int(batches.cardinality()) == num_steps
    assert [len(batch) for batch in orders(batches)] == [16] * num_steps
    assert batches.element_spec[0].shape.as_list() == [16, 8, 8, 1]
    assert batches.element_spec[1].shape.as_list() == [16]


def test_fewer_labelled_images_than_a_batch_are_a_batch_in_new_orders():
    batches = orders(labelled(5, 16, 12))
    assert [sorted(batch) for batch in batches] == [list(range(5))] * 12
    assert len({tuple(batch) for batch in batches}) > 6


@pytest.mark.parametrize("on_disk", [False, True])
def test_batches_have_static_shapes_and_exact_values(on_disk, monkeypatch):
    pixels = np.arange(256, dtype=np.uint8).reshape(4, 8, 8, 1)
    if on_disk:
        writer = pixel_storage.Writer(4, 0)
        writer.append(pixels)
        pool = ImageSet(writer.finish())
    else:
        pool = ImageSet(pixel_storage.MemoryStore(pixels))
    training = data_batches.training_batches(pool, 3, seed=0)
    assert training.element_spec[0].shape.as_list() == [3, 8, 8, 1]
    batches = data_batches.evaluation_batches(pool, 3)
    assert batches.element_spec[0].shape.as_list() == [None, 8, 8, 1]
    assert int(batches.cardinality()) == 2
    gathered = np.concatenate([inputs.numpy() for inputs, _ in batches])
    assert gathered.dtype == np.float32
    assert np.array_equal(gathered, data_images.to_unit(pixels))
    assert np.array_equal(pool.array(), data_images.to_unit(pixels))


def test_evaluation_is_in_order_and_prepared_alike_every_time():
    batches = data_batches.evaluation_batches(
        numbered_set(10), 4, prepare=lambda inputs, seed: (inputs, seed)
    )
    first, second = ([seed.numpy().tolist() for _, seed in batches] for _ in range(2))
    assert first == second
    assert len({tuple(seed) for seed in first}) == 3
    assert orders(batches) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
