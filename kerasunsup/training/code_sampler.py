"""What draws new codes of an autoencoder: fitted once, kept with its run, and shipped with it."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kerasunsup.errors import InputError
from kerasunsup.evaluation import latent_space, neighbors
from kerasunsup.models import code_flow, loading
from kerasunsup.training import files

logger = logging.getLogger(__name__)

FILE = loading.SAMPLER_FILE
FLOW, MIXTURE, NEIGHBORS = "flow", "mixture", "neighbors"
COMPONENTS = 100
# Codes around which a Gaussian is laid. By validation images of MNIST, see docs/autoencoder.md.
_NEAREST = 10

# (codes of training images, number, seed) -> new codes.
Way = Callable[[np.ndarray, int, int], np.ndarray]


@dataclasses.dataclass(frozen=True, eq=False)
class CodeSampler:
    """A mixture of Gaussians fitted to codes, and perhaps something better to draw from.

    Attributes:
        mixture: the mixture.
        velocity: of the flow from it to the codes, see `models.code_flow`; None without one.
        fitted_to: what tells whose codes it was fitted to.
        neighborhoods: the codes and the nearest of each; None where these are not drawn from.
    """

    mixture: latent_space.Mixture
    velocity: keras.Model | None
    fitted_to: str = ""
    neighborhoods: code_flow.Neighborhoods | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Its fields alone: what was traced cannot be pickled."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    @property
    def kind(self) -> str:
        """`flow`, `neighbors` or `mixture`: what `sample` draws from."""
        if self.neighborhoods is not None:
            return NEIGHBORS
        return MIXTURE if self.velocity is None else FLOW

    def generator(self, decoder: keras.Model) -> keras.Model:
        """Standard normal noise (batch, latent_dim) -> images, by the decoder of these codes."""
        return code_flow.generator(self._drawn, decoder)

    def sample(self, num_samples: int, seed: int) -> np.ndarray:
        """New codes, float32 (num_samples, latent_dim), of the best that there is."""
        if self.kind == MIXTURE:
            return self.mixture.sample(num_samples, seed)
        return self.codes(noise(num_samples, len(self.mixture.mean), seed))

    def codes(self, values: np.ndarray) -> np.ndarray:
        """The codes that noise (num_samples, latent_dim) becomes, float32 of its shape."""
        return np.concatenate(
            [self._function(values[start : start + 500]) for start in range(0, len(values), 500)]
        )

    def log_likelihoods(self, codes: np.ndarray) -> np.ndarray:
        """Logarithm of the density at each code, in units of the codes' spread; (num_codes,).

        Of the flow where there is one, else of the mixture.
        """
        if self.velocity is None:
            return self.mixture.log_likelihoods(codes)
        mean, scale = self.mixture.mean, self.mixture.scale
        begun, spread = code_flow.carried_back(self.velocity, (codes - mean) / scale, seed=0)
        return self.mixture.log_likelihoods(mean + scale * begun) - spread

    def among(self, ways: Mapping[str, tuple[str, Way]]) -> dict[str, tuple[str, Way]]:
        """Ways of drawing codes as in `latent_space.SAMPLERS`, with its own in their place."""
        own: dict[str, tuple[str, Way]] = {}
        if f"mixture_{COMPONENTS}" in ways:
            name = f"mixture_{COMPONENTS}"
            own[name] = (ways[name][0], lambda _, number, seed: self.mixture.sample(number, seed))
        if self.kind != MIXTURE:
            title = "around neighbors" if self.kind == NEIGHBORS else self.kind
            own[self.kind] = (title, lambda _, number, seed: self.sample(number, seed))
        return dict(ways) | own

    def write(self, path: Path) -> None:
        """Writes it to a file, atomically."""
        weights = [] if self.velocity is None else self.velocity.get_weights()
        around = {} if self.neighborhoods is None else self.neighborhoods._asdict()
        files.write_arrays(
            path,
            self.mixture.arrays()
            | {f"velocity_{place:02}": value for place, value in enumerate(weights)}
            | around
            | {"fitted_to": np.array(self.fitted_to)},
        )

    @functools.cached_property
    def _drawn(self) -> code_flow.DrawnCodes:
        source = self.neighborhoods or _gaussians(self.mixture)
        return code_flow.DrawnCodes(source, self.velocity)

    @functools.cached_property
    def _function(self) -> loading.Function:
        inputs = keras.Input((len(self.mixture.mean),))
        return loading.from_model(keras.Model(inputs, self._drawn(inputs)))


def noise(number: int, latent_dim: int, seed: int | list[int]) -> np.ndarray:
    """Standard normal noise, float32 (number, latent_dim)."""
    return np.random.default_rng(seed).standard_normal((number, latent_dim), np.float32)


def fit(codes: np.ndarray, kind: str, seed: int, fitted_to: str = "") -> CodeSampler:
    """Fits what draws codes like these.

    Args:
        codes: (num_codes, latent_dim), two or more.
        kind: `mixture`; `flow`, which takes minutes for tens of thousands of codes; or `neighbors`,
            which keeps the codes themselves.
        seed: 0 to 2**31 - 1.
        fitted_to: kept with it.

    Raises:
        InputError: if codes of so many values are too large for a flow.
    """
    check(kind, codes.shape[1])
    mixture = latent_space.fit_mixture(codes, COMPONENTS, seed)
    velocity = around = None
    if kind == NEIGHBORS:
        _, nearest = neighbors.nearest(codes, None, min(_NEAREST, len(codes) - 1))
        around = code_flow.Neighborhoods(codes.astype(np.float32), nearest.astype(np.int32))
    if kind == FLOW:
        gaussians = _gaussians(mixture)
        velocity = code_flow.train(codes, mixture.responsibilities(codes), gaussians, seed)
    return CodeSampler(mixture, velocity, fitted_to, around)


def check(kind: str, latent_dim: int) -> None:
    """Refuses what is kept with a run for codes that are too large for it.

    Raises:
        InputError: if they are.
    """
    if kind != MIXTURE and latent_dim > code_flow.MOST_VALUES:
        raise InputError(
            f"--sampler {kind} takes codes of at most {code_flow.MOST_VALUES} values, received "
            f"--latent-dim {latent_dim}: choose fewer, or --sampler mixture"
        )


def read(path: Path) -> CodeSampler:
    """What `CodeSampler.write` wrote.

    Raises:
        InputError: if the file is missing or damaged.
    """
    arrays = files.read_arrays(path)
    names = sorted(name for name in arrays if name.startswith("velocity_"))
    try:
        mixture = latent_space.Mixture.of_arrays(arrays)
        velocity = None
        if names:
            velocity = code_flow.velocity_network(len(mixture.mean))
            velocity.set_weights([arrays[name] for name in names])
        around = None
        if "nearest" in arrays:
            around = code_flow.Neighborhoods(arrays["codes"], arrays["nearest"])
        return CodeSampler(mixture, velocity, str(arrays["fitted_to"]), around)
    except (KeyError, ValueError) as error:
        raise InputError(
            f"{path} holds no sampler of this version: remove it, and codes are fitted anew"
        ) from error


def of_run(
    folder: Path, encoder: keras.Model, codes: Callable[[], np.ndarray], kind: str, seed: int
) -> CodeSampler | None:
    """The sampler that is kept in a run's folder, fitted if there is none of this encoder.

    Args:
        folder: of the run.
        encoder: of the codes.
        codes: called for codes of training images, if they are needed.
        kind: as in `fit`.
        seed: as in `fit`.

    Returns:
        None where codes are so large that the mixture would fill hundreds of megabytes.
    """
    if encoder.output_shape[-1] > code_flow.MOST_VALUES:
        return None
    digest = hashlib.sha256(f"{kind} {seed}".encode())
    for values in encoder.get_weights():
        digest.update(values.tobytes())
    fitted_to, path = digest.hexdigest()[:16], folder / FILE
    if path.is_file():
        found = read(path)
        if found.fitted_to == fitted_to:
            return found
    fitted = "Gaussians around neighbors" if kind == NEIGHBORS else f"a {kind}"
    logger.info(f"fitting {fitted} to the codes of training images")
    sampler = fit(codes(), kind, seed, fitted_to)
    sampler.write(path)
    return sampler


def _gaussians(mixture: latent_space.Mixture) -> code_flow.Gaussians:
    fitted = mixture.gaussians
    return code_flow.Gaussians(
        fitted.weights_,
        fitted.means_,
        np.linalg.cholesky(fitted.covariances_),
        mixture.mean,
        mixture.scale,
    )
