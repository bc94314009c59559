import numpy as np
import pytest

from kerasunsup.figures import scatter_plots, style

RANDOM = np.random.default_rng(0)
LONG_NAMES = ["T-shirt/top", "an ankle boot that has a name longer than wide", "$5 and $6", "x_1"]


def _space(num_codes=200, num_classes=10, names=None, labelled=True, dim=2):
    labels = np.arange(num_codes) % num_classes if labelled else None
    points = RANDOM.standard_normal((num_codes, 2))
    return scatter_plots.encoded_space(points[:, :dim], [0.4, 0.2][:dim], points * 9, labels, names)


def _marginals(dim=6, num_samples=3, num_codes=300):
    codes = RANDOM.standard_normal((num_codes, dim))
    samples = {f"way {index}": codes[:50] * (index + 1) for index in range(num_samples)}
    return scatter_plots.code_marginals(codes, samples)


FIGURES = {
    "space": lambda: _space(names=[str(label) for label in range(10)]),
    "space_long_names": lambda: _space(num_classes=4, names=LONG_NAMES),
    "space_one_class": lambda: _space(num_classes=1, dim=1),
    "space_without_labels": lambda: _space(labelled=False),
    "marginals": _marginals,
    "marginals_one_dimension": lambda: _marginals(dim=1, num_samples=1),
    "marginals_seven": lambda: _marginals(num_samples=7, num_codes=2500),
}


@pytest.mark.parametrize("make", FIGURES.values(), ids=FIGURES.keys())
def test_figures_of_much_of_little_and_of_odd_names_can_be_drawn(make):
    assert style.to_png(make(), dpi=20).startswith(b"\x89PNG")


def _legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def _texts(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_short_class_names_stand_at_their_codes_and_long_ones_in_a_legend():
    short = _space(names=[f"c{label}" for label in range(10)])
    assert _texts(short) == 2 * [f"c{label}" for label in range(10)]
    assert not short.legends
    long = _space(num_classes=3, names=LONG_NAMES)
    assert _texts(long) == 2 * ["0", "1", "2"]
    assert _legend(long)[::2] == ["0: T-shirt/top", "2: $5 and $6"]
    assert len(long.axes[0].collections[0].get_offsets()) == 200


def test_class_names_at_one_place_are_moved_apart_and_others_stay():
    places = scatter_plots._apart(np.array([[0.5, 0.5]] * 4 + [[0.1, 0.9]]))
    assert (np.abs(places[:4] - 0.5) < 0.15).all()
    np.testing.assert_allclose(places[4], [0.1, 0.9], atol=0.01)
    gaps = np.abs(places[:, None] - places)[np.triu_indices(5, 1)]
    assert (gaps.max(axis=1) > 0.04).all()
    flat = _space(dim=1).axes[0]
    heights = [text.get_position()[1] for text in flat.texts]
    assert abs(np.mean(heights)) < 0.2 * flat.get_ylim()[1]


def test_distances_to_the_nearest_training_code_are_shares_of_the_codes():
    codes = np.array([[0.0, 0.0], [3.0, 4.0], [0.0, 1.0], [0.0, 1.0]])
    figure = scatter_plots.code_marginals(codes, {"far": np.array([[0.0, 7.0], [0.0, 0.0]])})
    training, far = figure.axes[-1].patches[:60], figure.axes[-1].patches[60]
    assert [bar.get_height() for bar in training if bar.get_height()] == [50.0, 25.0, 25.0]
    assert far.get_xy()[:, 1].max() == 50.0
    assert figure.axes[-1].get_xlim() == pytest.approx((0.0, np.sqrt(18.0)))
    assert figure.axes[0].collections[1].get_offsets().shape == (2, 2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: _space(names=["only one"]), "no name"),
        (
            lambda: scatter_plots.encoded_space(np.ones((3, 2)), [1, 0], np.ones((4, 2))),
            "and tsne",
        ),
        (
            lambda: scatter_plots.encoded_space(np.ones((3, 2)), [1, 0], np.ones((3, 2)), [0, 1]),
            "labels",
        ),
        (lambda: scatter_plots.code_marginals(np.zeros((5, 2)), {}), "at least one"),
        (
            lambda: scatter_plots.code_marginals(np.zeros((5, 2)), {"a": np.zeros((5, 3))}),
            "dimensions",
        ),
        (
            lambda: scatter_plots.code_marginals(np.zeros((1, 2)), {"a": np.zeros((5, 2))}),
            "rows or more",
        ),
    ],
)
def test_arrays_that_do_not_fit_together_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
