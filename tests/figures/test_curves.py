import io
import itertools
import subprocess
import sys

import matplotlib
import numpy as np
import pytest
from PIL import Image

from kerasunsup.figures import curves as figures_curves
from kerasunsup.figures import style
from kerasunsup.search import figures

RANDOM = np.random.default_rng(0)
LONG_NAMES = ["T-shirt/top", "an ankle boot that has a name longer than wide", "$5 and $6", "x_1"]


def _curve(num_epochs=30, **options):
    epochs = np.arange(1, num_epochs + 1)
    loss = 0.004 + 0.05 / epochs
    return figures_curves.learning_curve(epochs, loss, loss * 1.1, best_epoch=num_epochs, **options)


def _sweep(size=5):
    falling = np.linspace(1.0, 0.2, size)
    names = ("psnr_db", "input_ssim", "ssim")
    curves = {"input_psnr_db": [100.0, *(20.0 * falling[1:])], **dict.fromkeys(names, falling)}
    return figures_curves.corruption_sweep(
        np.arange(size) / 10, curves, np.arange(size) * 2, curves
    )


def _adversarial(num_epochs=20, distances=()):
    epochs = np.arange(1, num_epochs + 1)
    history = {
        "epoch": epochs,
        "generator_loss": 1.0 + 1.0 / epochs,
        "discriminator_loss": 1.2 - 0.5 / epochs,
        "real_accuracy": np.full(num_epochs, 0.8),
        "generated_accuracy": np.full(num_epochs, 0.7),
    }
    if len(distances):
        history["fid"] = np.full(num_epochs, np.nan)
        history["fid"][4::5] = distances
    return figures_curves.adversarial_curves(history)


def _areas(names, num_scores=6):
    scores = {f"score {index} of $x": RANDOM.random(len(names)) for index in range(num_scores)}
    return figures_curves.areas_under_curves(names, scores)


def _record(sizes=(8, 16, 16, 64), **more):
    trials = [
        {
            "settings": {"latent_dim": size}, "validation_mse": 0.1 / size + 0.001 * index,
            "score": 1.0, "trained_epochs": 5, "clock": 1.0, **more,
        }
        for index, size in enumerate(sizes)
    ]  # fmt: skip
    return {"trials": trials, "reference": {"8": 0.03, "64": 0.009}}


def _importance(shares):
    part = {"settings": shares, "together": 0.1, "explained": -0.2}
    return figures.importance({"importance": {"epochs": 20, "error": part, "score": part}})


def _compared(num_epochs, num_seeds=3, num_panels=3):
    epochs = np.arange(1, num_epochs + 1)
    errors = 0.004 + 0.05 / epochs * RANDOM.uniform(0.8, 1.2, (num_seeds, 1))
    errors[1:, num_epochs // 2 + 1 :] = np.nan  # the others stopped early
    rows = {f"optimizer {index} of $x": (epochs, errors * (1 + index)) for index in range(5)}
    return figures_curves.compared_errors({f"part {index}": rows for index in range(num_panels)})


FIGURES = {
    "compared": lambda: _compared(40),
    "compared_one_epoch": lambda: _compared(1, 1, 1),
    "areas": lambda: _areas([str(label) for label in range(10)]),
    "areas_long_names": lambda: _areas(LONG_NAMES, 1),
    "areas_hundred": lambda: _areas([str(label) for label in range(100)], 2),
    "adversarial": lambda: _adversarial(20, [5.0, 3.0, 2.0, 0.5]),
    "adversarial_rising": lambda: _adversarial(20, [5.0, 3.0, 2.0, 4.0]),
    "adversarial_one_epoch": lambda: _adversarial(1),
    "curve": lambda: _curve(pca_mse=0.0168, pca_dim=32),
    "curve_of_one_epoch": lambda: _curve(1, pca_mse=0.1),
    "sweep": _sweep,
    "sweep_of_one": lambda: _sweep(1),
    "progress": lambda: figures.progress(
        {"hyperband": _record(), "grid": _record(), "random": _record([])}, 16
    ),
    "code_size": lambda: figures.code_size(_record(standard_error=0.001)),
    "importance": lambda: _importance(
        {"latent_dim": [0.5, 0.1, 0.9], "filters": [0.3, 0.0, 1.0], "hidden_units": [0.1, 0.1, 0.1]}
    ),
    "importance_of_one": lambda: _importance({"learning_rate": [1.0, 1.0, 1.0]}),
    "code_size_one": lambda: figures.code_size(_record([32])),
}


@pytest.mark.parametrize("make", FIGURES.values(), ids=FIGURES.keys())
def test_figures_of_much_of_little_and_of_odd_names_can_be_drawn(make):
    assert style.to_png(make(), dpi=20).startswith(b"\x89PNG")


def test_the_png_decodes_and_pixels_are_those_of_the_size_asked_for():
    figure = _curve()
    before = style.to_png(figure)
    picture = Image.open(io.BytesIO(before))
    assert (picture.format, picture.size) == ("PNG", (780, 525))
    pixels = style.to_pixels(figure, dpi=50)
    assert (pixels.shape, pixels.dtype) == ((175, 260, 3), np.uint8)
    assert (pixels[0, 0] == 255).all()
    assert style.to_png(figure) == before


def test_a_users_own_settings_do_not_matter_and_stay_as_they_are():
    expected = style.to_png(_curve())
    with matplotlib.rc_context({"font.size": 30, "savefig.bbox": "tight", "axes.grid": True}):
        settings = dict(matplotlib.rcParams)
        assert style.to_png(_curve()) == expected
        assert dict(matplotlib.rcParams) == settings


def test_pyplot_and_what_loads_slowly_stay_out():
    code = (
        "import sys; from kerasunsup.figures import "
        "classifiers, confusion, curves, image_grids, scatter_plots; "
        "print({'matplotlib.pyplot', 'tensorflow', 'sklearn', 'scipy'} & {*sys.modules})"
    )
    printed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert printed.strip() == "set()"


@pytest.mark.parametrize("values", [[0.00512, 0.00513], [1e-6, 1.0], [0.004, 0.03], [0.0, 0.01]])
def test_a_logarithmic_axis_has_two_to_ten_plain_numbers(values):
    figure, axes = style.panel()
    axes.plot(values)
    style.log_axis(axes, "y")
    figure.draw_without_rendering()
    low, high = axes.get_ylim()
    labels = axes.get_yticklabels()
    shown = [text.get_text() for text in labels if low <= text.get_position()[1] <= high]
    assert 2 <= len(shown) <= 10
    assert high / low > 2.2
    assert not any("e+" in text or "$" in text for text in shown)


def test_an_axis_with_nothing_above_zero_stays_linear():
    _, axes = style.panel()
    axes.plot([0.0, 0.0])
    style.log_axis(axes, "y")
    assert axes.get_yscale() == "linear"


def _legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def _lines(axes):
    return {line.get_label(): line for line in axes.lines}


def test_a_learning_curve_names_the_best_epoch_and_the_pca_level():
    figure = _curve(pca_mse=0.0168, pca_dim=32)
    epochs = np.arange(1, 31)
    lines = _lines(figure.axes[0])
    np.testing.assert_allclose(lines["training"].get_ydata(), 0.004 + 0.05 / epochs)
    np.testing.assert_allclose(lines["validation"].get_ydata(), 1.1 * (0.004 + 0.05 / epochs))
    assert {"PCA, 32 components: 0.0168", "best, epoch 30: 0.0062"} <= set(_legend(figure))


def test_psnr_of_uncorrupted_input_is_left_out_of_the_sweep():
    figure = _sweep()
    psnr = _lines(figure.axes[0])["corrupted input"].get_ydata()
    np.testing.assert_allclose(psnr, [np.nan, 16.0, 12.0, 8.0, 4.0])
    ssim = _lines(figure.axes[3])["model's output"]
    np.testing.assert_allclose(ssim.get_xdata(), [0, 2, 4, 6, 8])
    np.testing.assert_allclose(ssim.get_ydata(), np.linspace(1.0, 0.2, 5))


def test_adversarial_curves_show_distances_where_they_were_measured():
    panels = _adversarial(20, [5.0, 3.0, 2.0, 4.0]).axes
    (line,) = panels[2].get_lines()
    np.testing.assert_array_equal(line.get_xydata(), [[5, 5], [10, 3], [15, 2], [20, 4]])
    assert [text.get_text() for text in panels[2].texts] == ["4"]
    losses = _lines(panels[0])
    np.testing.assert_allclose(losses["generator"].get_ydata(), 1.0 + 1.0 / np.arange(1, 21))
    assert len(_adversarial().axes) == 2


def test_areas_are_drawn_in_percent_with_their_mean():
    figure = figures_curves.areas_under_curves(
        ["a", "b"], {"first": [0.5, 1.0], "second": [0.25, 0.75]}
    )
    assert _legend(figure) == ["first: 75.0 %", "second: 50.0 %"]
    lines = [line.get_ydata().tolist() for line in figure.axes[0].lines[:4]]
    assert lines == [[50.0, 100.0], [75.0], [25.0, 75.0], [50.0]]


def test_search_progress_has_a_curve_a_search_that_found_something():
    records = {"hyperband": _record(), "grid": _record([8]), "random": _record([])}
    figure = figures.progress(records, 16)
    assert _legend(figure) == ["Hyperband: 0.0073 after 20 epochs"]
    (line,) = figure.axes[0].lines
    np.testing.assert_allclose(line.get_xydata(), [[10, 0.00725], [15, 0.00725], [20, 0.00725]])
    assert figures.progress(records, 128) is None


def test_error_over_code_size_shows_the_best_of_each_size_beside_pca():
    figure = figures.code_size(_record(standard_error=0.001))
    lines = _lines(figure.axes[0])
    assert lines["all trials"].get_xdata().tolist() == [8, 16, 16, 64]
    best = lines["autoencoder, best trial"].get_ydata()
    np.testing.assert_allclose(best, [0.0125, 0.00725, 0.0045625])
    assert lines["PCA"].get_xydata().tolist() == [[8, 0.03], [64, 0.009]]
    assert "standard error over folds" in _legend(figure)
    in_nats = figures.code_size(_record() | {"objective": "loss in nats"})
    assert "linear variational autoencoder" in _lines(in_nats.axes[0])
    assert in_nats.axes[0].get_ylabel() == "validation error (loss in nats)"
    assert figures.code_size(_record([])) is None


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: figures_curves.learning_curve([1, 2], [1], [1, 2], best_epoch=1), "one length"),
        (lambda: figures_curves.learning_curve([1], [1], [1], best_epoch=2), "best_epoch"),
        (lambda: figures_curves.corruption_sweep([0.1], {}, [1], {}), "input_psnr_db"),
        (lambda: figures_curves.areas_under_curves(["a", "b"], {"c": [0.5]}), "each of 2 classes"),
        (lambda: figures_curves.adversarial_curves({"epoch": []}), "at least one epoch"),
        (lambda: figures_curves.compared_errors({"optimizers": {}}), "at least one training"),
        (
            lambda: figures_curves.compared_errors(
                {"optimizers": {"Adam": (np.arange(2), np.ones((3, 1)))}}
            ),
            "3, 1.* errors for 2 epochs",
        ),
    ],
)
def test_arrays_that_do_not_fit_together_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_lines_of_one_colour_differ_in_all_else():
    looks = [style.look(index) for index in range(12)]
    for one, other in itertools.combinations(looks, 2):
        if one["color"] == other["color"]:
            assert one["linestyle"] != other["linestyle"]
            assert one["marker"] != other["marker"]
            assert one.get("markerfacecolor") != other.get("markerfacecolor")
