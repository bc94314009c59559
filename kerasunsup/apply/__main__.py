"""Use what was trained on images of one's own: `python -m kerasunsup.apply`."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kerasunsup import cli, tensorflow_startup
from kerasunsup.apply.settings import (
    INDEX,
    Application,
    ApplySettings,
    is_file_of_codes,
    settings_of,
)
from kerasunsup.errors import InputError
from kerasunsup.settings import path_of

_DESCRIPTION = """\
Uses a trained model on images: restores them, finds similar ones, outliers and groups, and makes
new ones. `check` finds faulty images, `duplicates` those that are stored more than once, and
neither needs a model. Vectors of images from elsewhere, given by --codes FILE, may take the place
of the model. All results go into the folder --output. If a command is stopped, give it again and it
goes on. `kerasunsup apply VERB --help` lists the settings of a verb.
"""

VERBS = {
    "restore": "Remove noise from images and fill holes; names and sizes stay the same.",
    "encode": "Write the code of each image to codes.npz and codes.csv. Given again when the folder"
    " has grown, it encodes only what is new.",
    "similar": "Find the images most similar to a query, or near-duplicates among all images.",
    "duplicates": "Find images that are stored more than once, and say which to keep; no model is"
    " needed.",
    "outliers": "Rank images from the most unusual to the most ordinary, and show where outliers"
    " are odd. In outliers.csv, share_less_odd is the share of the known images (those of"
    " --reference, else the training images) that are less odd.",
    "cluster": "Group images that look alike; no labels are needed.",
    "browse": "Make a page that shows all images on a map, to look through and choose from.",
    "select": "Choose the images that are worth labelling first.",
    "generate": "Make new images.",
    "check": "Find images that are broken, blurred, empty, stored twice or unlike the others in"
    " size, shape or colour; no model is needed.",
}

_WITHOUT_MODEL = ("check",)

# What a verb's help says beside its first sentence.
_MORE = {
    "similar": """\

In the place of MODEL IMAGES, INDEX may be given: the --output folder of an earlier `encode MODEL
IMAGES`. Only the images of --query are encoded then.
""",
    "duplicates": """\

duplicates.csv has a row for each image of a group, the one to keep first. The kinds:

  exact    the same pixels, or the same bytes
  copy     the same picture stored again: other format, size, quality, brightness, a little noise,
           moved or cropped by a few pixels, a watermark
  scene    another picture of the same scene, by the codes of MODEL; not without a MODEL

Each image is a copy of the one that is kept of its group. Images stay where they are unless
--move-to DIR is given; --undo moves them back.
""",
    "check": """\

check.csv gets a row (file, issue, value) for each thing that an image is found with, and each kind
of issue a contact sheet, worst first. Images are never changed. The issues, with their values:

  unreadable    the file cannot be decoded (why)
  exact_copy    its pixels are those of an earlier image (that image's name)
  blurred       no edge is sharp (sharpness; edges of one pixel have 0.8)
  dark          99 % of the pixels are dark (the brightness that they do not exceed, 0 to 1)
  light         95 % of the pixels are nearly white (the brightness that they exceed, 0 to 1)
  flat          nearly all pixels have one brightness (entropy of the brightness, bits)
  odd_size      sides of half or twice the usual length, or further (WIDTHxHEIGHT)
  odd_shape     half or twice as long in relation to its width as usual, or further (width / height)
  grey          a grey image where most are in colour (Pillow's mode)
  transparent   some pixels are not opaque; they are read as if on white (share of the pixels)
  wrong_ending  the content is of another format than the ending says (the format)

What is blurred, dark, light or flat must also stand far below the other images: if all of them are
dark, none is. docs/apply.md has every limit and what each issue misses.
""",
}

_MODEL_IS_OPTIONAL = ("duplicates",)


_HOW_TO_GO_ON = "choose another --output DIR, then give the same command again"


def parse(argv: Sequence[str] | None = None) -> Application:
    """Parses the command line of `apply`: a verb, its model and images, and its settings.

    Raises:
        InputError: if a value is wrong.
        SystemExit: with status 0 after `--help`, 2 after an unknown or malformed flag.
    """
    argv = sys.argv[1:] if argv is None else argv
    parser = cli.new_parser("apply", _DESCRIPTION)
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    is_with_vectors = _has_vectors(argv)
    for verb, text in VERBS.items():
        fields = settings_of(verb)
        has_vectors = is_with_vectors and any(field.name == "codes" for field in fields)
        verb_parser = cli.add_verb(verbs, verb, text, _MORE.get(verb, ""))
        if verb not in _WITHOUT_MODEL and not has_vectors:
            verb_parser.add_argument(
                "model",
                metavar="MODEL",
                nargs="?" if verb in _MODEL_IS_OPTIONAL else None,
                help="a run's folder, its export/ folder, or a .keras file",
            )
        if verb != "generate":
            verb_parser.add_argument(
                "images",
                metavar="IMAGES",
                nargs="*" if has_vectors else "?" if verb == "similar" else None,
                help="a folder of images and its sub-folders, one image file, a .npz or .npy file,"
                " a folder of IDX files, or a data name such as mnist",
            )
        verb_parser.add_argument(
            "--output", metavar="DIR", required=True, help="write all results into this folder"
        )
        cli.add_settings(verb_parser, ApplySettings, fields)
    values = vars(_parsed(parser, verbs, argv))
    verb, output = values.pop("verb"), path_of("--output", values.pop("output"))
    model = values.pop("model", None)
    if model is not None:
        model = path_of("MODEL", model, is_written=False)
    images = values.pop("images", None)
    if isinstance(images, list):
        if len(images) > 1:
            raise InputError(
                f"--codes {values['codes']} takes the place of MODEL: leave {images[0]} out, or "
                "give a folder of parts by --codes"
            )
        images = images[0] if images else None
    settings = ApplySettings(**values)
    if verb == "similar" and images is None and model is not None:
        _check_index(model, settings)
        return Application(verb, None, None, output, settings, index=model)
    return Application(verb, model, images, output, settings)


def _parsed(parser: Any, verbs: Any, argv: Sequence[str]) -> Any:
    """What is given; settings may stand between MODEL and IMAGES, also where one may be left out.

    argparse takes an argument that may be left out for left out as soon as a flag stands before it.
    """
    if cli.PARSER_ALONE in argv or "--" in argv:  # which intermixed parsing does not know
        return parser.parse_args(argv)
    given, left = parser.parse_known_args(argv)
    if not left:
        return given
    verb = given.verb
    given = verbs.choices[verb].parse_intermixed_args(argv[argv.index(verb) + 1 :])
    given.verb = verb
    return given


def _check_index(folder: Path, settings: ApplySettings) -> None:
    """Refuses what cannot stand in the place of IMAGES, or does not go together with it."""
    if not (folder / INDEX).is_file():
        raise InputError(
            f"IMAGES is missing: give MODEL IMAGES, or as INDEX a folder that encode wrote (in "
            f"{folder} there is no {INDEX})"
        )
    if settings.query is None:
        raise InputError(
            f"INDEX {folder} holds no pictures to tell near-duplicates by: add --query, or give "
            "MODEL IMAGES"
        )
    for name in ("codes", "limit"):
        if getattr(settings, name) is not None:
            raise InputError(f"INDEX holds the codes of its images: leave --{name} out")
    if settings.part != "all":
        raise InputError("INDEX holds the codes of its images: leave --part out")


def _has_vectors(argv: Sequence[str]) -> bool:
    """Whether `--codes` names a file of vectors: then a verb takes no MODEL.

    Known before the command line is parsed, so that MODEL and IMAGES may stand anywhere in it.
    """
    given = [word.partition("=")[2] for word in argv if word.startswith("--codes=")]
    given += [after for word, after in itertools.pairwise(argv) if word == "--codes"]
    return any(map(is_file_of_codes, given))


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit status: 0, 2 (wrong use) or 130 (Ctrl-C)."""
    with cli.exit_status("apply", _HOW_TO_GO_ON) as status:
        command = parse(argv)
        # What follows takes a second to load, and what needs the network loads TensorFlow, which
        # takes seconds.
        tensorflow_startup.set_environment()
        from kerasunsup.apply import experiment

        elsewhere = None
        if command.config.ray is not None:
            from kerasunsup.apply import on_ray

            on_ray.check_installed()
            elsewhere = on_ray.make_parts
        experiment.run(command, elsewhere)
    return status.code


if __name__ == "__main__":
    sys.exit(main())
