"""`apply generate`: new images, from a generator's noise or from codes like those of real ones."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any

import numpy as np

from kerasunsup.apply import training_images
from kerasunsup.apply.job import Job
from kerasunsup.data import images
from kerasunsup.errors import InputError
from kerasunsup.evaluation import latent_space
from kerasunsup.models import loading
from kerasunsup.progress import Progress

logger = logging.getLogger(__name__)

_COMPONENTS = 100  # of the mixture that new codes are drawn from
_BLOCK = 256  # images that follow from one seed
_SHOWN = 100  # images on the contact sheet

# Number of the block -> inputs of the model, float32 (256, dim).
Draw = Callable[[int], np.ndarray]


def generate_images(job: Job) -> dict[str, Any]:
    """Writes images/00000.png and so on, and a contact sheet; what is there already stays."""
    settings = job.settings
    draw, make = _drawing(job)
    names = [f"images/{number:05d}.png" for number in range(settings.count)]
    shown: list[np.ndarray] = []
    with Progress(settings.count, "image") as progress:
        for start in range(0, settings.count, _BLOCK):
            block = names[start : start + _BLOCK]
            is_missing = [not job.files.path(name).exists() for name in block]
            if len(shown) < _SHOWN or any(is_missing):
                # A whole block is drawn, so that a larger --count begins with the same images.
                inputs = draw(start // _BLOCK)[: len(block)]
                batches = range(0, len(inputs), settings.batch_size)
                pictures = np.concatenate(
                    [make(inputs[first : first + settings.batch_size]) for first in batches]
                )
                shown.extend(pictures[: _SHOWN - len(shown)])
                pixels = images.to_uint8(pictures)
                for name, missing, picture in zip(block, is_missing, pixels, strict=True):
                    if missing:
                        job.files.write_picture(name, picture)
            progress.advance(len(block))
    sheet = images.grid(np.stack(shown), columns=min(10, len(shown)))
    job.files.write_picture("generate_sheet.png", sheet)
    return {"images": settings.count}


def _noise(dim: int, seed: int, block: int) -> np.ndarray:
    return np.random.default_rng([seed, block]).standard_normal((_BLOCK, dim), np.float32)


def _drawing(job: Job) -> tuple[Draw, loading.Function]:
    """What draws the model's inputs, and the function of the model that makes images of them."""
    seed = job.settings.seed
    if job.model.offers("generate") and job.reference is None:
        (dim,) = job.model.input_shape("generate")
        return functools.partial(_noise, dim, seed), job.model.function("generate")
    # It loads Keras, which `offers` has started by now.
    from kerasunsup.training import code_sampler

    if job.model.sampler_file and job.reference is None and job.model.keras_model is not None:
        sampler = code_sampler.read(job.model.sampler_file)
        decoder = loading.parts(job.model.keras_model)["decode"]
        logger.info(f"drawing codes from the {sampler.kind} that is kept with the run")
        make = loading.from_model(sampler.generator(decoder))
        return functools.partial(_noise, decoder.input_shape[-1], seed), make
    real, called = training_images.clean_images(job.model, job.reference)
    if real is None:
        raise InputError(
            f"MODEL {job.model.path} does not tell which images it was trained on, and new codes "
            "are drawn like theirs: give the folder of its run, or such images by --reference"
        )
    logger.info(f"fitting a mixture to the codes of {called}")
    codes = job.encode(real, name="reference").codes
    if len(codes) < 2:
        raise InputError(
            f"{called}: {len(codes)} image does not tell what codes are like: give more images"
        )
    mixture = latent_space.fit_mixture(codes, _COMPONENTS, seed)

    def draw_codes(block: int) -> np.ndarray:
        block_seed = np.random.default_rng([seed, block]).integers(2**31)
        return mixture.sample(_BLOCK, int(block_seed))

    return draw_codes, job.model.function("decode")
