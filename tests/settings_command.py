"""Command lines as tests give them, and the one line that refuses them."""

import json

import pytest

from kerasunsup import cli
from kerasunsup.ae.settings import AutoencoderSettings
from kerasunsup.errors import InputError
from kerasunsup.settings import Command, to_json

QUICK = {"epochs": 2, "limit": 1000}


def parse(*arguments: str, quick=QUICK) -> Command:
    return cli.parse("ae", AutoencoderSettings, description="Trains.", quick=quick, argv=arguments)


def refusal(function, *arguments, **options) -> str:
    """The one line of the InputError."""
    with pytest.raises(InputError) as caught:
        function(*arguments, **options)
    text = str(caught.value)
    assert "\n" not in text
    return text


def write(path, values):
    path.write_text(json.dumps(values))
    return str(path)


def store_run(folder, **settings) -> AutoencoderSettings:
    stored = AutoencoderSettings(**settings)
    folder.mkdir(parents=True)
    write(folder / "config.json", to_json(stored))
    return stored
