"""The flags of a search."""

from __future__ import annotations

import json

import pytest

from kerasunsup import cli
from kerasunsup.ae import __main__ as ae
from kerasunsup.ae.settings import AutoencoderSettings
from kerasunsup.search.settings import SearchSettings
from kerasunsup.settings import Command, to_json


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--tune", "--grid"], "--tune and --grid are two searches"),
        (["--folds", "3"], "--folds belongs to a search"),
        (["--tune", "--folds", "3"], "--folds belongs to --grid"),
        (["--overwrite"], "--overwrite belongs to a search"),
        (["--tune", "--max-epochs", "0"], "--max-epochs must be at least 1"),
        (["--tune", "--distributed", "chief"], "a role and an address"),
        (["--tune", "--resume", "--name", "x"], "a search goes on by itself"),
    ],
)
def test_flags_that_do_not_go_together_are_refused(capsys, options, text):
    assert ae.main(options) == 2
    assert text in capsys.readouterr().err


def parse(*arguments: str) -> Command:
    return cli.parse(
        "ae", AutoencoderSettings, description="", quick={"epochs": 2, "limit": 1000},
        search=SearchSettings, search_defaults=ae._SEARCH_DEFAULTS, argv=arguments,
    )  # fmt: skip


def test_a_search_has_a_falling_rate_and_wider_layers_unless_told_otherwise(tmp_path):
    assert parse().config.schedule == "constant"
    assert parse("--tune").config.schedule == "cosine"
    assert (parse().config.hidden_units, parse("--tune").config.hidden_units) == (128, 256)
    assert parse("--tune", "--hidden-units", "128").config.hidden_units == 128
    assert parse("--tune", "--schedule", "constant").config.schedule == "constant"
    (tmp_path / "c.json").write_text(json.dumps({"schedule": "constant"}))
    assert parse("--tune", "--config", str(tmp_path / "c.json")).config.schedule == "constant"


def test_search_flags_are_no_settings():
    given = parse("--grid", "--quick")
    assert (given.search.kind, given.search.max_epochs, given.search.folds) == ("grid", 3, 2)
    assert not {"tune", "grid", "folds"} & set(to_json(given.config))
