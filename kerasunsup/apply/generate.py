"""`apply generate`: new images, from a generator's noise or from codes like those of real ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from kerasunsup.apply.job import Job
from kerasunsup.data import images
from kerasunsup.errors import InputError
from kerasunsup.evaluation import latent_space
from kerasunsup.models import loading
from kerasunsup.progress import Progress

_COMPONENTS = 100  # of the mixture that new codes are drawn from
_BLOCK = 256  # images that follow from one seed
_SHOWN = 100  # images on the contact sheet

# (number of rows, number of the block) -> inputs of the model, float32 (number, dim).
Draw = Callable[[int, int], np.ndarray]


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
                inputs = draw(_BLOCK, start // _BLOCK)[: len(block)]
                pictures = np.concatenate(
                    [
                        make(inputs[first : first + settings.batch_size])
                        for first in range(0, len(inputs), settings.batch_size)
                    ]
                )
                shown.extend(pictures[: _SHOWN - len(shown)])
                pixels = images.to_uint8(pictures)
                for name, missing, picture in zip(block, is_missing, pixels, strict=True):
                    if missing:
                        job.files.write_picture(name, picture)
            progress.advance(len(block))
    sheet = images.grid(np.stack(shown), columns=min(10, len(shown)))
    job.files.write_png("generate_sheet.png", images.encode_png(sheet))
    return {"images": settings.count}


def _drawing(job: Job) -> tuple[Draw, loading.Function]:
    """What draws the model's inputs, and the function of the model that makes images of them."""
    seed = job.settings.seed
    if job.model.offers("generate"):
        (dim,) = job.model.input_shape("generate")

        def noise(number: int, block: int) -> np.ndarray:
            return np.random.default_rng([seed, block]).standard_normal((number, dim), np.float32)

        return noise, job.model.function("generate")
    real = job.training_images() if job.reference is None else job.reference
    if real is None:
        raise InputError(
            f"MODEL {job.model.path} does not tell which images it was trained on, and new codes "
            "are drawn like theirs: give the folder of its run, or such images by --reference"
        )
    called = real.what
    if job.reference is None:
        called = "the images that the model was trained on"
    print(f"fitting a mixture to the codes of {called}", flush=True)
    codes = job.encode(real, name="reference").codes
    mixture = latent_space.fit_mixture(codes, _COMPONENTS, seed)

    def draw_codes(number: int, block: int) -> np.ndarray:
        block_seed = np.random.default_rng([seed, block]).integers(2**31)
        return mixture.sample(number, int(block_seed))

    return draw_codes, job.model.function("decode")
