"""The compiled Adam against Keras's own."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasunsup.models import optimizers

RATE, DECAY = 0.01, 0.1


def model_with(optimizer, *, jit_compile=False) -> keras.Model:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6,))
    x = keras.layers.Dense(8, activation="tanh")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(3)(x))
    model.compile(optimizer=optimizer, loss="mean_squared_error", jit_compile=jit_compile)
    return model


def data() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    return (
        random.normal(size=(64, 6)).astype(np.float32),
        random.normal(size=(64, 3)).astype(np.float32),
    )


def train(model, epochs=3) -> None:
    model.fit(*data(), batch_size=8, epochs=epochs, shuffle=False, verbose=0)


def assert_same(model, other, tolerance) -> None:
    for ours, theirs in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance)


@pytest.mark.parametrize("decay", [0.0, DECAY])
@pytest.mark.parametrize("steps_per_execution", [1, 4])
def test_fused_update_gives_the_weights_of_keras_adam(decay, steps_per_execution):
    fused = model_with(optimizers.adam(RATE, weight_decay=decay))
    plain = model_with(keras.optimizers.Adam(RATE, weight_decay=decay or None))
    start = [weight.copy() for weight in fused.get_weights()]
    fused.steps_per_execution = steps_per_execution
    train(fused)
    train(plain)
    assert_same(fused, plain, 2e-6)
    moved = [np.abs(a - b).max() for a, b in zip(fused.get_weights(), start, strict=True)]
    assert min(moved) > 0.01
    assert int(fused.optimizer.iterations) == 24


def test_fused_update_outside_a_graph_is_that_of_keras():
    fused = model_with(optimizers.adam(RATE, weight_decay=DECAY))
    plain = model_with(keras.optimizers.Adam(RATE, weight_decay=DECAY))
    for model in (fused, plain):
        gradients = [tf.ones_like(variable) for variable in model.trainable_variables]
        model.optimizer.apply(gradients, model.trainable_variables)
    assert_same(fused, plain, 0.0)
    assert int(fused.optimizer.iterations) == 1


def test_decay_shrinks_a_weight_without_gradient_by_rate_times_decay():
    optimizer = optimizers.adam(RATE, weight_decay=DECAY)
    variable = keras.Variable(np.array([2.0, -4.0], np.float32))

    @tf.function
    def step():
        optimizer.apply([tf.zeros(2)], [variable])

    step()
    once = np.array([2.0, -4.0]) * (1 - RATE * DECAY)
    np.testing.assert_allclose(variable.numpy(), once, rtol=1e-6)
    step()
    np.testing.assert_allclose(variable.numpy(), once * (1 - RATE * DECAY), rtol=1e-6)


def test_no_decay_leaves_a_weight_without_gradient_alone():
    optimizer = optimizers.adam(RATE)
    assert optimizer.weight_decay is None
    variable = keras.Variable(np.ones(2, np.float32))
    tf.function(lambda: optimizer.apply([tf.zeros(2)], [variable]))()
    np.testing.assert_array_equal(variable.numpy(), [1.0, 1.0])


def test_plain_adam_can_be_asked_for():
    plain = optimizers.adam(RATE, weight_decay=DECAY, fused=False)
    assert type(plain) is optimizers.AveragingAdam
    assert plain.weight_decay == DECAY
    assert float(plain.learning_rate) == pytest.approx(RATE)
    assert type(optimizers.adam(RATE)) is optimizers.FusedAdam


def test_training_goes_on_identically_from_restored_variables():
    whole = model_with(optimizers.adam(RATE, weight_decay=DECAY))
    train(whole, epochs=2)
    stored = [variable.numpy() for variable in (*whole.variables, *whole.optimizer.variables)]
    train(whole, epochs=2)

    resumed = model_with(optimizers.adam(RATE, weight_decay=DECAY))
    resumed.optimizer.build(resumed.trainable_variables)
    variables = [*resumed.variables, *resumed.optimizer.variables]
    for variable, value in zip(variables, stored, strict=True):
        variable.assign(value)
    train(resumed, epochs=2)
    assert_same(resumed, whole, 0.0)
    for ours, theirs in zip(resumed.optimizer.variables, whole.optimizer.variables, strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


@pytest.mark.parametrize("fused", [True, False])
def test_averages_are_kept_beside_the_weights_and_do_not_change_them(fused):
    averaged = model_with(optimizers.adam(RATE, beta_1=0.5, averaging=0.3, fused=fused))
    plain = model_with(keras.optimizers.Adam(RATE, beta_1=0.5))
    batch = [part[:8] for part in data()]
    expected = None
    for step in range(8):
        for model in (averaged, plain):
            model.train_on_batch(*batch)
        decay = min(0.3, step / (9 + step))  # 0.3 from step 4 on
        now = averaged.get_weights()
        expected = now if expected is None else [
            decay * old + (1 - decay) * new for old, new in zip(expected, now, strict=True)
        ]  # fmt: skip
    assert_same(averaged, plain, 1e-6)
    averages = averaged.optimizer._model_variables_moving_average
    for average, value, weight in zip(averages, expected, averaged.get_weights(), strict=True):
        np.testing.assert_allclose(np.array(average), value, atol=1e-6)
        assert np.abs(np.array(average) - weight).max() > 1e-4
    assert not optimizers.adam(RATE).use_ema


def test_the_average_forgets_the_first_weights_soon():
    model = model_with(optimizers.adam(RATE, averaging=0.999))
    batch = [part[:8] for part in data()]
    model.train_on_batch(*batch)
    for average in model.optimizer._model_variables_moving_average:
        average.assign(1000.0 + average)  # what is left of this is what is left of the first
    for _ in range(60):
        model.train_on_batch(*batch)
    for average, weight in zip(
        model.optimizer._model_variables_moving_average, model.get_weights(), strict=True
    ):
        assert np.abs(np.array(average) - weight).max() < 1.0  # Keras's own keeps 940


def test_a_fused_optimizer_can_be_saved_and_loaded(tmp_path):
    model = model_with(optimizers.adam(RATE, weight_decay=DECAY))
    train(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded.optimizer) is optimizers.FusedAdam
    train(model)
    train(loaded)
    assert_same(model, loaded, 0.0)
