"""What all tests share."""

import functools
import os
from collections.abc import Iterator

import pytest

from kerasunsup import cli, tensorflow_startup


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leaves out what is long by nature, unless the environment asks for it: SLOW=1."""
    if os.environ.get("SLOW", "0") in ("", "0"):
        skip = pytest.mark.skip(reason="slow; run with SLOW=1")
        for item in items:
            if item.get_closest_marker("slow") is not None:
                item.add_marker(skip)


@pytest.fixture(autouse=True)
def shown_log() -> Iterator[None]:
    """Library code logs; tests see on standard output and error what commands show there."""
    with cli.log_on_terminal():
        yield
    # As a command does at its end: tests start experiments without one.
    tensorflow_startup.restore_parallel_maps()


@pytest.fixture
def small_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures of few pixels, for tests that do not look at them: they are drawn all the same."""
    from kerasunsup.figures import style

    for name in ("to_png", "to_pixels"):
        monkeypatch.setattr(style, name, functools.partial(getattr(style, name), dpi=30))
