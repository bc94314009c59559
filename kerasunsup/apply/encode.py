"""`apply encode`: the code of each image, as arrays, as a table, and in TensorBoard's projector.

Its folder is an index: `similar` searches it, and the same command encodes what is new.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kerasunsup import tensorflow_startup
from kerasunsup.apply import encoded_images, kept_index, near_duplicates
from kerasunsup.apply.job import Job
from kerasunsup.data import images
from kerasunsup.progress import Progress

_MOST_SPRITES = 10_000  # images that the projector shows


def write_codes(job: Job) -> dict[str, Any]:
    """Writes codes.npz, codes.csv, index.npz, and the projector's files where they are wanted."""
    stamps = kept_index.stamps_of(job.stream)  # of what changes from now on, the code is old
    encoded = job.encode()
    names = encoded.names
    if not encoded.unreadable:  # some of an earlier time may have been mended
        (job.output.folder / "unreadable.csv").unlink(missing_ok=True)
    header = ["file", *(f"code_{index}" for index in range(encoded.codes.shape[1]))]
    rows = ([name, *code.tolist()] for name, code in zip(names, encoded.codes, strict=True))
    job.files.write_table("codes.csv", header, rows)
    job.files.write_codes("codes.npz", encoded.codes, names)
    kept_index.write(job.output.folder, encoded, job.stream, job.model, job.settings, stamps)
    if job.settings.projector:
        tensorflow_startup.import_tensorflow()
        from kerasunsup.training import tensorboard as training_tensorboard

        shown = min(_MOST_SPRITES, len(names))
        with training_tensorboard.TensorBoardWriter(job.output.folder) as tensorboard:
            pictures = job.thumbnails(encoded.positions[:shown])
            labels = [images.shown(name) for name in names[:shown]]
            tensorboard.projector(encoded.codes[:shown], pictures, labels)
    return {"images": len(names), "code_size": int(encoded.codes.shape[1])}


def make_part(job: Job, positions: range, progress: Progress) -> dict[str, np.ndarray]:
    """The codes of the images at some positions, and all that other verbs take from a part.

    Those are the reconstructions' errors, where the model reconstructs, and what shows copies.

    Returns:
        The arrays of `encoded_images.encoded_block`, and `files`, the names of `positions`.
    """
    block = encoded_images.encoded_block(
        job.model,
        job.stream,
        positions,
        job.settings,
        errors=job.model.offers("reconstruct"),
        look=near_duplicates.look,
        progress=progress,
    )
    files = [job.stream.names[position] for position in block["positions"]]
    return {**block, "files": np.array(files, np.str_)}
