"""The settings of a search for settings. Start here."""

from __future__ import annotations

import dataclasses
from typing import Any

from kerasunsup.errors import InputError
from kerasunsup.settings import CheckedSettings, flag, setting


@dataclasses.dataclass(frozen=True)
class SearchSettings(CheckedSettings):
    """The settings of a search for settings; a training has none of them in its `config.json`.

    Raises:
        InputError: if a value is out of its range, or belongs to another kind of search.
    """

    tune: bool = setting(
        False,
        "search with Hyperband over code size, learning rate and weight decay, then train the best"
        " settings at the code size --latent-dim over --epochs",
        switch=True,
    )
    grid: bool = setting(
        False,
        "search a grid over the same three settings instead, with cross-validation",
        switch=True,
    )
    random: bool = setting(
        False,
        "search at random instead, for as many epochs as --tune takes, to compare the two",
        switch=True,
    )
    # A grid spends its budget on many combinations and folds: its trials must be short.
    max_epochs: int | None = setting(
        None,
        "epochs of the longest trial of a search; by default 20 for --tune and --random, 5 for"
        " --grid",
        least=1,
    )
    folds: int | None = setting(
        None,
        "cross-validate each trial of --grid on N parts of the training images; by default 5",
        least=2,
        most=100,
    )
    wide: bool = setting(False, "search the hidden units and the filters too", switch=True)
    search_only: bool = setting(
        False, "stop when the search is over, without training the best settings", switch=True
    )
    overwrite: bool = setting(
        False,
        "remove an earlier search of the same kind and start anew; without it the search goes on",
        switch=True,
    )
    tuning: str = setting(
        "tuning",
        "write searches to this folder: DIR/ae/best.json and more",
        metavar="DIR",
        is_path=True,
    )
    distributed: tuple[str, ...] | None = setting(
        None,
        "share the search between machines: 'chief HOST:PORT' on one, 'NAME HOST:PORT' for each"
        " worker; all have the same flags and one --tuning DIR that all can reach",
        metavar="ROLE_AND_ADDRESS",
    )

    def __post_init__(self) -> None:
        """Checks each value, then what goes together."""
        super().__post_init__()
        kinds = [name for name in ("tune", "grid", "random") if getattr(self, name)]
        if len(kinds) > 1:
            raise InputError(
                f"--{kinds[0]} and --{kinds[1]} are two searches: give one, then the other"
            )
        if not kinds:
            for field in dataclasses.fields(self):
                if getattr(self, field.name) != field.default:
                    raise InputError(
                        f"{flag(field.name)} belongs to a search: add --tune, --grid or --random"
                    )
        if self.folds is not None and not self.grid:
            raise InputError("--folds belongs to --grid: only there trials are cross-validated")
        if self.distributed is not None:
            address = self.distributed[1] if len(self.distributed) == 2 else ""
            host, _, port = address.rpartition(":")
            if not host or not port.isdecimal():
                raise InputError(
                    "--distributed needs a role and an address, such as 'chief localhost:5000' or "
                    f"'worker-1 localhost:5000', received {' '.join(self.distributed)!r}"
                )

    @property
    def kind(self) -> str | None:
        """`hyperband`, `grid` or `random`; None where nothing is searched."""
        if self.tune:
            return "hyperband"
        return "grid" if self.grid else "random" if self.random else None

    def shrunk(self) -> SearchSettings:
        """Returns the settings of a smoke run of the whole path; values that were given stay."""
        small: dict[str, Any] = {"max_epochs": 3} | ({"folds": 2} if self.grid else {})
        unset = {name: value for name, value in small.items() if getattr(self, name) is None}
        return dataclasses.replace(self, **unset)
