"""What a search for settings can be told; no setting of a training."""

from __future__ import annotations

import dataclasses
from typing import Any

from kerasunsup.errors import InputError
from kerasunsup.settings import CheckedSettings, flag, setting


@dataclasses.dataclass(frozen=True)
class SearchSettings(CheckedSettings):
    """What a search for settings can be told; no setting of a training, so in no `config.json`.

    Raises:
        InputError: if a value is out of its range, or belongs to another kind of search.
    """

    tune: bool = setting(
        False,
        "search with Hyperband over code size, learning rate and weight decay, then train the best"
        " at the code size --latent-dim over --epochs",
        switch=True,
    )
    grid: bool = setting(
        False, "search a grid over the same three with cross-validation instead", switch=True
    )
    random: bool = setting(
        False, "search at random at the cost of --tune instead, to compare", switch=True
    )
    max_epochs: int | None = setting(
        None, "epochs of a search's longest trial (--tune and --random 20, --grid 5)", least=1
    )
    folds: int | None = setting(
        None, "parts of the training images in the --grid's cross-validation (5)", least=2, most=100
    )
    wide: bool = setting(False, "search hidden units and filters too", switch=True)
    search_only: bool = setting(False, "stop when the search is over", switch=True)
    overwrite: bool = setting(
        False, "start the search anew; else one that was stopped goes on", switch=True
    )
    tuning: str = setting(
        "tuning", "where searches go: DIR/ae/best.json and more", metavar="DIR", is_path=True
    )
    distributed: tuple[str, ...] | None = setting(
        None,
        "share the search: 'chief HOST:PORT' once, 'NAME HOST:PORT' for each worker; all with the"
        " same flags and one --tuning DIR that all can reach",
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
        """For a smoke run of the whole path; what was set stays."""
        small: dict[str, Any] = {"max_epochs": 3} | ({"folds": 2} if self.grid else {})
        unset = {name: value for name, value in small.items() if getattr(self, name) is None}
        return dataclasses.replace(self, **unset)
