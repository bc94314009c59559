"""Work that a test does not look at, made cheap: a folder's conftest.py imports what it wants."""

from collections.abc import Iterator

import pytest

from kerasunsup.figures import style


@pytest.fixture(scope="module", autouse=True)
def coarse_figures() -> Iterator[None]:
    """Figures of 40 pixels an inch: half of a report's time goes into pixels."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        for function in (style.to_png, style.to_pixels):
            monkeypatch.setattr(function.__wrapped__, "__defaults__", (40,))
        yield


@pytest.fixture(scope="module", autouse=True)
def plain_updates() -> Iterator[None]:
    """No XLA, which compiles anew for each network; its own tests compare the two."""
    from kerasunsup.models import faster_layers, optimizers  # loads TensorFlow

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(optimizers, "FusedAdam", optimizers.AveragingAdam)
        monkeypatch.setattr(faster_layers, "is_faster", lambda: False)
        yield
