import io
import math
import subprocess
import sys

import matplotlib
import numpy as np
import pytest
from matplotlib.backends import backend_agg
from PIL import Image

from kerasunsup import drawing, figures, sheets

RANDOM = np.random.default_rng(0)
LONG_NAMES = ["T-shirt/top", "an ankle boot that has a long name", "$5", "x_1", "Ω", "6", "7"]


def _images(*shape):
    return RANDOM.random(shape).astype(np.float32)


def _curve(num_epochs=30, **options):
    epochs = np.arange(1, num_epochs + 1)
    loss = 0.004 + 0.05 / epochs
    return figures.learning_curve(epochs, loss, loss * 1.1, best_epoch=num_epochs, **options)


def _reconstructions(num_images=10, side=28, channels=1, num_snapshots=4, **options):
    return sheets.reconstructions_over_epochs(
        _images(num_images, side, side, channels),
        _images(num_snapshots, num_images, side, side, channels),
        list(range(2, 2 * num_snapshots + 2, 2)),
        **options,
    )


def _restoration(num_images=5, side=28, channels=1, holes=True, title="hole of 8 pixels"):
    images = _images(num_images, side, side, channels)
    mask = np.ones((num_images, side, side, 1), np.float32)
    mask[:, :3, 2:5] = 0.0
    gains = np.linspace(-12.3, 9.0, num_images)
    return sheets.Restoration(title, images * mask, images, images, gains, mask if holes else None)


def _sweep(size=5):
    falling = np.linspace(1.0, 0.2, size)
    curves = {
        "input_psnr_db": [100.0, *(20.0 * falling[1:])],
        "psnr_db": 22.0 * falling,
        "input_ssim": falling,
        "ssim": falling,
    }
    return figures.corruption_sweep(np.arange(size) / 10, curves, np.arange(size) * 2, curves)


def _space(num_codes=200, num_classes=10, names=None, labelled=True, dim=2):
    labels = np.arange(num_codes) % num_classes if labelled else None
    points = RANDOM.standard_normal((num_codes, 2))
    return figures.encoded_space(points[:, :dim], [0.4, 0.2][:dim], points * 9, labels, names)


def _rows(channels=1, num_images=12, side=28):
    names = ["real images", "random integers", "a mixture of 100 Gaussians"]
    return [
        sheets.SampleRow(
            name,
            _images(num_images - index, side, side, channels),
            {"distance": 1438.2 / (index + 1), "score": 9.8, "recall": float("nan")},
        )
        for index, name in enumerate(names)
    ]


def _marginals(dim=6, num_samples=3, num_codes=300):
    codes = RANDOM.standard_normal((num_codes, dim))
    samples = {f"way {index}": codes[:50] * (index + 1) for index in range(num_samples)}
    return figures.code_marginals(codes, samples)


def _adversarial(num_epochs=20, measured=True):
    epochs = np.arange(1, num_epochs + 1)
    history = {
        "epoch": epochs,
        "generator_loss": 1.0 + 1.0 / epochs,
        "discriminator_loss": 1.2 - 0.5 / epochs,
        "real_accuracy": np.full(num_epochs, 0.8),
        "generated_accuracy": np.full(num_epochs, 0.7),
    }
    if measured:
        history["fid"] = np.where(epochs % 5 == 0, 100.0 / epochs, np.nan)
    return figures.adversarial_curves(history)


def _areas(num_classes=10, **options):
    names = [str(label) for label in range(num_classes)]
    scores = ("error and density", "reconstruction error", "density of codes", "distance to codes")
    scores += ("error in the code space", "residual of PCA")
    areas = {name: RANDOM.random(num_classes) for name in scores}
    return figures.areas_under_curves(names, areas, **options)


FIGURES = {
    "areas": _areas,
    "areas_one_class": lambda: _areas(1),
    "areas_long_names": lambda: figures.areas_under_curves(LONG_NAMES, {"$x": [0.5] * 7}),
    "adversarial": lambda: _adversarial(100),
    "adversarial_one_epoch": lambda: _adversarial(1, measured=False),
    "curve": lambda: _curve(pca_mse=0.0168, pca_dim=32),
    "curve_without_pca": _curve,
    "curve_of_one_epoch": lambda: _curve(1, pca_mse=0.1),
    "reconstructions": lambda: _reconstructions(column_labels=[str(i) for i in range(10)]),
    "reconstructions_long_labels": lambda: _reconstructions(7, column_labels=LONG_NAMES),
    "reconstructions_colour": lambda: _reconstructions(12, 128, 3),
    "reconstructions_one": lambda: _reconstructions(1, 8, 3, 1),
    "restorations": lambda: sheets.restorations([_restoration(), _restoration(holes=False)]),
    "restorations_one_colour": lambda: sheets.restorations([_restoration(1, 8, 3, title="x" * 60)]),
    "sweep": _sweep,
    "space": lambda: _space(names=[str(i) for i in range(10)]),
    "space_long_names": lambda: _space(num_classes=7, names=LONG_NAMES),
    "space_one_class": lambda: _space(num_classes=1),
    "space_without_labels": lambda: _space(labelled=False),
    "space_many_classes": lambda: _space(num_classes=45),
    "space_fifteen_classes": lambda: _space(num_classes=15),
    "space_one_dimension": lambda: _space(dim=1),
    "samples": lambda: sheets.sampled_images(_rows()),
    "samples_colour": lambda: sheets.sampled_images(_rows(3, 16, 32)),
    "marginals": _marginals,
    "marginals_one_dimension": lambda: _marginals(dim=1, num_samples=1),
    "marginals_five": lambda: _marginals(num_samples=5),
    "marginals_six": lambda: _marginals(num_samples=6, num_codes=2500),
}


@pytest.mark.parametrize("make", FIGURES.values(), ids=FIGURES.keys())
def test_nothing_lies_outside_the_canvas_and_the_png_decodes(make):
    figure = make()
    picture = Image.open(io.BytesIO(drawing.to_png(figure, dpi=80)))
    assert picture.format == "PNG"
    width, height = figure.get_size_inches()
    assert picture.size == pytest.approx((width * 80, height * 80), abs=1)
    canvas = backend_agg.FigureCanvasAgg(figure)
    canvas.draw()
    box = figure.get_tightbbox(canvas.get_renderer())  # of all that is drawn, in inches
    assert box.x0 >= -0.01
    assert box.y0 >= -0.01
    assert box.x1 <= width + 0.01
    assert box.y1 <= height + 0.01


def test_pixels_are_those_of_the_size_asked_for_and_the_figure_stays_as_it_was():
    figure = _curve()
    before = drawing.to_png(figure)
    pixels = drawing.to_pixels(figure, dpi=50)
    assert pixels.shape == (175, 260, 3)
    assert pixels.dtype == np.uint8
    assert (pixels[0, 0] == 255).all()
    assert drawing.to_png(figure) == before


def test_nothing_global_is_changed_and_pyplot_and_tensorflow_stay_out():
    before = dict(matplotlib.rcParams)
    drawing.to_png(_sweep())
    assert dict(matplotlib.rcParams) == before
    code = (
        "import sys; from kerasunsup import figures; "
        "print([name for name in ('matplotlib.pyplot', 'tensorflow') if name in sys.modules])"
    )
    printed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert printed.strip() == "[]"


def test_a_users_own_settings_do_not_matter():
    expected = drawing.to_png(_curve())
    with matplotlib.rc_context({"font.size": 30, "savefig.bbox": "tight", "axes.grid": True}):
        assert drawing.to_png(_curve()) == expected


def _texts(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_image_pixels_arrive_unblurred_in_whole_multiples():
    originals = np.zeros((2, 28, 28, 1), np.float32)
    originals[:, ::2] = 1.0
    pixels = drawing.to_pixels(
        sheets.reconstructions_over_epochs(originals, originals[None], [2]), dpi=150
    )
    stripes = pixels[:, -60, 0]  # a column through the last image
    runs = np.diff(np.flatnonzero(np.diff(stripes.astype(int)) != 0))
    assert np.count_nonzero(runs == 3) > 50


def test_many_snapshots_are_thinned_with_the_first_and_last_kept():
    names = [text for text in _texts(_reconstructions(3, 8, 1, 60)) if text.startswith("epoch")]
    assert names == ["epoch 2", *(f"epoch {epoch}" for epoch in range(6, 121, 6))]


def test_of_fifty_epochs_the_first_and_every_second_are_shown():
    epochs = [1, *range(2, 51, 2)]
    images = _images(26, 3, 8, 8, 1)
    texts = _texts(sheets.reconstructions_over_epochs(images[0], images, epochs))
    assert [text for text in texts if text.startswith("epoch")] == [f"epoch {n}" for n in epochs]


def test_gains_are_printed_and_holes_outlined():
    figure = sheets.restorations([_restoration(3), _restoration(3, holes=False)])
    texts = _texts(figure)
    assert texts.count("+9.0 dB") == 2
    assert texts.count("\N{MINUS SIGN}12.3 dB") == 2
    first, second = figure.axes
    assert [patch.get_bbox().bounds[2:] for patch in first.patches] == [(3.0, 3.0)] * 3
    assert not second.patches


def test_psnr_of_uncorrupted_input_is_left_out_of_the_sweep():
    psnr = _sweep().axes[0].lines[0].get_ydata()
    assert np.isnan(psnr[0])
    assert np.isfinite(psnr[1:]).all()


def test_the_table_of_samples_aligns_decimals_and_shows_a_dash_for_nan():
    texts = _texts(sheets.sampled_images(_rows()))
    assert {"distance", "score", "recall", "1438.2", "719.1", "9.80"} <= set(texts)
    assert texts.count("\N{EN DASH}") == 3


def test_the_best_epoch_and_the_pca_level_are_named():
    figure = _curve(pca_mse=0.0168, pca_dim=32)
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "PCA, 32 components: 0.0168" in names
    assert any(name.startswith("best, epoch 30: 0.00") for name in names)


def test_class_names_do_not_cover_each_other():
    figure = figures.encoded_space(
        np.tile([[0.5, 0.5], [0.0, 0.0], [1.0, 1.0]], (10, 1)), [0.5, 0.5],
        RANDOM.standard_normal((30, 2)), np.repeat(np.arange(10), 3),
        [f"class {i}" for i in range(10)],
    )  # fmt: skip
    canvas = backend_agg.FigureCanvasAgg(figure)
    canvas.draw()
    boxes = [text.get_window_extent(canvas.get_renderer()) for text in figure.axes[0].texts]
    for index, box in enumerate(boxes):
        assert not any(
            box.shrunk(0.8, 0.6).overlaps(other.shrunk(0.8, 0.6)) for other in boxes[:index]
        )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: figures.learning_curve([1, 2], [1], [1, 2], best_epoch=1), "one length"),
        (lambda: figures.learning_curve([1], [1], [1], best_epoch=2), "best_epoch"),
        (lambda: _reconstructions(3, 8, 2), "channels"),
        (lambda: _reconstructions(3, column_labels=["a"]), "labels"),
        (
            lambda: sheets.reconstructions_over_epochs(
                _images(2, 8, 8, 1), _images(2, 8, 8, 1), [1, 2]
            ),
            "snapshots",
        ),
        (
            lambda: sheets.reconstructions_over_epochs(
                _images(2, 8, 8, 1), _images(1, 2, 8, 8, 1), [1, 2]
            ),
            "2 epochs",
        ),
        (lambda: sheets.restorations([]), "at least one"),
        (
            lambda: sheets.restorations(
                [sheets.Restoration("a", *[_images(2, 8, 8, 1)] * 3, np.zeros(3))]
            ),
            "3 gains",
        ),
        (
            lambda: sheets.restorations(
                [
                    sheets.Restoration(
                        "a", _images(1, 8, 8, 1), *[_images(2, 8, 8, 1)] * 2, np.zeros(2)
                    )
                ]
            ),
            "one shape",
        ),
        (lambda: figures.corruption_sweep([0.1], {}, [1], {}), "input_psnr_db"),
        (lambda: _space(names=["only one"]), "no name"),
        (
            lambda: figures.encoded_space(np.zeros((3, 2)), [1, 0], np.zeros((4, 2))),
            "principal and tsne",
        ),
        (
            lambda: figures.encoded_space(
                np.zeros((3, 2)), [1, 0], np.zeros((3, 2)), np.zeros(2, int)
            ),
            "labels",
        ),
        (lambda: sheets.sampled_images([]), "at least one"),
        (lambda: sheets.sampled_images([*_rows(1), *_rows(3)]), "one image shape"),
        (lambda: _marginals(num_samples=7), "1 to 6"),
        (lambda: figures.code_marginals(np.zeros((5, 2)), {"a": np.zeros((5, 3))}), "dimensions"),
        (lambda: figures.code_marginals(np.zeros((1, 2)), {"a": np.zeros((5, 2))}), "rows or more"),
    ],
)
def test_arrays_that_do_not_fit_together_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_search_progress_has_a_curve_a_search_that_found_something():
    curves = {"Hyperband": ([3, 10, 20], [0.02, 0.01, 0.005]), "grid": ([5, 25], [0.02, 0.012])}
    figure = figures.search_progress({**curves, "random": ([], [])})
    axes = figure.axes[0]
    assert axes.get_yscale() == "log"
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["Hyperband: 0.0050 after 20 epochs", "grid: 0.0120 after 25 epochs"]
    with pytest.raises(ValueError, match="received none"):
        figures.search_progress({"random": ([], [])})
    with pytest.raises(ValueError, match="2 epochs and 1 errors"):
        figures.search_progress({"random": ([1, 2], [0.1])})


def test_error_over_code_size_shows_the_best_of_each_size_beside_pca():
    trials = {16: [0.012, 0.008], 32: [0.005], 64: []}
    figure = figures.error_over_code_size(
        trials, {16: 0.027, 32: 0.017, 64: 0.009}, bars={16: (0.008, 0.001)}
    )
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    assert lines["autoencoder, best trial"].get_ydata().tolist() == [0.008, 0.005]
    assert lines["PCA"].get_xdata().tolist() == [16, 32, 64]
    assert len(drawing.to_png(figure)) > 1000
    with pytest.raises(ValueError, match="at least one trial"):
        figures.error_over_code_size({}, {})


@pytest.mark.parametrize("last", [0.5, 4.0])  # a line that falls to its end, and one that rises
def test_the_last_distance_stands_beside_the_line_and_inside_the_picture(last):
    columns = ("generator_loss", "discriminator_loss", "real_accuracy", "generated_accuracy")
    history = {name: [0.5] * 20 for name in columns} | {"epoch": list(range(1, 21))}
    distances = [math.nan] * 20
    distances[4::5] = [5.0, 3.0, 2.0, last]
    figure = figures.adversarial_curves(history | {"fid": distances})
    figure.canvas.draw()
    axes = figure.axes[2]
    box = axes.texts[0].get_window_extent()
    points = axes.transData.transform(axes.get_lines()[0].get_xydata())
    assert box.x0 > points[:, 0].max()
    assert box.x1 <= figure.bbox.x1


def test_adversarial_curves_show_distances_where_they_were_measured():
    panels = _adversarial().axes
    assert [axes.get_ylabel() for axes in panels] == [
        "loss (nats)", "share told right", "distance to real images",
    ]  # fmt: skip
    (line,) = panels[2].get_lines()
    np.testing.assert_array_equal(line.get_xdata(), [5, 10, 15, 20])
    assert [text.get_text() for text in panels[2].texts] == ["5"]
    assert len(_adversarial(measured=False).axes) == 2
    history = {name: [1.0, 1.0] for name in (
        "generator_loss", "discriminator_loss", "real_accuracy", "generated_accuracy",
    )}  # fmt: skip
    level = figures.adversarial_curves(history | {"epoch": [1, 2], "fid": [190.461, 190.458]})
    low, high = level.axes[2].get_ylim()
    assert high / low > 2  # no axis of six digits for a distance that hardly moves
    short = _adversarial(2).axes[-1]
    assert all(tick == int(tick) for tick in short.get_xticks())
    with pytest.raises(ValueError, match="at least one epoch"):
        figures.adversarial_curves({"epoch": []})


def test_areas_are_drawn_in_percent_with_their_mean_and_must_fit_the_classes():
    figure = figures.areas_under_curves(["a", "b"], {"first": [0.5, 1.0], "second": [0.25, 0.75]})
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["first: 75.0 %", "second: 50.0 %"]
    lines = [line.get_ydata().tolist() for line in figure.axes[0].lines[:4]]
    assert lines == [[50.0, 100.0], [75.0], [25.0, 75.0], [50.0]]
    with pytest.raises(ValueError, match="one value for each of 2 classes"):
        figures.areas_under_curves(["a", "b"], {"first": [0.5]})
