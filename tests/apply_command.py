"""The command line of `apply` in one process, and the small images and networks of its tests."""

import csv

import keras
import numpy as np
from PIL import Image

from kerasunsup.apply import __main__ as apply
from kerasunsup.models import networks

SHAPE = (16, 16, 1)


def pictures(number, shape=SHAPE, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (number, *shape), np.uint8)


def write(folder, names, shape=SHAPE, seed=0):
    for name, picture in zip(names, pictures(len(names), shape, seed), strict=True):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture[..., 0] if shape[-1] == 1 else picture).save(path)


def parts(shape=SHAPE):
    keras.utils.set_random_seed(0)
    return tuple(
        build(shape, latent_dim=4, filters=(4,), hidden_units=8)
        for build in (networks.encoder, networks.decoder)
    )


def table(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def run(*arguments):
    return apply.main([str(argument) for argument in arguments])


def complaint(capsys, *arguments):
    assert run(*arguments) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    return line


def files(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


STRANGE = [
    "caf\udce9.png", "carriage\rreturn.png", 'quote".png', "a,comma.png", "line\nbreak.png",
    "=1+1.png", " blank.png", "tab\t.png", "表.png", f"{'long' * 61}.png",
]  # fmt: skip


def surrogate_table(path):
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        return list(csv.DictReader(file))
