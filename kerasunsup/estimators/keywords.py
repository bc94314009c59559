"""A command's settings as the keywords of an estimator."""

from __future__ import annotations

import dataclasses
import inspect
import os
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator

from kerasunsup.settings import CheckedSettings, TrainingSettings, setting

# Settings that tell a command where its images are, or what it measures and shows afterwards.
_OF_COMMANDS = (
    "data", "image_size", "limit", "test_limit", "snapshot_every", "num_codes", "num_samples",
    "measure_every", "labels", "repetitions", "arms", "encoder", "pseudo_label_steps",
    "student", "student_rounds", "student_epochs", "unlabelled_batch_size",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class EstimatorSettings(CheckedSettings):
    """What only estimators can be told."""

    verbose: int = setting(1, "1: show a bar while training; 0: show nothing", least=0, most=1)
    log_dir: str | None = setting(
        None,
        "write the run (history, TensorBoard's events, state, model) to a new folder in this one;"
        " None writes nothing",
        is_path=True,
    )


class SettingsKeywords(BaseEstimator):
    """An estimator whose keywords are the settings of a command.

    They are checked when it is fitted, as scikit-learn's are.

    Attributes:
        settings_type: the command's settings.
        own_settings: those of the estimator alone.
        left_out: settings of the command that have no meaning here.
        experiment: the command's name.
        more_keywords: name -> (default, help) of keywords that are no settings.
    """

    settings_type: ClassVar[type[TrainingSettings]]
    own_settings: ClassVar[type[EstimatorSettings]] = EstimatorSettings
    left_out: ClassVar[tuple[str, ...]] = ()
    experiment: ClassVar[str]
    more_keywords: ClassVar[Mapping[str, tuple[Any, str]]] = {}

    def __init_subclass__(cls, **keywords: Any) -> None:
        """Gives the class its keywords, and lists them in its docstring."""
        super().__init_subclass__(**keywords)
        if not hasattr(cls, "settings_type"):
            return
        keywords_and_help = dict(cls.more_keywords) | {
            field.name: (field.default, field.metadata["help"])
            for kind in (cls.settings_type, cls.own_settings)
            for field in cls._fields(kind)
        }
        initialize = _initializer(keywords_and_help)
        # Where documentation tools look for it.
        initialize.__module__, initialize.__name__ = cls.__module__, "__init__"
        initialize.__qualname__ = f"{cls.__qualname__}.__init__"
        if "__init__" not in vars(cls):  # a user's class may have one of its own
            cls.__init__ = initialize  # type: ignore[method-assign]
        listed = "\n".join(
            f"    {name}: {text}. Default {default!r}."
            for name, (default, text) in keywords_and_help.items()
        )
        cls.__doc__ = f"{inspect.cleandoc(cls.__doc__ or '')}\n\nArgs:\n{listed}\n"

    @classmethod
    def _fields(cls, kind: type[CheckedSettings]) -> list[dataclasses.Field]:
        hidden = {*_OF_COMMANDS, *cls.left_out}
        return [field for field in dataclasses.fields(kind) if field.name not in hidden]

    def _checked(self) -> tuple[Any, Any]:
        """The command's settings and the estimator's own.

        Raises:
            InputError: if one of them is wrong.
        """

        def of(kind: type[CheckedSettings]) -> CheckedSettings:
            names = [field.name for field in self._fields(kind)]
            values = {name: _plain(getattr(self, name)) for name in names}
            if isinstance(values.get("verbose"), bool):  # as scikit-learn takes it
                values["verbose"] = int(values["verbose"])
            return kind(**values)

        return of(self.settings_type), of(self.own_settings)


def _plain(value: Any) -> Any:
    """A value in the types that settings have: grids and drawn values are often NumPy's."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def _initializer(keywords_and_help: Mapping[str, tuple[Any, str]]) -> Any:
    """An `__init__` that stores its keywords, with the signature that scikit-learn reads."""
    keyword_only = inspect.Parameter.KEYWORD_ONLY
    parameters = [inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)]
    for name, (default, _) in keywords_and_help.items():
        parameters.append(inspect.Parameter(name, keyword_only, default=default))
    signature = inspect.Signature(parameters)

    def initialize(self: Any, **keywords: Any) -> None:
        bound = signature.bind(self, **keywords)
        bound.apply_defaults()
        for name, value in bound.arguments.items():
            if name != "self":
                setattr(self, name, value)

    initialize.__signature__ = signature  # type: ignore[attr-defined]
    return initialize
