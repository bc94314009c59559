"""Makes griffe read this project's docstrings: `Example:` holds code that runs."""

from __future__ import annotations

import re
from typing import Any

import griffe


class ReadDocstrings(griffe.Extension):
    """An extension that `mkdocs.yml` names."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Turns `Example:` into griffe's `Examples:`, and flags in help texts into keywords."""
        if obj.docstring is None:
            return
        text = re.sub(r"^Example:$", "Examples:", obj.docstring.value, flags=re.MULTILINE)
        text = re.sub(
            r"(?<![\w`-])--([a-z][a-z-]*)", lambda found: found[1].replace("-", "_"), text
        )
        # What an estimator is told comes before what it has learned.
        text = re.sub(
            r"(\n\nAttributes:\n.*?)(\n\nArgs:\n.*?)\s*\Z", r"\2\1", text, flags=re.DOTALL
        )
        obj.docstring.value = text.replace("  # doctest: +SKIP", "")
