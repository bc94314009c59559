import shutil
from pathlib import Path

import pytest
from cheap_work import coarse_figures
from report_runs import ROOT, write_run

from kerasunsup.report import steps

__all__ = ["coarse_figures"]


@pytest.fixture
def places(tmp_path, monkeypatch) -> steps.Places:
    """Everything stands, in the working directory."""
    monkeypatch.chdir(tmp_path)
    found = steps.Places(Path("logs"), Path("tuning"), quick=False)
    shutil.copytree(ROOT / "tuning" / "ae", tmp_path / "tuning" / "ae")
    for step in steps.STEPS:
        if not step.is_search:
            write_run(step, found, f"the-{step.key}")
    return found
