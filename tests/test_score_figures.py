import dataclasses
import io
import subprocess
import sys

import matplotlib
import numpy as np
import pytest
from matplotlib.backends import backend_agg
from PIL import Image

from kerasunsup import confusion_figures, drawing, score_figures, sheets

RANDOM = np.random.default_rng(0)
LONG_NAMES = ["T-shirt/top", "an ankle boot that has a name longer than wide", "$5 and $6", "Ω"]
SIZES = [100, 300, 1000, 10000, 55000]
SCRATCH = ["from scratch", "from scratch, augmented"]


@dataclasses.dataclass
class Reliability:
    """What the classification module makes, which pictures need not know."""

    confidence: np.ndarray
    accuracy: np.ndarray
    count: np.ndarray
    expected_calibration_error: float


def _errors(num_arms=9, sizes=SIZES):
    """From scratch first; the last but one ends early, the last has one point."""
    names = [*SCRATCH, *(f"encoder {index}, fine-tuned" for index in range(num_arms - 2))]
    errors = {}
    for index, name in enumerate(names[:num_arms]):
        mean = 0.004 + 0.02 * (index + 1) * (np.array(sizes) / 100) ** -0.5
        if index == 7:
            mean[-2:] = np.nan
        if index == 8:
            mean[:-3] = mean[-2:] = np.nan
        errors[name] = (mean, np.where(index % 2, 0.1 * mean, np.nan))
    return errors


def _efficiency(num_arms=9, sizes=SIZES, **options):
    options.setdefault("scratch", SCRATCH[:num_arms])
    return score_figures.label_efficiency(sizes, _errors(num_arms, sizes), **options)


def _curve(num_points=12, num_seeds=3, zero=True, best=0.995):
    images = np.geomspace(64, 600_000, num_points)
    images[0] = 0.0 if zero else images[0]
    right = np.minimum(0.1 + 0.2 * np.log10(images + 1.0), best)
    accuracy = np.minimum(right * RANDOM.uniform(0.98, 1.0, (num_seeds, num_points)), 1.0)
    return {
        "images": images,
        "seconds": np.tile(images / 9000.0, (num_seeds, 1)),
        "accuracy": accuracy,
        "loss": 2.3 - 2.2 * accuracy,
    }


def _speed(num_arms=3, **options):
    return score_figures.learning_speed(
        {name: _curve(**options) for name in list(_errors())[:num_arms]}, scratch=SCRATCH
    )


def _counts(num_classes=10, right=980, wrong=2):
    counts = np.zeros((num_classes, num_classes), np.int64)
    for label in range(num_classes):
        counts[label, (label * 3 + 1) % num_classes] += wrong
        counts[label, label] += right
    return counts


def _reliability(num_bins=15, images=10_000):
    confidence = (np.arange(num_bins) + 0.5) / num_bins
    count = (images * np.exp(np.arange(num_bins) - num_bins + 0.5)).astype(int)
    empty = count == 0
    return Reliability(
        np.where(empty, np.nan, confidence), np.where(empty, np.nan, confidence**1.1), count, 0.0042
    )


def _mistakes(number=13, text="4 as 9", channels=1):
    images = RANDOM.random((number, 28, 28, channels)).astype(np.float32)
    return sheets.captioned_images(images, [text] * number, ["99.8 %"] * number)


FIGURES = {
    "efficiency": _efficiency,
    "efficiency_two_arms": lambda: _efficiency(2),
    "efficiency_no_scratch": lambda: _efficiency(6, scratch=()),
    "efficiency_one_size": lambda: _efficiency(5, [55000]),
    "efficiency_close_sizes": lambda: _efficiency(4, [5000, 6000, 10000, 50000, 55000]),
    "efficiency_not_all": lambda: _efficiency(4, last_is_all=False),
    "efficiency_long_names": lambda: score_figures.label_efficiency(
        [1, 2], {name: ([0.5, 0.1 / i], [0.6, 0.1]) for i, name in enumerate(LONG_NAMES, 1)}
    ),
    "speed": lambda: _speed(9),
    "speed_without_zero": lambda: _speed(zero=False),
    "speed_all_right": lambda: _speed(best=1.1),
    "speed_one_point": lambda: _speed(num_points=1),
    "speed_one_point_zero": lambda: _speed(num_points=1, zero=False, num_seeds=1),
    "confusion": lambda: confusion_figures.confusion_heatmap(_counts()),
    "confusion_long_names": lambda: confusion_figures.confusion_heatmap(_counts(4), LONG_NAMES),
    "confusion_one": lambda: confusion_figures.confusion_heatmap(_counts(1)),
    "confusion_thirty": lambda: confusion_figures.confusion_heatmap(_counts(30), ["name"] * 30),
    "confusion_hundred": lambda: confusion_figures.confusion_heatmap(_counts(100)),
    "reliability": lambda: score_figures.reliability_curve({"a": _reliability()}),
    "reliability_six": lambda: score_figures.reliability_curve(
        {f"arm {i} of $6": _reliability(i + 4) for i in range(6)}, scratch=["arm 0 of $6"]
    ),
    "mistakes": _mistakes,
    "mistakes_one": lambda: _mistakes(1),
    "mistakes_long_names": lambda: _mistakes(7, "T-shirt/top as Ankle boot", 3),
}


@pytest.mark.parametrize("make", FIGURES.values(), ids=FIGURES.keys())
def test_nothing_lies_outside_the_canvas_and_the_png_decodes(make):
    figure = make()
    picture = Image.open(io.BytesIO(drawing.to_png(figure, dpi=80)))
    assert picture.format == "PNG"
    width, height = figure.get_size_inches()
    assert picture.size == pytest.approx((width * 80, height * 80), abs=1)
    box = figure.get_tightbbox(_renderer(figure))  # of all that is drawn, in inches
    assert box.x0 >= -0.01
    assert box.y0 >= -0.01
    assert box.x1 <= width + 0.01
    assert box.y1 <= height + 0.01


def _renderer(figure):
    canvas = backend_agg.FigureCanvasAgg(figure)
    canvas.draw()
    return canvas.get_renderer()


def _overlapping(texts, figure):
    renderer = _renderer(figure)
    boxes = [(text.get_text(), type(text).get_window_extent(text, renderer)) for text in texts]
    return [
        (first, second)
        for index, (first, box) in enumerate(boxes)
        for second, other in boxes[:index]
        if box.shrunk(0.95, 0.7).overlaps(other.shrunk(0.95, 0.7))
    ]


def _texts(axes):
    return [text.get_text() for text in axes.texts]


def _lines(axes):
    return {line.get_label(): line for line in axes.lines}


def _legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_nothing_global_is_changed_and_pyplot_and_tensorflow_stay_out():
    before = dict(matplotlib.rcParams)
    drawing.to_png(_speed(2))
    assert dict(matplotlib.rcParams) == before
    code = (
        "import sys; from kerasunsup import score_figures; "
        "print([name for name in ('matplotlib.pyplot', 'tensorflow') if name in sys.modules])"
    )
    printed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert printed.strip() == "[]"


def test_every_arm_is_named_once_beside_its_line_and_no_name_covers_another():
    figure = _efficiency()
    (axes,) = figure.axes
    assert sorted(_texts(axes)) == sorted(_errors())
    names = [text for text in axes.texts if text.get_text()]
    # A name's extent includes its leader; that of the text alone is wanted.
    renderer = _renderer(figure)
    boxes = [matplotlib.text.Text.get_window_extent(name, renderer) for name in names]
    for index, box in enumerate(boxes):
        assert not any(box.shrunk(1, 0.8).overlaps(other.shrunk(1, 0.8)) for other in boxes[:index])
    # Names of lines that end early stand in the panel, but on no line.
    panel = axes.get_window_extent(renderer)
    inside = [box for box in boxes if box.x0 < panel.x1]
    assert len(inside) == 2
    for line in axes.lines:
        points = axes.transData.transform(line.get_xydata())
        assert not any(box.contains(*point) for box in inside for point in points)


def test_only_sizes_that_were_run_are_drawn_in_percent_on_logarithmic_axes():
    (axes,) = _efficiency().axes
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    lines = _lines(axes)
    assert [len(lines[name].get_xdata()) for name in _errors()] == [5] * 7 + [3, 1]
    mean, _ = _errors()["from scratch"]
    np.testing.assert_allclose(lines["from scratch"].get_ydata(), 100 * mean)
    # Arms stand beside each other, each within a tenth of its own number of labels or so.
    first, last = (np.asarray(lines[name].get_xdata()) for name in list(_errors())[::6])
    assert (first < last).all()
    np.testing.assert_allclose(first, SIZES, rtol=0.35)


def test_the_last_number_of_labels_is_all_unless_it_is_not():
    def ticks(figure):
        return [text.get_text() for text in figure.axes[0].get_xticklabels()]

    assert ticks(_efficiency()) == ["100", "300", "1,000", "10,000", "all\n55,000"]
    assert ticks(_efficiency(last_is_all=False))[-1] == "55,000"


def test_numbers_of_labels_that_lie_close_do_not_cover_each_other():
    figure = _efficiency(4, [5000, 6000, 10000, 50000, 55000])
    ticks = [text for text in figure.axes[0].get_xticklabels() if text.get_text()]
    assert ticks[-1].get_text() == "all\n55,000"
    assert len(ticks) < 5
    assert _overlapping(ticks, figure) == []


def test_arms_from_scratch_are_hollow_and_dashed_all_others_filled_and_solid():
    (axes,) = _efficiency().axes
    for name in _errors():
        line = _lines(axes)[name]
        hollow = line.get_markerfacecolor() == "white"
        assert hollow == (name in SCRATCH)
        assert (line.get_linestyle() == "-") != hollow
    looks = {(line.get_color(), line.get_marker()) for line in _lines(axes).values()}
    assert len({color for color, _ in looks}) >= 9
    assert len({marker for _, marker in looks}) >= 9
    keys = [text.get_text() for text in axes.get_legend().get_texts()]
    assert keys == ["unsupervised start", "from scratch", "standard deviation over seeds"]
    for only_one_kind in (_efficiency(3, scratch=()), _efficiency(2)):
        (axes,) = only_one_kind.axes
        assert [text.get_text() for text in axes.get_legend().get_texts()] == keys[2:]


def test_an_error_of_zero_stands_at_the_lower_edge_and_arms_that_never_ran_are_left_out():
    nothing = [np.nan, np.nan]
    (axes,) = score_figures.label_efficiency(
        [10, 20], {"a": ([0.1, 0.0], [0.2, 0.0]), "b": (nothing, nothing)}
    ).axes
    assert _texts(axes) == ["a"]
    assert _lines(axes)["a"].get_ydata()[1] == pytest.approx(axes.get_ylim()[0])
    (axes,) = score_figures.label_efficiency([10], {"a": ([0.0], [0.0])}).axes
    assert np.isfinite(axes.get_ylim()).all()


def test_speed_is_drawn_as_mean_and_range_over_images_and_seconds():
    arm = _curve()
    figure = score_figures.learning_speed({"a": arm})
    accuracy, time, loss, _ = figure.axes
    assert [axes.get_ylabel() for axes in figure.axes] == [
        "validation accuracy / %", "", "loss / nats", "",
    ]  # fmt: skip
    assert [axes.get_xlabel() for axes in figure.axes[2:]] == ["images seen", "training time / s"]
    np.testing.assert_allclose(_lines(accuracy)["a"].get_ydata(), arm["accuracy"].mean(axis=0))
    np.testing.assert_allclose(_lines(loss)["a"].get_ydata(), arm["loss"].mean(axis=0))
    np.testing.assert_allclose(
        _lines(time)["a"].get_xdata()[1:], arm["seconds"].mean(axis=0)[1:], rtol=1e-12
    )
    band = accuracy.collections[0].get_paths()[0].vertices[:, 1]
    assert band.min() == pytest.approx(arm["accuracy"].min())
    assert band.max() == pytest.approx(arm["accuracy"].max())


def test_what_was_measured_before_the_first_batch_stands_at_the_left_as_zero():
    figure = _speed(1)
    for axes in figure.axes:
        x = _lines(axes)["from scratch"].get_xdata()
        assert axes.get_xlim()[0] < x[0] < 0.6 * x[1]
    _renderer(figure)
    assert [text.get_text() for text in figure.axes[2].get_xticklabels()][:2] == ["0", "1,000"]
    without = _speed(1, zero=False)
    _renderer(without)
    assert "0" not in [text.get_text() for text in without.axes[2].get_xticklabels()]


def test_high_accuracies_are_spread_and_all_right_is_on_the_axis():
    arm = _curve()
    arm["accuracy"][:] = np.linspace(0.5, 1.0, arm["accuracy"].shape[1])
    figure = score_figures.learning_speed({"a": arm})
    axes = figure.axes[0]
    _renderer(figure)
    assert [text.get_text() for text in axes.get_yticklabels()][-1] == "100"
    heights = axes.transAxes.inverted().transform(
        axes.transData.transform([(100.0, share) for share in (0.9, 0.95, 1.0)])
    )[:, 1]
    assert 0.0 < heights[0] < heights[1] < heights[2] < 1.0
    assert heights[1] - heights[0] > 0.05


def test_seeds_without_a_measurement_are_left_out_of_the_mean():
    arm = _curve(num_seeds=2)
    arm["accuracy"][0, 3] = arm["loss"][0, 3] = np.nan
    arm["accuracy"][:, 5] = arm["loss"][:, 5] = np.nan
    figure = score_figures.learning_speed({"a": arm})
    drawn = _lines(figure.axes[0])["a"].get_ydata()
    assert drawn[3] == arm["accuracy"][1, 3]
    assert np.flatnonzero(np.isnan(drawn)).tolist() == [5]
    drawing.to_png(figure, dpi=40)


def test_the_confusion_matrix_shows_counts_shares_totals_and_accuracies():
    counts = np.array([[1098, 2, 0], [0, 50, 50], [0, 0, 0]])
    axes = confusion_figures.confusion_heatmap(counts, ["zero", "one", "none"]).axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("prediction", "label")
    texts = _texts(axes)
    assert [text for text in texts if text in ("1,098", "2", "50")] == ["1,098", "2", "50", "50"]
    assert {"99.8 %", "0.2 %"} <= set(texts)
    assert "0" not in texts[:8]  # empty cells stay empty
    assert texts[texts.index("images") :] == [
        "images", "1,100", "100", "0", "1,200",
        "accuracy", "99.8 %", "50.0 %", "\N{EN DASH}", "95.7 %",
    ]  # fmt: skip
    rates = axes.images[0].get_array()
    np.testing.assert_allclose(rates[0], [1098 / 1100, 2 / 1100, 0])
    assert (rates[2] == 0).all()


def test_a_confusion_of_two_in_a_thousand_can_be_seen():
    figure = confusion_figures.confusion_heatmap(_counts(10, 998, 2))
    image = figure.axes[0].images[0]
    empty, rare, right = (np.array(image.to_rgba(rate)[:3]).mean() for rate in (0.0, 0.002, 0.998))
    assert empty == pytest.approx(1.0)
    assert empty - rare > 0.08
    assert right < 0.35


def test_no_number_is_rounded_to_perfect_or_to_nothing():
    counts = np.array([[99_999, 1], [0, 7]])
    texts = _texts(confusion_figures.confusion_heatmap(counts).axes[0])
    assert {"99.999 %", "0.001 %", "100 %"} <= set(texts)
    assert "0.0 %" not in texts


def test_many_classes_lose_shares_then_counts_then_names():
    def shown(num_classes):
        axes = confusion_figures.confusion_heatmap(_counts(num_classes), None).axes[0]
        texts = _texts(axes)
        names = [text for text in axes.get_xticklabels() if text.get_text()]
        return texts.count("2"), texts.count("0.2 %"), len(names)

    assert shown(10) == (10, 10, 10)
    assert shown(30) == (30, 0, 30)
    assert shown(100) == (0, 0, 50)


def test_numbers_and_names_of_the_confusion_matrix_do_not_cover_each_other():
    for counts, names in ((_counts(10, 5923, 60), None), (_counts(4), LONG_NAMES)):
        figure = confusion_figures.confusion_heatmap(counts, names)
        axes = figure.axes[0]
        texts = [*axes.texts, *axes.get_xticklabels(), *axes.get_yticklabels()]
        texts += [axes.xaxis.label, axes.yaxis.label]
        assert _overlapping([text for text in texts if text.get_text()], figure) == []
    assert axes.get_xticklabels()[0].get_rotation() == 90
    assert axes.get_xticklabels()[1].get_text().endswith("\N{HORIZONTAL ELLIPSIS}")


def test_bins_of_few_images_are_faint_and_the_calibration_error_is_named():
    arm = _reliability()
    figure = score_figures.reliability_curve({"net": arm})
    assert _legend(figure) == [
        "net: ECE 0.42 %", "calibrated: as right as sure", "faint: bins of fewer than 10 images",
    ]  # fmt: skip
    upper, lower = figure.axes
    full = _lines(upper)["net: ECE 0.42 %"].get_xdata()
    np.testing.assert_allclose(full, arm.confidence[arm.count >= 10])
    (faint,) = [line for line in upper.lines if line.get_alpha() == 0.45]
    few = (arm.count > 0) & (arm.count < 10)
    np.testing.assert_allclose(faint.get_xdata(), arm.confidence[few])
    assert lower.get_yscale() == "log"
    np.testing.assert_array_equal(lower.patches[0].get_data().values, arm.count)
    all_full = score_figures.reliability_curve({"net": arm}, fewest=1)
    assert len(_legend(all_full)) == 2


def test_intervals_are_drawn_while_they_can_be_told_apart():
    def bars(num_arms):
        arms = {f"arm {index}": _reliability() for index in range(num_arms)}
        return len(score_figures.reliability_curve(arms).axes[0].collections)

    assert [bars(1), bars(3), bars(4)] == [1, 3, 0]


def test_the_interval_of_a_share_is_wilsons():
    # Newcombe, 1998, Statistics in Medicine 17, table I: 81 of 263, and 0 of 20.
    low, high = score_figures._wilson(np.array([81 / 263, 0.0]), np.array([263, 20]))
    np.testing.assert_allclose(low, [0.2553, 0.0], atol=5e-5)
    np.testing.assert_allclose(high, [0.3662, 0.1611], atol=5e-5)


def test_mistakes_have_their_texts_and_fit_a_page_in_columns_of_one_width():
    figure = _mistakes()
    assert len(figure.axes) == 2  # ten and three
    texts = [text for axes in figure.axes for text in _texts(axes)]
    assert (texts.count("4 as 9"), texts.count("99.8 %")) == (13, 13)
    texts = ["T-shirt/top as Ankle boot"] + ["a as b"] * 12
    wide = sheets.captioned_images(np.zeros((13, 28, 28, 1), np.float32), texts, texts)
    assert wide.get_size_inches()[0] < 7.5
    assert len({axes.get_position().width for axes in wide.axes}) == 1
    for axes in wide.axes:
        assert _overlapping([text for text in axes.texts if text.get_text()], wide) == []


def _with(key, value):
    return {"a": _curve(3, 2) | {key: value}}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: score_figures.label_efficiency([], {}), "increasing"),
        (lambda: score_figures.label_efficiency([10, 10], {}), "increasing"),
        (lambda: score_figures.label_efficiency([0, 10], {}), "above 0"),
        (lambda: score_figures.label_efficiency([10], {}), "received none"),
        (lambda: score_figures.label_efficiency([10], {"a": ([0.1, 0.2], [0.1])}), "'a' needs 1"),
        (lambda: score_figures.label_efficiency([10], {"a": ([1.2], [0.1])}), "shares in"),
        (lambda: score_figures.learning_speed({}), "received none"),
        (lambda: score_figures.learning_speed({"a": {"images": [1]}}), "lacks"),
        (lambda: score_figures.learning_speed(_with("images", np.ones(4))), "points"),
        (lambda: score_figures.learning_speed(_with("loss", np.ones(3))), "seeds, points"),
        (lambda: score_figures.learning_speed(_with("images", -np.ones(3))), "0 or more"),
        (lambda: score_figures.learning_speed(_with("accuracy", np.full((2, 3), 99))), "shares"),
        (lambda: confusion_figures.confusion_heatmap(np.ones((2, 2))), "integers"),
        (lambda: confusion_figures.confusion_heatmap(np.ones((2, 3), int)), "classes, classes"),
        (lambda: confusion_figures.confusion_heatmap(np.zeros((2, 2), int)), "at least one image"),
        (lambda: confusion_figures.confusion_heatmap(np.array([[1, -1], [0, 1]])), "0 or more"),
        (lambda: confusion_figures.confusion_heatmap(_counts(3), ["a"]), "1 class_names for 3"),
        (lambda: score_figures.reliability_curve({}), "received none"),
        (
            lambda: score_figures.reliability_curve(
                {"a": Reliability(np.ones(3), np.ones(2), np.ones(3), 0.1)}
            ),
            "3, 2 and 3",
        ),
        (lambda: sheets.captioned_images(np.zeros((0, 8, 8, 1)), [], []), "0 images"),
        (
            lambda: sheets.captioned_images(np.zeros((2, 8, 8, 1)), ["a"], ["b", "c"]),
            "1 and 2 for 2",
        ),
    ],
)
def test_arrays_that_do_not_fit_together_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
