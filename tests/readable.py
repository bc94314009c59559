"""What tests of figures share: whether a reader can read every text of a figure."""

from unittest import mock

import numpy as np
from matplotlib.backends import backend_agg
from matplotlib.text import Text


def check(figure):
    """No text that is drawn covers another or leaves the picture."""
    figure.set_dpi(100)
    canvas = backend_agg.FigureCanvasAgg(figure)
    drawn = []

    def draw(text, renderer, *args, **kwargs):
        if text.get_text() and text.get_visible():
            drawn.append((text.get_text(), Text.get_window_extent(text, renderer).extents))

    with mock.patch.object(Text, "draw", draw):
        canvas.draw()
    texts = [text for text, _ in drawn]
    boxes = np.array([box for _, box in drawn])
    assert (boxes[:, :2] >= -2).all(), texts
    assert (boxes[:, 2:] <= np.array(canvas.get_width_height()) + 2).all(), texts
    # A line's extent has room above and below its letters.
    margin = 0.15 * np.minimum(*(boxes[:, 2:] - boxes[:, :2]).T)[:, None]
    low, high = boxes[:, :2] + margin, boxes[:, 2:] - margin
    overlap = ((low[:, None] < high) & (low < high[:, None])).all(axis=-1)
    pairs = np.argwhere(np.triu(overlap, 1))
    assert [(texts[first], texts[second]) for first, second in pairs] == []
