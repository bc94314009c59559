"""The commands' complaints in Python's words: `latent_dim` instead of `--latent-dim`."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from kerasunsup.errors import InputError

_P = ParamSpec("_P")
_T = TypeVar("_T")


def python_words(function: Callable[_P, _T]) -> Callable[_P, _T]:
    """The function, whose `InputError`s name keywords where commands name flags.

    Example:
        >>> @python_words
        ... def refuse():
        ...     raise InputError("--latent-dim must be at least 1, received 0")
        >>> refuse()
        Traceback (most recent call last):
        kerasunsup.errors.InputError: latent_dim must be at least 1, received 0
    """

    @functools.wraps(function)
    def with_python_words(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        try:
            return function(*args, **kwargs)
        except InputError as error:
            raise InputError(_without_flags(str(error))) from error

    return with_python_words


def _without_flags(text: str) -> str:
    # `load` has no such keyword: what is read into a program is never another program.
    text = re.sub(r", or add --trust-model\b.*", "", text)
    # Of a value that is named by its flag and the file it came from, the file is enough.
    text = re.sub(r"^--data (?=\S+:)", "", text)
    return re.sub(r"(?<![\w-])--([a-z][a-z-]*)", lambda match: match[1].replace("-", "_"), text)
