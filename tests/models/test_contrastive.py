"""The contrastive loss beside a plain one in NumPy, and one step by it."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasunsup.data import augmentation
from kerasunsup.data.augmentation import Deformation
from kerasunsup.models import contrastive, fixmatch

SHAPE = (8, 8, 1)
RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.random((12, *SHAPE), np.float32)
FIRST, SECOND = RANDOM.normal(size=(2, 5, 3)).astype(np.float32)
LIMITS = Deformation(rotation=0.3, scale=0.1, shear=0.1, shift=0.1)


def plain_nt_xent(first: np.ndarray, second: np.ndarray, temperature: float) -> float:
    """Equation 1 as it stands there, for every ordered pair of views of an image, and the mean."""
    views = np.concatenate([first, second]).astype(np.float64)
    number, losses = len(first), []
    for i in range(2 * number):
        partner = (i + number) % (2 * number)

        def similarity(j, i=i):
            product = views[i] @ views[j]
            cosine = product / np.linalg.norm(views[i]) / np.linalg.norm(views[j])
            return np.exp(cosine / temperature)

        others = sum(similarity(k) for k in range(2 * number) if k != i)
        losses.append(-np.log(similarity(partner) / others))
    return float(np.mean(losses))


@pytest.mark.parametrize("temperature", [0.1, 0.5, 2.0])
def test_the_loss_is_that_of_the_paper(temperature):
    found = float(contrastive.nt_xent(FIRST, SECOND, temperature))
    assert found == pytest.approx(plain_nt_xent(FIRST, SECOND, temperature), rel=1e-5)


def test_the_loss_does_not_care_which_view_comes_first_nor_how_long_projections_are():
    found = float(contrastive.nt_xent(FIRST, SECOND, 0.5))
    assert float(contrastive.nt_xent(SECOND, FIRST, 0.5)) == pytest.approx(found, rel=1e-6)
    longer = float(contrastive.nt_xent(3.0 * FIRST, 0.1 * SECOND, 0.5))
    assert longer == pytest.approx(found, rel=1e-5)


def test_a_view_is_not_its_own_partner_and_all_alike_are_chance():
    alike = np.ones((4, 3), np.float32)
    assert float(contrastive.nt_xent(alike, alike, 0.5)) == pytest.approx(np.log(7), rel=1e-5)
    # One image alone: its other view is all that there is.
    assert float(contrastive.nt_xent(FIRST[:1], SECOND[:1], 0.5)) == pytest.approx(0.0, abs=1e-6)


def test_zeros_and_bfloat16_leave_a_finite_loss():
    zeros = tf.zeros((3, 4))
    with tf.GradientTape() as tape:
        tape.watch(zeros)
        loss = contrastive.nt_xent(zeros, zeros, 0.5)
    assert float(loss) == pytest.approx(np.log(5), rel=1e-5)
    assert np.isfinite(tape.gradient(loss, zeros)).all()
    half = [tf.cast(view, tf.bfloat16) for view in (FIRST, SECOND)]
    found = contrastive.nt_xent(*half, 0.5)
    assert found.dtype == "float32"
    assert float(found) == pytest.approx(plain_nt_xent(FIRST, SECOND, 0.5), rel=0.02)


def build(**options) -> contrastive.Contrastive:
    keras.utils.set_random_seed(3)
    inputs = keras.Input(SHAPE)
    encoder = keras.Model(inputs, keras.layers.Dense(4)(keras.layers.Flatten()(inputs)))
    head = contrastive.projection_head(4, hidden_units=6, dim=3)
    model = contrastive.Contrastive(encoder, head, **{"limits": LIMITS, "seed": 7, **options})
    model.compile(optimizer=keras.optimizers.SGD(0.1), jit_compile=False)
    return model


def step(model: contrastive.Contrastive) -> float:
    dataset = tf.data.Dataset.from_tensors((IMAGES, np.zeros(12, np.int64)))
    return model.fit(dataset, shuffle=False, verbose=0).history["loss"][0]


def test_a_step_compares_two_deformed_views_of_each_image_and_moves_both_networks():
    model = build(temperature=0.2)
    views = [
        augmentation.deform(IMAGES, 1.0, fixmatch.step_seed(7, 0, part), LIMITS)
        for part in range(2)
    ]
    assert np.abs(views[0] - views[1]).max() > 0.1
    projections = [np.array(model.head(model.encoder(view))) for view in views]
    before = [np.array(weight) for weight in model.weights]
    assert step(model) == pytest.approx(plain_nt_xent(*projections, 0.2), rel=1e-4)
    # The last bias moves all projections alike, yet cosines follow it too.
    moved = [
        np.abs(np.array(new) - old).max() for new, old in zip(model.weights, before, strict=True)
    ]
    assert len(moved) == 6
    assert min(moved) > 0
    np.testing.assert_array_equal(model(IMAGES), model.encoder(IMAGES))


def test_the_same_seed_gives_the_same_step_and_another_another():
    assert step(build()) == step(build())
    assert step(build()) != step(build(seed=8))


def test_a_temperature_of_zero_is_refused():
    with pytest.raises(ValueError, match="temperature must be above 0, received 0"):
        build(temperature=0.0)
