"""What all tests share."""

from collections.abc import Iterator

import pytest

from kerasunsup import cli


@pytest.fixture(autouse=True)
def shown_log() -> Iterator[None]:
    """Library code logs; tests see on standard output and error what commands show there."""
    with cli.log_on_terminal():
        yield
