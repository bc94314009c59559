"""Vectors of images in a Parquet file: a column of lists, and one of the names of files."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kerasunsup.errors import InputError

if TYPE_CHECKING:
    import pyarrow


def read(path: Path, called: str, columns: Sequence[str]) -> tuple[np.ndarray, list[str] | None]:
    """The vectors in a Parquet file, and the names of their images.

    Args:
        path: the file.
        called: the file, for messages.
        columns: what a column of vectors may be called; another is taken where it is the only one.

    Returns:
        (values (rows, numbers), a name for each row; None where the file has none).

    Raises:
        InputError: if there are no vectors of one size, or names are missing.
        Exception: of Arrow, if it is damaged.
    """
    if importlib.util.find_spec("pyarrow") is None:
        raise InputError(f"{called} needs pyarrow: install it by pip install 'kerasunsup[parquet]'")
    import pyarrow
    import pyarrow.parquet

    schema = pyarrow.parquet.read_schema(path)
    lists = [field.name for field in schema if _is_list_of_numbers(field.type)]
    named = [name for name in columns if name in lists]
    if not named and len(lists) != 1:
        received = f"the columns of lists {', '.join(lists)}" if lists else "no column of lists"
        raise InputError(
            f"{called} must have a column codes, vector or embedding: it has {received}"
        )
    column, names = (named or lists)[0], _column_of_names(schema, called)
    table = pyarrow.parquet.read_table(path, columns=[column, *names])
    values = _as_table(table.column(column), called)
    if not names:
        return values, None
    files = table.column(names[0])
    if files.null_count:
        raise InputError(
            f"{called}: {files.null_count:,} of its names of files are missing: leave these rows "
            "out"
        )
    # What is no UTF-8 can be kept as bytes only.
    return values, [os.fsdecode(name) for name in files.to_pylist()]


def _column_of_names(schema: pyarrow.Schema, called: str) -> list[str]:
    """The column `file`, else the first one of text; none where there is none."""
    from pyarrow import types

    def is_text(kind: pyarrow.DataType) -> bool:
        is_view = getattr(types, "is_string_view", lambda _: False)
        return types.is_string(kind) or types.is_large_string(kind) or is_view(kind)

    if "file" not in schema.names:
        return [field.name for field in schema if is_text(field.type)][:1]
    kind = given = schema.field("file").type
    if types.is_dictionary(kind):  # as pandas keeps categories
        kind = kind.value_type
    if not (is_text(kind) or types.is_binary(kind) or types.is_large_binary(kind)):
        raise InputError(f"{called}: its column file is no text but {given}: give names as text")
    return ["file"]


def _is_list_of_numbers(kind: pyarrow.DataType) -> bool:
    from pyarrow import types

    is_list = types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
    return is_list and (types.is_floating(kind.value_type) or types.is_integer(kind.value_type))


def _as_table(column: pyarrow.ChunkedArray, called: str) -> np.ndarray:
    """A column of lists as an array (rows, numbers), without a Python object for each number."""
    import pyarrow.compute

    if column.null_count:
        raise InputError(f"{called}: {column.null_count:,} vectors are missing: leave them out")
    if not len(column):
        raise InputError(f"{called} holds no vectors: give one for each image")
    lengths = np.unique(pyarrow.compute.list_value_length(column).to_numpy())
    if len(lengths) != 1:
        raise InputError(
            f"{called} holds vectors of {lengths.min()} to {lengths.max()} numbers: give vectors "
            "of one size"
        )
    # A missing number becomes NaN, which is refused.
    return pyarrow.compute.list_flatten(column).to_numpy().reshape(len(column), -1)
