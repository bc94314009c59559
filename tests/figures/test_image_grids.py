import numpy as np
import pytest

from kerasunsup.figures import image_grids, style

RANDOM = np.random.default_rng(0)


def _images(*shape):
    return RANDOM.random(shape).astype(np.float32)


def _reconstructions(num_images=10, side=28, channels=1, num_snapshots=4, **options):
    images = _images(num_images, side, side, channels)
    epochs = list(range(2, 2 * num_snapshots + 2, 2))
    snapshots = np.stack([images] * num_snapshots)
    return image_grids.reconstructions_over_epochs(images, snapshots, epochs, **options)


def _restoration(num_images=5, side=28, channels=1, holes=True, title="hole of 8 pixels"):
    images = _images(num_images, side, side, channels)
    mask = np.ones((num_images, side, side, 1), np.float32)
    mask[:, :3, 2:5] = 0.0
    gains = np.linspace(-12.3, 9.0, num_images)
    return image_grids.Restoration(
        title, images * mask, images, images, gains, mask if holes else None
    )


def _rows(channels=1, num_images=12, side=28):
    names = ["real images", "random integers", "a mixture of 100 Gaussians"]
    return [
        image_grids.SampleRow(
            name,
            _images(num_images - index, side, side, channels),
            {"distance": 1438.2 / (index + 1), "score": 9.8, "recall": float("nan")},
        )
        for index, name in enumerate(names)
    ]


def _mistakes(number=13, text="4 as 9", channels=1):
    images = _images(number, 28, 28, channels)
    return image_grids.captioned_images(images, [text] * number, ["99.8 %"] * number)


LONG_NAMES = ["T-shirt/top", "an ankle boot that has a name longer than wide", "$5 and $6", "x_1"]
FIGURES = {
    "reconstructions": lambda: _reconstructions(4, column_labels=LONG_NAMES),
    "reconstructions_colour": lambda: _reconstructions(12, 128, 3),
    "reconstructions_long_first": lambda: _reconstructions(1, column_labels=LONG_NAMES[1:2]),
    "reconstructions_one": lambda: _reconstructions(1, 8, 3, 1),
    "restorations": lambda: image_grids.restorations([_restoration(), _restoration(holes=False)]),
    "restorations_one_colour": lambda: image_grids.restorations(
        [_restoration(1, 8, 3, title="x" * 60)]
    ),
    "samples": lambda: image_grids.sampled_images(_rows()),
    "samples_colour": lambda: image_grids.sampled_images(_rows(3, 16, 32)),
    "mistakes": _mistakes,
    "mistakes_one": lambda: _mistakes(1),
    "mistakes_long_names": lambda: _mistakes(7, "T-shirt/top as Ankle boot", 3),
}


@pytest.mark.parametrize("make", FIGURES.values(), ids=FIGURES.keys())
def test_figures_of_much_of_little_and_of_odd_names_can_be_drawn(make):
    assert style.to_png(make(), dpi=20).startswith(b"\x89PNG")


def _texts(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_image_pixels_arrive_unblurred_in_whole_multiples():
    originals = np.zeros((2, 28, 28, 1), np.float32)
    originals[:, ::2] = 1.0
    pixels = style.to_pixels(
        image_grids.reconstructions_over_epochs(originals, originals[None], [2]), dpi=150
    )
    stripes = pixels[:, -60, 0]  # a column through the last image
    runs = np.diff(np.flatnonzero(np.diff(stripes.astype(int)) != 0))
    assert np.count_nonzero(runs == 3) > 50


def test_many_snapshots_are_thinned_with_the_first_and_last_kept():
    names = [text for text in _texts(_reconstructions(3, 8, 1, 60)) if text.startswith("epoch")]
    assert names == ["epoch 2", *(f"epoch {epoch}" for epoch in range(6, 121, 6))]


def test_of_fifty_epochs_the_first_and_every_second_are_shown():
    epochs = [1, *range(2, 51, 2)]
    images = np.stack([_images(3, 8, 8, 1)] * len(epochs))
    texts = _texts(image_grids.reconstructions_over_epochs(images[0], images, epochs))
    assert [text for text in texts if text.startswith("epoch")] == [f"epoch {n}" for n in epochs]


def test_gains_are_printed_and_holes_outlined():
    figure = image_grids.restorations([_restoration(3), _restoration(3, holes=False)])
    texts = _texts(figure)
    assert (texts.count("+9.0 dB"), texts.count("\N{MINUS SIGN}12.3 dB")) == (2, 2)
    first, second = figure.axes
    assert [patch.get_bbox().bounds[2:] for patch in first.patches] == [(3.0, 3.0)] * 3
    assert not second.patches


def test_the_table_of_samples_aligns_decimals_and_shows_a_dash_for_nan():
    texts = _texts(image_grids.sampled_images(_rows()))
    assert {"distance", "score", "recall", "1438.2", "719.1", "9.80"} <= set(texts)
    assert texts.count("\N{EN DASH}") == 3


def test_mistakes_have_their_texts_and_fit_a_page_in_columns_of_one_width():
    figure = _mistakes()
    assert len(figure.axes) == 2  # ten and three
    assert (_texts(figure).count("4 as 9"), _texts(figure).count("99.8 %")) == (13, 13)
    texts = ["T-shirt/top as Ankle boot"] + ["a as b"] * 12
    wide = image_grids.captioned_images(np.zeros((13, 28, 28, 1), np.float32), texts, texts)
    assert wide.get_size_inches()[0] < 7.5
    assert len({axes.get_position().width for axes in wide.axes}) == 1


ONE, TWO = np.zeros((1, 8, 8, 1)), np.zeros((2, 8, 8, 1))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: _reconstructions(3, 8, 2), "channels"),
        (lambda: _reconstructions(3, column_labels=["a"]), "labels"),
        (lambda: image_grids.reconstructions_over_epochs(TWO, TWO, [1, 2]), "snapshots"),
        (lambda: image_grids.reconstructions_over_epochs(TWO, TWO[None], [1, 2]), "2 epochs"),
        (lambda: image_grids.restorations([]), "at least one"),
        (
            lambda: image_grids.restorations([image_grids.Restoration("a", *[TWO] * 3, ONE[0])]),
            "8 gains",
        ),
        (
            lambda: image_grids.restorations(
                [image_grids.Restoration("a", ONE, TWO, TWO, np.zeros(2))]
            ),
            "one shape",
        ),
        (lambda: image_grids.sampled_images([]), "at least one"),
        (lambda: image_grids.sampled_images([*_rows(1), *_rows(3)]), "one image shape"),
        (lambda: image_grids.captioned_images(TWO[:0], [], []), "0 images"),
        (lambda: image_grids.captioned_images(TWO, ["a"], ["b", "c"]), "1 and 2 for 2"),
    ],
)
def test_arrays_that_do_not_fit_together_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
