"""What draws new codes of a run: fitted once, read back, shipped with the decoder."""

import pickle

import numpy as np
import pytest
import tensorflow as tf
from settings_command import refusal

from kerasunsup.evaluation import latent_space
from kerasunsup.models import code_flow, export, networks
from kerasunsup.training import code_sampler, files


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(code_flow, "_UNITS", 32)
    monkeypatch.setattr(code_flow, "_LAYERS", 1)
    monkeypatch.setattr(code_flow, "_LEAST_STEPS", 30)


def clusters(number: int = 300, dim: int = 3) -> np.ndarray:
    """Codes of two separated groups."""
    random = np.random.default_rng(0)
    codes = random.standard_normal((number, dim))
    codes[: number // 2] += 12.0
    return codes.astype(np.float32)


def parts(dim: int = 3):
    shape = {"latent_dim": dim, "filters": (2,), "hidden_units": 4, "kernel_size": 3}
    return networks.encoder((8, 8, 1), **shape), networks.decoder((8, 8, 1), **shape)


@pytest.mark.parametrize("kind", ["mixture", "flow", "neighbors"])
def test_a_sampler_that_was_written_draws_the_same_codes(kind, tmp_path):
    sampler = code_sampler.fit(clusters(), kind, seed=3)
    assert sampler.kind == kind
    drawn = sampler.sample(700, seed=1)
    assert (drawn.shape, drawn.dtype) == ((700, 3), np.float32)
    # None lies between the groups.
    assert np.all(np.abs(drawn.mean(axis=1) - 6.0) > 2.0)
    assert not np.array_equal(drawn, sampler.sample(700, seed=2))
    sampler.write(tmp_path / "sampler.npz")
    for other in (
        code_sampler.read(tmp_path / "sampler.npz"),
        pickle.loads(pickle.dumps(sampler)),  # noqa: S301
    ):
        np.testing.assert_array_equal(other.sample(700, seed=1), drawn)
        noise = code_sampler.noise(9, 3, seed=0)
        np.testing.assert_array_equal(other.codes(noise), sampler.codes(noise))


@pytest.mark.parametrize("kind", ["mixture", "flow", "neighbors"])
def test_the_saved_model_generates_what_python_does(kind, tmp_path):
    sampler, (_, decoder) = code_sampler.fit(clusters(), kind, seed=0), parts()
    generator = sampler.generator(decoder)
    noise = code_sampler.noise(40, 3, seed=5)
    signatures = {
        "decode": (decoder, "codes", "images"),
        "generate": (generator, "noise", "images"),
    }
    export.write_saved_model(tmp_path / "x", signatures, {"decode": noise, "generate": noise})
    loaded = tf.saved_model.load(str(tmp_path / "x"))
    images = loaded.signatures["generate"](noise=tf.constant(noise))["images"].numpy()
    assert images.shape == (40, 8, 8, 1)
    expected = decoder.predict(sampler.codes(noise), verbose=0)
    np.testing.assert_allclose(images, expected, atol=1e-5)


def test_ways_of_drawing_codes_are_fitted_once():
    codes = clusters()
    sampler = code_sampler.fit(codes, "flow", seed=0)
    ways = sampler.among(latent_space.SAMPLERS)
    assert list(ways) == [*latent_space.SAMPLERS, "flow"]
    again = latent_space.SAMPLERS["mixture_100"][1](codes, 50, 0)
    np.testing.assert_array_equal(ways["mixture_100"][1](codes, 50, 0), again)
    around = code_sampler.fit(codes, "neighbors", seed=0)
    assert list(around.among(latent_space.SAMPLERS)) == [*latent_space.SAMPLERS, "neighbors"]
    mixture_alone = code_sampler.CodeSampler(sampler.mixture, None)
    assert list(mixture_alone.among(latent_space.SAMPLERS)) == [*latent_space.SAMPLERS]


def test_a_run_fits_once_until_its_encoder_changes(tmp_path):
    encoder, _ = parts()
    asked = []

    def codes():
        asked.append(1)
        return clusters()

    first = code_sampler.of_run(tmp_path, encoder, codes, "flow", 0)
    again = code_sampler.of_run(tmp_path, encoder, codes, "flow", 0)
    assert len(asked) == 1
    np.testing.assert_array_equal(first.sample(9, 0), again.sample(9, 0))
    code_sampler.of_run(tmp_path, encoder, codes, "mixture", 0)
    assert len(asked) == 2
    encoder.set_weights([value + 0.1 for value in encoder.get_weights()])
    code_sampler.of_run(tmp_path, encoder, codes, "mixture", 0)
    assert len(asked) == 3
    large, _ = parts(code_flow.MOST_VALUES + 1)
    assert code_sampler.of_run(tmp_path, large, codes, "mixture", 0) is None


@pytest.mark.parametrize("kind", ["flow", "neighbors"])
@pytest.mark.parametrize("codes", [np.zeros((2, 3), np.float32), clusters(25)])
def test_few_and_equal_codes_give_finite_ones(codes, kind):
    sampler = code_sampler.fit(codes, kind, seed=0)
    drawn = sampler.sample(20, seed=0)
    assert np.isfinite(drawn).all()


def test_what_cannot_be_used_is_refused_in_one_line(tmp_path):
    for kind in ("flow", "neighbors"):
        text = refusal(code_sampler.check, kind, 300)
        assert f"--sampler {kind} takes codes of at most 256 values" in text
        assert "received --latent-dim 300" in text
    code_sampler.check("mixture", 300)
    files.write_arrays(tmp_path / "old.npz", {"means": np.zeros(3)})
    assert "holds no sampler of this version: remove it" in refusal(
        code_sampler.read, tmp_path / "old.npz"
    )
    (tmp_path / "damaged.npz").write_bytes(b"no archive")
    assert "damaged.npz cannot be read" in refusal(code_sampler.read, tmp_path / "damaged.npz")


def test_the_density_of_a_flow_is_higher_where_codes_are_and_a_mixture_has_its_own(monkeypatch):
    monkeypatch.setattr(code_flow, "_LEAST_STEPS", 1000)
    monkeypatch.setattr(code_flow, "_LEARNING_RATE", 0.01)
    monkeypatch.setattr(code_sampler, "COMPONENTS", 1)  # which puts most of its codes in between
    codes = clusters()
    between = np.full((50, 3), 6.0, np.float32)
    mixture, flow = (code_sampler.fit(codes, kind, seed=0) for kind in ("mixture", "flow"))
    np.testing.assert_array_equal(
        mixture.log_likelihoods(codes), mixture.mixture.log_likelihoods(codes)
    )
    gained = [
        np.median(one.log_likelihoods(codes)) - one.log_likelihoods(between).mean()
        for one in (mixture, flow)
    ]
    assert gained[0] < 0.0 < gained[1]
