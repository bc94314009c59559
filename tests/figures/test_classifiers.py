import types

import numpy as np
import pytest

from kerasunsup.figures import classifiers, confusion, style

SIZES = [100, 300, 1000, 10000, 55000]
NAMES = ["from scratch", "frozen", "fine-tuned"]


def _efficiency(names=tuple(NAMES), sizes=SIZES, scratch=NAMES[:1], **options):
    """The last method is not run with the most labels and has one seed."""
    means = [
        0.02 * (index + 1) / np.sqrt(np.arange(1, len(sizes) + 1)) for index in range(len(names))
    ]
    methods = {name: (mean, 0.1 * mean) for name, mean in zip(names, means, strict=True)}
    if len(sizes) > 1:
        means[-1][-1] = np.nan
    methods[names[-1]][1][:] = np.nan
    return methods, classifiers.label_efficiency(sizes, methods, scratch=scratch, **options)


def _learning(num_points=12, num_seeds=3, zero=True, worst=0.1, best=0.995):
    images = np.geomspace(64, 600_000, num_points)
    images[0] = 0.0 if zero else 64.0
    seeds = np.arange(num_seeds)[:, None]
    accuracy = np.linspace(worst, best, num_points) * (1.0 - 0.01 * seeds)
    return {
        "images": images,
        "seconds": images / 9000.0 * (1.0 + 0.1 * seeds),
        "accuracy": accuracy,
        "loss": 2.4 - 2.2 * accuracy,
    }


def _reliability(num_bins=15, images=10_000):
    confidence = (np.arange(num_bins) + 0.5) / num_bins
    count = (images * np.exp(np.arange(num_bins) - num_bins + 0.5)).astype(int)
    confidence[count == 0] = np.nan
    return types.SimpleNamespace(
        confidence=confidence, accuracy=confidence**1.1, count=count,
        expected_calibration_error=0.0042,
    )  # fmt: skip


LONG_NAMES = ["T-shirt/top", "an ankle boot that has a name longer than wide", "$5 and $6", "x_1"]
TWELVE = [*LONG_NAMES, *(f"encoder {index}, fine-tuned" for index in range(8))]


def _confusion(number, names=None, wrong=0):
    counts = np.diag(np.full(number, 5923))
    counts[:, 0] += wrong
    return confusion.confusion_heatmap(counts, names)


FIGURES = {
    "efficiency": lambda: _efficiency(TWELVE, scratch=TWELVE[:2])[1],
    "efficiency_one_size": lambda: _efficiency(sizes=[55000])[1],
    "efficiency_two_sizes": lambda: _efficiency(LONG_NAMES, [1, 2], last_is_all=False)[1],
    "efficiency_close_sizes": lambda: _efficiency(["a"], [5000, 6000, 10000, 50000, 55000])[1],
    "speed": lambda: classifiers.learning_speed(dict.fromkeys(TWELVE, _learning())),
    "speed_without_zero": lambda: classifiers.learning_speed({"a": _learning(4, zero=False)}),
    "speed_one_point": lambda: classifiers.learning_speed({"a": _learning(1, num_seeds=1)}),
    "reliability": lambda: classifiers.reliability_curve({"a": _reliability(images=20)}),
    "reliability_twelve": lambda: classifiers.reliability_curve(
        dict.fromkeys(TWELVE, _reliability(10)), scratch=LONG_NAMES
    ),
    "confusion": lambda: _confusion(10, wrong=60),
    "confusion_long_names": lambda: _confusion(4, LONG_NAMES),
    "confusion_one": lambda: _confusion(1),
    "confusion_thirty": lambda: _confusion(30, ["name"] * 30, wrong=2),
    "confusion_hundred": lambda: _confusion(100),
}


@pytest.mark.parametrize("make", FIGURES.values(), ids=FIGURES.keys())
def test_figures_of_much_of_little_and_of_odd_names_can_be_drawn(make):
    assert style.to_png(make(), dpi=20).startswith(b"\x89PNG")


def _lines(axes):
    """Lines and error bars by their labels."""
    bars = {bar.get_label(): bar.lines[0] for bar in axes.containers}
    return bars | {line.get_label(): line for line in axes.lines}


def _legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def _ticks(axis):
    """The texts at an x axis."""
    axis.figure.draw_without_rendering()
    low, high = axis.get_view_interval()
    ticks = [tick for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
    return [tick.label1.get_text() for tick in ticks]


def test_errors_are_drawn_in_percent_where_they_were_measured_with_their_deviations():
    methods, figure = _efficiency()
    (axes,) = figure.axes
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    for bar in axes.containers:
        mean, deviation = methods[bar.get_label()]
        run = np.isfinite(mean)
        np.testing.assert_allclose(bar.lines[0].get_ydata(), 100 * mean[run])
        # Arms stand beside each other, each at its own number of labels or so.
        np.testing.assert_allclose(bar.lines[0].get_xdata(), np.array(SIZES)[run], rtol=0.35)
        segments = [part[:, 1] for part in bar.lines[2][0].get_segments() if len(part)]
        known = run & np.isfinite(deviation)
        ends = 100 * np.stack([mean - deviation, mean + deviation], axis=1)[known]
        np.testing.assert_allclose(np.reshape(segments, (-1, 2)), ends)


def test_the_legend_lists_methods_as_their_lines_end_and_marks_those_from_scratch():
    _, figure = _efficiency()
    assert _legend(figure) == ["fine-tuned", "frozen", "from scratch"]
    assert figure.legends[0].get_title().get_text() == "hollow, dashed: from scratch"
    lines = _lines(figure.axes[0])
    assert lines["from scratch"].get_markerfacecolor() == "white"
    assert lines["from scratch"].get_linestyle() == "--"
    assert lines["frozen"].get_linestyle() == "-"
    looks = classifiers._looks([str(index) for index in range(20)], ["3", "7"])
    assert len({(look["color"], look["marker"]) for look in looks.values()}) == 20


def test_numbers_of_labels_are_written_where_they_fit_and_the_last_is_all_unless_it_is_not():
    figure = _efficiency()[1]
    assert _ticks(figure.axes[0].xaxis) == ["100", "300", "1,000", "10,000", "all\n55,000"]
    figure = _efficiency(last_is_all=False)[1]
    assert _ticks(figure.axes[0].xaxis)[-1] == "55,000"
    figure = classifiers.label_efficiency([50, 1000, 1100], {"a": ([0.3, 0.2, 0.1], [0.0] * 3)})
    assert _ticks(figure.axes[0].xaxis) == ["50", "", "all\n1,100"]


def test_an_error_of_zero_stands_at_the_lower_edge_and_methods_that_never_ran_are_left_out():
    nothing = [np.nan, np.nan]
    figure = classifiers.label_efficiency(
        [10, 20], {"a": ([0.1, 0.0], [0.2, 0.0]), "b": (nothing, nothing)}
    )
    assert _legend(figure) == ["a"]
    low, high = figure.axes[0].get_ylim()
    assert low < _lines(figure.axes[0])["a"].get_ydata()[1] < 0.8 * 10.0 < high
    (axes,) = classifiers.label_efficiency([10], {"a": ([0.0], [0.0])}).axes
    assert _lines(axes)["a"].get_ydata()[0] == 0.01


def test_speed_is_drawn_as_mean_and_range_over_images_and_seconds():
    method = _learning()
    figure = classifiers.learning_speed({"a": method})
    error, time, loss, _ = figure.axes
    errors = 100.0 * (1.0 - method["accuracy"])
    np.testing.assert_allclose(_lines(error)["a"].get_ydata(), errors.mean(axis=0))
    np.testing.assert_allclose(_lines(error)["a"].get_xdata(), method["images"])
    np.testing.assert_allclose(_lines(loss)["a"].get_ydata(), method["loss"].mean(axis=0))
    np.testing.assert_allclose(_lines(time)["a"].get_xdata(), method["seconds"].mean(axis=0))
    band = error.collections[0].get_paths()[0].vertices[:, 1]
    assert (band.min(), band.max()) == pytest.approx((errors.min(), errors.max()))
    assert _legend(figure) == ["a"]


def test_what_was_measured_before_the_first_batch_stands_at_zero_on_the_axis():
    axes = classifiers.learning_speed({"a": _learning()}).axes[2]
    assert axes.get_xscale() == "symlog"
    assert axes.get_xlim()[0] < 0.0
    assert _ticks(axes.xaxis) == ["0", "100", "1,000", "10,000", "100,000"]
    axes = classifiers.learning_speed({"a": _learning(zero=False)}).axes[2]
    assert axes.get_xscale() == "log"


def test_no_error_at_all_stands_on_the_axis():
    axes = classifiers.learning_speed({"a": _learning(num_seeds=1, best=1.0)}).axes[0]
    drawn = _lines(axes)["a"].get_ydata()
    assert axes.get_ylim()[0] < drawn[-1] < drawn[-2] < axes.get_ylim()[1]


def test_seeds_without_a_measurement_are_left_out_of_the_mean():
    method = _learning(num_seeds=2)
    method["accuracy"][0, 3] = method["loss"][0, 3] = np.nan
    method["accuracy"][:, 5] = method["loss"][:, 5] = np.nan
    figure = classifiers.learning_speed({"a": method})
    drawn = _lines(figure.axes[0])["a"].get_ydata()
    assert drawn[3] == 100.0 * (1.0 - method["accuracy"][1, 3])
    assert np.flatnonzero(np.isnan(drawn)).tolist() == [5]


def test_the_confusion_matrix_shows_counts_shares_totals_and_accuracies():
    counts = np.array([[1098, 2, 0], [0, 50, 50], [0, 0, 0]])
    axes = confusion.confusion_heatmap(counts, ["zero", "one", "none"]).axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("prediction", "label")
    assert [text.get_text() for text in axes.texts] == [
        "1,098\n99.8 %", "2\n0.2 %", "50\n50.0 %", "50\n50.0 %",
    ]  # fmt: skip
    assert [text.get_text() for text in axes.get_yticklabels()] == ["zero", "one", "none"]
    (right,) = axes.child_axes
    labels = [text.get_text() for text in right.get_yticklabels()]
    assert labels == ["99.8 % of 1,100", "50.0 % of 100", "none"]
    assert axes.get_title() == "right predictions: 95.67 % of 1,200 images"
    shares = axes.images[0].get_array()
    expected = [[1098 / 1100, 2 / 1100, 0], [0, 0.5, 0.5], [0, 0, 0]]
    np.testing.assert_allclose(shares.filled(0.0), expected)


def test_a_confusion_of_two_in_a_thousand_can_be_seen():
    image = confusion.confusion_heatmap(np.array([[998, 2], [0, 9]])).axes[0].images[0]
    right, rare, _, _ = image.to_rgba(image.get_array())[..., :3].mean(axis=-1).ravel()
    assert right < 0.35
    assert rare < 0.95


def test_no_number_is_rounded_to_perfect_or_to_nothing():
    figure = confusion.confusion_heatmap(np.array([[99_999, 1], [0, 7]]))
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts == ["99,999\n99.999 %", "1\n0.001 %", "7\n100 %"]


@pytest.mark.parametrize(
    ("number", "text", "num_texts", "num_names"),
    [(10, "980\n100 %", 10, 10), (30, "980", 30, 30), (100, None, 0, 50)],
)
def test_many_classes_lose_shares_then_counts_then_names(number, text, num_texts, num_names):
    figure = confusion.confusion_heatmap(np.diag(np.full(number, 980)))
    texts = [drawn.get_text() for drawn in figure.axes[0].texts]
    assert texts == [text] * num_texts
    assert len(figure.axes[0].get_xticklabels()) == num_names


def test_bins_of_few_images_are_faint_and_the_calibration_error_is_named():
    method = _reliability()
    figure = classifiers.reliability_curve({"net": method})
    assert _legend(figure) == [
        "net: ECE 0.42 %", "perfectly calibrated", "faint: bins of fewer than 10 images",
    ]  # fmt: skip
    upper, lower = figure.axes
    full = _lines(upper)["net: ECE 0.42 %"]
    np.testing.assert_allclose(full.get_xdata(), method.confidence[method.count >= 10])
    np.testing.assert_allclose(full.get_ydata(), method.accuracy[method.count >= 10])
    (faint,) = [line for line in upper.lines if line.get_alpha() == 0.45]
    few = (method.count > 0) & (method.count < 10)
    np.testing.assert_allclose(faint.get_xdata(), method.confidence[few])
    np.testing.assert_array_equal(lower.patches[0].get_data().values, method.count)
    all_full = classifiers.reliability_curve({"net": method}, fewest=1)
    assert len(_legend(all_full)) == 2


def test_intervals_are_drawn_while_they_can_be_told_apart_and_hold_the_accuracy():
    def bars(num_methods):
        methods = {f"method {index}": _reliability() for index in range(num_methods)}
        return classifiers.reliability_curve(methods).axes[0].collections

    assert [len(bars(1)), len(bars(3)), len(bars(4))] == [1, 3, 0]
    # Newcombe, 1998, Statistics in Medicine 17, table I: 81 of 263, and 0 of 20.
    down, up = classifiers._interval(np.array([81 / 263, 0.0]), np.array([263, 20]))
    np.testing.assert_allclose(down, [81 / 263 - 0.2553, 0.0], atol=5e-5)
    np.testing.assert_allclose(up, [0.3662 - 81 / 263, 0.1611], atol=5e-5)


UNEQUAL = types.SimpleNamespace(confidence=np.ones(3), accuracy=np.ones(2), count=np.ones(3))


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        (classifiers.label_efficiency, ([], {}), "increasing"),
        (classifiers.label_efficiency, ([10, 10], {}), "increasing"),
        (classifiers.label_efficiency, ([0, 10], {}), "above 0"),
        (classifiers.label_efficiency, ([10], {}), "received none"),
        (classifiers.label_efficiency, ([10], {"a": ([0.1, 0.2], [0.1])}), "'a' needs 1"),
        (classifiers.label_efficiency, ([10], {"a": ([1.2], [0.1])}), "shares in"),
        (classifiers.learning_speed, ({},), "received none"),
        (classifiers.learning_speed, ({"a": {"images": [1]}},), "lacks"),
        (classifiers.learning_speed, ({"a": _learning(3) | {"images": np.ones(4)}},), "points"),
        (classifiers.learning_speed, ({"a": _learning(3) | {"loss": np.ones(3)}},), "seeds"),
        (classifiers.learning_speed, ({"a": _learning(3) | {"images": -np.ones(3)}},), "0 or"),
        (classifiers.learning_speed, ({"a": _learning(3, best=99.0)},), "accuracies in"),
        (classifiers.reliability_curve, ({},), "received none"),
        (classifiers.reliability_curve, ({"a": UNEQUAL},), "3, 2 and 3"),
        (confusion.confusion_heatmap, (np.ones((2, 2)),), "integers"),
        (confusion.confusion_heatmap, (np.ones((2, 3), int),), "classes, classes"),
        (confusion.confusion_heatmap, (np.zeros((2, 2), int),), "at least one image"),
        (confusion.confusion_heatmap, (np.array([[1, -1], [0, 1]]),), "0 or more"),
        (confusion.confusion_heatmap, (np.eye(3, dtype=int), ["a"]), "1 class_names for 3"),
    ],
)
def test_arrays_that_do_not_fit_together_are_refused(function, arguments, message):
    with pytest.raises(ValueError, match=message):
        function(*arguments)
