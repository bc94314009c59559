"""The files that `apply` writes, with names of any kind."""

import errno
import shutil
import tracemalloc

import numpy as np
import pytest
from apply_command import STRANGE, complaint, run, surrogate_table
from PIL import Image

from kerasunsup.apply import output_folder, result_files
from kerasunsup.errors import InputError
from kerasunsup.training import files as training_files


def test_nothing_is_written_outside_the_output(tmp_path):
    output = output_folder.OutputFolder(tmp_path / "out", {"verb": "encode"})
    for name in ("../x.png", "/etc/x.png", "a/../../x.png", ""):
        with pytest.raises(InputError, match="leads out of"):
            output.files.path(name)
    (tmp_path / "out" / "link").symlink_to(tmp_path)
    with pytest.raises(InputError, match="a link out of it"):
        output.files.path("link/x.png")
    output.close()


def test_a_full_disk_is_told_in_the_words_of_apply(model, folder, tmp_path, capsys, monkeypatch):
    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device", "x.png")

    monkeypatch.setattr(result_files.ResultFiles, "write_picture", fail)
    line = complaint(capsys, "restore", model, folder, "--output", tmp_path / "out")
    assert "--output" in line
    assert "--resume" not in line
    assert "--logs" not in line


def test_strange_names_are_read_back_as_they_were_from_every_table(model, strange, tmp_path):
    verbs = ("encode", "outliers", "cluster", "select", "near", "similar")
    at = {verb: tmp_path / verb for verb in verbs}
    assert run("encode", model, strange, "--output", at["encode"], "--projector") == 0
    stored = training_files.read_arrays(at["encode"] / "codes.npz")
    names = [str(name) for name in stored["files"]]
    assert names[:10] == STRANGE
    assert len(stored["codes"]) == len(names) == 36
    assert [row["file"] for row in surrogate_table(at["encode"] / "codes.csv")] == names
    assert run("outliers", model, strange, "--output", at["outliers"], "--share", 0.5) == 0
    assert run("cluster", model, strange, "--output", at["cluster"], "--clusters", 2) == 0
    assert run("select", model, strange, "--output", at["select"]) == 0
    tables = {"outliers": "outliers.csv", "cluster": "clusters.csv", "select": "selected.csv"}
    for verb, file in tables.items():
        assert {row["file"] for row in surrogate_table(at[verb] / file)} == set(names)
    query = ["--query", strange, "--neighbors", len(names)]
    assert run("similar", model, strange, "--output", at["similar"], *query) == 0
    rows = surrogate_table(at["similar"] / "similar.csv")
    assert list(dict.fromkeys(row["query"] for row in rows)) == names
    assert {row["file"] for row in rows} >= set(STRANGE)
    shutil.copy(strange / "000.png", strange / "001.png")
    assert run("similar", model, strange, "--output", at["near"]) == 0
    (row,) = surrogate_table(at["near"] / "similar.csv")
    assert (row["query"], row["file"]) == tuple(STRANGE[:2])
    for verb in ("outliers", "select", "near", "similar"):
        Image.open(next(at[verb].glob("*_sheet.png"))).load()


def test_one_long_name_does_not_make_every_name_long_in_memory(tmp_path):
    names = [f"{number}.png" for number in range(10_000)] + ["x" * 4000]
    with output_folder.OutputFolder(tmp_path / "out", {"verb": "encode"}) as output:
        tracemalloc.start()
        output.files.write_codes("codes.npz", np.zeros((len(names), 4), np.float32), names)
        (_, peak), _ = tracemalloc.get_traced_memory(), tracemalloc.stop()
        output.finish()
    assert peak < 60e6  # as one array of text: 160 MB
    assert (tmp_path / "out" / "codes.npz").stat().st_size < 5e6
    with np.load(tmp_path / "out" / "codes.npz") as stored:
        assert stored["files"][[0, 9999, 10_000]].tolist() == ["0.png", "9999.png", "x" * 4000]
