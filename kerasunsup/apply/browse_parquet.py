"""images.parquet: what embedding-atlas, Spotlight and FiftyOne read, and `--codes` takes again."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from kerasunsup.apply import browse_thumbnails
from kerasunsup.apply.browse_page import Shown
from kerasunsup.data import images


def content(shown: Shown) -> memoryview:
    r"""The bytes of a Parquet file with a row for each image on the page.

    Its columns: `file`, text; `vector`, a list of float32 of one length; `x`, `y` and `score`,
    float32; `group`, int32; `flags`, text, with blanks between them; `neighbors`, a struct of `ids`
    (rows from 0) and `distances`, as embedding-atlas takes them; `width` and `height`, int32,
    pixels; `thumbnail`, a struct of `bytes` (a WebP file) and `path` (the image's name), as Hugging
    Face's datasets keep images. Parquet holds UTF-8 only: another byte of a name stands as `\xe9`.
    """
    names = [
        name if name.isascii() or _is_utf_8(name) else images.shown(name) for name in shown.names
    ]
    flat = pa.array(np.ascontiguousarray(shown.codes, np.float32).ravel())
    columns = {
        "file": pa.array(names, pa.string()),
        "vector": pa.FixedSizeListArray.from_arrays(flat, shown.codes.shape[1]),
        "x": pa.array(shown.places[:, 0]),
        "y": pa.array(shown.places[:, 1]),
        "group": pa.array(shown.groups.astype(np.int32)),
        "score": pa.array(shown.scores.astype(np.float32)),
        "flags": pa.array(shown.flags_as_text(), pa.string()),
    }
    columns["neighbors"] = pa.StructArray.from_arrays(
        [_lists(shown.neighbors), _lists(shown.distances.astype(np.float32))],
        ["ids", "distances"],
    )
    if shown.thumbnails is not None:
        columns["width"] = pa.array(shown.sizes[:, 0].astype(np.int32))
        columns["height"] = pa.array(shown.sizes[:, 1].astype(np.int32))
        files = pa.array(browse_thumbnails.one_by_one(shown.thumbnails), pa.binary())
        columns["thumbnail"] = pa.StructArray.from_arrays([files, columns["file"]], _IMAGE)
    buffer = pa.BufferOutputStream()
    parquet.write_table(pa.table(columns), buffer)
    return memoryview(buffer.getvalue())


_IMAGE = ["bytes", "path"]


def _lists(rows: np.ndarray) -> pa.ListArray:
    """An array, (n, length), as a column of n lists."""
    ends = np.arange(len(rows) + 1, dtype=np.int32) * rows.shape[1]
    return pa.ListArray.from_arrays(ends, pa.array(np.ascontiguousarray(rows).ravel()))


def _is_utf_8(name: str) -> bool:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
