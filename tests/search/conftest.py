"""A search whose trials cost nothing."""

from __future__ import annotations

import pytest
from search_problems import FakeTrialRunner

from kerasunsup.search import session
from kerasunsup.training import tensorboard


@pytest.fixture
def fake(monkeypatch):
    made = FakeTrialRunner()
    monkeypatch.setattr(session.Search, "trial_runner", property(lambda self: made))
    monkeypatch.setattr(tensorboard, "write_trial", lambda *_: None)
    return made
