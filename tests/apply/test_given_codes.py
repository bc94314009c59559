"""`apply` on vectors from a file in the place of a model."""

import sys
import zipfile

import numpy as np
import pyarrow as pa
import pytest
from apply_command import complaint, files, pictures, run, surrogate_table, table, write
from pyarrow import parquet

from kerasunsup.apply import codes_from_parquet, given_codes


@pytest.fixture
def vectors():
    """Of 40 images: two groups, and the last one far from both."""
    codes = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
    codes[20:] += 20.0
    codes[-1] = -300.0
    return codes


def names_of(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png"))


def write_npy(path, codes, names):
    np.save(path, codes)


def write_npz(path, codes, names):
    np.savez(path, codes=codes, files=np.array(names))


def write_fixed(path, codes, names):
    kind = pa.list_(pa.float32(), codes.shape[1])
    columns = {"label": ["x"] * len(codes), "file": names, "more": pa.array([[1]] * len(codes))}
    lists = pa.FixedSizeListArray.from_arrays(codes.ravel(), type=kind)
    parquet.write_table(pa.table(columns | {"embedding": lists}), path)


def write_variable(path, codes, names):
    parquet.write_table(pa.table({"path": names, "v": codes.astype(np.float64).tolist()}), path)


KINDS = {
    "a.npy": write_npy, "b.npz": write_npz, "c.parquet": write_fixed, "d.parquet": write_variable,
}  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_file_serves_every_verb(folder, tmp_path, vectors, name):
    KINDS[name](tmp_path / name, vectors, names_of(folder))
    codes = ["--codes", tmp_path / name]
    assert run("outliers", folder, *codes, "--output", tmp_path / "odd", "--share", 0.02) == 0
    rows = table(tmp_path / "odd" / "outliers.csv")
    assert rows[0]["file"] == "b/c/9.png"
    assert [row["outlier"] for row in rows] == ["1"] + ["0"] * 39
    assert float(rows[0]["share_less_odd"]) == pytest.approx(39 / 40)
    assert rows[0]["x"] == rows[0]["width"] == ""
    assert run("cluster", *codes, folder, "--clusters", 2, "--output", tmp_path / "groups") == 0
    groups = {row["file"]: row["cluster"] for row in table(tmp_path / "groups" / "clusters.csv")}
    assert groups["a/0.png"] != groups["b/c/0.png"]
    assert "cluster_001_sheet.png" in files(tmp_path / "groups")
    more = [*codes, "--count", 5, "--output", tmp_path / "first"]
    assert run("select", folder, *more) == 0
    assert len(table(tmp_path / "first" / "selected.csv")) == 5
    more = [*codes, "--query", folder / "a" / "3.png", "--neighbors", 3]
    assert run("similar", folder, *more, "--output", tmp_path / "like") == 0
    rows = table(tmp_path / "like" / "similar.csv")
    assert [row["query"] for row in rows] == ["a/3.png"] * 3
    assert all(row["file"].startswith("a/") and row["file"] != "a/3.png" for row in rows)
    assert "similar_sheet.png" in files(tmp_path / "like")
    assert run("similar", folder, *codes, "--output", tmp_path / "same") == 0
    assert table(tmp_path / "same" / "similar.csv") == []


def test_vectors_need_no_images(tmp_path, vectors, capsys):
    np.save(tmp_path / "v.npy", vectors)
    np.savez(tmp_path / "named.npz", vectors=vectors, files=[f"{row}.jpg" for row in range(40)])
    codes = ["--codes", tmp_path / "v.npy"]
    assert run("outliers", *codes, "--output", tmp_path / "odd", "--share", 0.02) == 0
    assert table(tmp_path / "odd" / "outliers.csv")[0]["file"] == "39"
    assert files(tmp_path / "odd") == {"apply.json", "outliers.csv"}
    more = ["--codes", tmp_path / "named.npz", "--clusters", 2, "--output", tmp_path / "groups"]
    assert run("cluster", *more) == 0
    assert table(tmp_path / "groups" / "clusters.csv")[0]["file"] == "0.jpg"
    query = ["--query", tmp_path / "named.npz", "--neighbors", 1, "--output", tmp_path / "like"]
    assert run("similar", *codes, *query) == 0
    rows = table(tmp_path / "like" / "similar.csv")
    assert [(row["query"], row["file"]) for row in rows[:2]] == [("0.jpg", "0"), ("1.jpg", "1")]
    clean = ["--reference", tmp_path / "clean.npy", "--output", tmp_path / "beside"]
    np.save(tmp_path / "clean.npy", vectors[:39])
    assert run("outliers", *codes, *clean) == 0
    assert table(tmp_path / "beside" / "outliers.csv")[0]["outlier"] == "1"
    line = complaint(capsys, "similar", *codes, "--output", tmp_path / "pairs")
    assert "give IMAGES too, or --query" in line
    line = complaint(capsys, "similar", *codes, "--query", "77", "--output", tmp_path / "none")
    assert "is no image that has a vector" in line
    assert not (tmp_path / "pairs").exists()


def test_a_second_file_of_other_vectors_is_another_command(tmp_path, vectors, capsys):
    np.save(tmp_path / "v.npy", vectors)
    arguments = ["outliers", "--codes", tmp_path / "v.npy", "--output", tmp_path / "odd"]
    assert run(*arguments) == 0
    capsys.readouterr()
    assert run(*arguments) == 0
    assert "done already" in capsys.readouterr().out
    np.save(tmp_path / "v.npy", vectors + 1)
    assert "another file of --codes" in complaint(capsys, *arguments)


def test_named_vectors_find_their_images_in_any_order(folder, tmp_path, vectors, capsys):
    names = names_of(folder)
    order = np.random.default_rng(1).permutation(40)[:30]
    given = [str(folder / names[row]) for row in order]
    np.savez(tmp_path / "v.npz", codes=vectors[order], files=given)
    arguments = ["select", folder, "--codes", tmp_path / "v.npz", "--count", 99]
    assert run(*arguments, "--output", tmp_path / "out") == 0
    rows = table(tmp_path / "out" / "selected.csv")
    assert {row["file"] for row in rows} == {names[row] for row in order}
    assert "10 images of" in capsys.readouterr().out
    np.savez(tmp_path / "v.npz", codes=vectors, files=[f"other/{row}.png" for row in range(40)])
    line = complaint(capsys, *arguments, "--output", tmp_path / "no")
    assert "other/0.png, which is not in" in line


def test_an_image_that_cannot_be_read_is_shown_white_and_compared(folder, tmp_path, vectors):
    (folder / "b" / "c" / "9.png").write_bytes(b"\x89PNG and nothing more")
    np.save(tmp_path / "v.npy", vectors)
    codes = ["--codes", tmp_path / "v.npy", "--output"]
    assert run("outliers", folder, *codes, tmp_path / "odd") == 0
    assert table(tmp_path / "odd" / "outliers.csv")[0]["file"] == "b/c/9.png"
    assert run("similar", folder, *codes, tmp_path / "same") == 0
    assert table(tmp_path / "same" / "unreadable.csv")[0]["file"] == "b/c/9.png"


def with_nan(codes):
    codes = codes.copy()
    codes[3, 1] = np.nan
    return codes


BAD = {
    "nan.npy": (with_nan, "NaN or infinite values in 1 of 40 vectors, the first in row 3"),
    "few.npy": (lambda codes: codes[:39], "39 vectors without names and"),
    "flat.npy": (lambda codes: codes[0], "received float32 (6,)"),
    "deep.npy": (lambda codes: codes[:, :, None], "received float32 (40, 6, 1)"),
    "none.npy": (lambda codes: codes[:0], "received float32 (0, 6)"),
    "words.npy": (lambda codes: codes.astype("U8"), "received <U8 (40, 6)"),
    "large.npy": (lambda codes: codes.astype(np.float64) * 1e300, "NaN or infinite values"),
    "far.npy": (lambda codes: codes * 1e20, "values up to 3e+22, with which no distances can be"),
    "near.npy": (lambda codes: codes * 1e-25, "values up to 3e-23, with which no distances can be"),
    "pickled.npy": (lambda codes: codes.astype(object), "holds Python objects: save numbers and"),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.filterwarnings("ignore:overflow encountered")
def test_bad_vectors_are_refused_in_one_line(folder, tmp_path, vectors, capsys, name):
    make, says = BAD[name]
    np.save(tmp_path / name, make(vectors), allow_pickle=True)
    arguments = ["cluster", folder, "--codes", tmp_path / name, "--output", tmp_path / "out"]
    assert says in complaint(capsys, *arguments)
    assert not (tmp_path / "out").exists()


def test_bad_files_are_refused_in_one_line(model, folder, tmp_path, vectors, capsys):
    def says(name, *more):
        out = ["--output", tmp_path / "out"]
        return complaint(capsys, "outliers", *more, "--codes", tmp_path / name, *out)

    assert "is not there" in says("missing.npz")
    (tmp_path / "text.parquet").write_text("no Parquet")
    assert "cannot be read" in says("text.parquet")
    (tmp_path / "codes.txt").write_text("1 2")
    assert "ends in .npz, .npy, .parquet" in says("codes.txt")
    np.savez(tmp_path / "two.npz", one=vectors, other=vectors)
    assert "none of the arrays one, other is called codes" in says("two.npz")
    np.savez(tmp_path / "long.npz", codes=vectors, files=["a", "b"])
    assert "40 vectors and 2 names" in says("long.npz")
    np.savez(tmp_path / "twice.npz", codes=vectors, files=["a"] * 40)
    assert "names a twice" in says("twice.npz")
    parquet.write_table(pa.table({"a": [1.0]}), tmp_path / "lists.parquet")
    assert "it has no column of lists" in says("lists.parquet")
    parquet.write_table(pa.table({"a": [[1]], "b": [[1]]}), tmp_path / "lists.parquet")
    assert "the columns of lists a, b" in says("lists.parquet")
    parquet.write_table(pa.table({"a": [[1.0], [1.0, 2.0]]}), tmp_path / "ragged.parquet")
    assert "vectors of 1 to 2 numbers" in says("ragged.parquet")
    parquet.write_table(pa.table({"a": [[1.0], None]}), tmp_path / "null.parquet")
    assert "1 vectors are missing" in says("null.parquet")
    parquet.write_table(pa.table({"a": [[1.0], [None]]}), tmp_path / "null.parquet")
    assert "NaN or infinite" in says("null.parquet")
    np.save(tmp_path / "v.npy", vectors)
    assert "takes the place of MODEL" in says("v.npy", model, folder)
    np.save(tmp_path / "short.npy", vectors[:, :3])
    assert "vectors of 3 numbers, --codes of 6" in says(
        "v.npy", "--reference", tmp_path / "short.npy"
    )
    assert "must be a file of vectors too" in says("v.npy", "--reference", folder)
    out = ["--codes", tmp_path / "v.npy", "--output", tmp_path / "out"]
    assert "--student teaches" in complaint(capsys, "cluster", *out, "--student")
    assert not (tmp_path / "out").exists()


def test_damaged_arrays_and_names_that_are_objects_say_what_to_do(tmp_path, vectors, capsys):
    def says(name):
        return complaint(
            capsys, "outliers", "--codes", tmp_path / name, "--output", tmp_path / "out"
        )

    np.savez(tmp_path / "names.npz", codes=vectors, files=np.array(["a"] * 40, object))
    assert "holds Python objects: save numbers and names of a fixed type" in says("names.npz")
    np.save(tmp_path / "cut.npy", vectors)
    content = (tmp_path / "cut.npy").read_bytes()
    (tmp_path / "cut.npy").write_bytes(content[:-3])
    assert "cannot be read" in says("cut.npy")
    header = content[:128].replace(b"(40, 6), }            ", b"(40000000000000, 6), }")
    assert len(header) == 128
    (tmp_path / "cut.npy").write_bytes(header + content[128:])
    assert "cannot be read" in says("cut.npy")  # and not that the memory does not suffice
    parquet.write_table(
        pa.table({"v": pa.array([], pa.list_(pa.float32()))}), tmp_path / "e.parquet"
    )
    assert "holds no vectors" in says("e.parquet")


@pytest.mark.parametrize("dtype", [">f4", ">f8", "<f2", ">i2", "<u8", "longdouble"])
def test_vectors_of_every_kind_of_number_are_taken(tmp_path, vectors, dtype):
    whole = np.round(np.abs(vectors))
    np.save(tmp_path / "v.npy", np.asfortranarray(whole.astype(dtype)))
    assert (given_codes.read(tmp_path / "v.npy").codes == whole).all()


NAME_COLUMNS = {
    "categories": lambda names: pa.array(names).dictionary_encode(),
    "large": lambda names: pa.array(names, pa.large_string()),
    "bytes": lambda names: pa.array([name.encode() for name in names]),
    "large bytes": lambda names: pa.array([name.encode() for name in names], pa.large_binary()),
}


@pytest.mark.parametrize("kind", NAME_COLUMNS)
def test_names_in_any_kind_of_column_of_text_are_names(tmp_path, vectors, kind):
    names = [f"{number}.png" for number in range(40)][::-1]
    column = NAME_COLUMNS[kind](names)
    parquet.write_table(pa.table({"v": vectors.tolist(), "file": column}), tmp_path / "v.parquet")
    assert given_codes.read(tmp_path / "v.parquet").files == names


def test_a_column_of_files_that_is_no_text_or_not_whole_is_refused(tmp_path, vectors, capsys):
    for column, says in (
        (list(range(40)), "its column file is no text but int64"),
        ([None, *map(str, range(39))], "1 of its names of files are missing"),
    ):
        table_ = pa.table({"v": vectors.tolist(), "file": column})
        parquet.write_table(table_, tmp_path / "v.parquet")
        command = ["cluster", "--codes", tmp_path / "v.parquet", "--output", tmp_path / "out"]
        assert says in complaint(capsys, *command)


def test_names_as_browse_shows_them_in_parquet_find_their_images(tmp_path, vectors):
    names = ["caf\udce9.png", *(f"{number}.png" for number in range(39))]
    write(tmp_path / "images", names)
    stored = ["caf\\xe9.png", *names[1:]]
    parquet.write_table(pa.table({"v": vectors.tolist(), "file": stored}), tmp_path / "v.parquet")
    command = ["select", tmp_path / "images", "--codes", tmp_path / "v.parquet", "--count", 40]
    assert run(*command, "--output", tmp_path / "out") == 0
    rows = surrogate_table(tmp_path / "out" / "selected.csv")
    assert {row["file"] for row in rows} == set(names)


def test_parquet_without_pyarrow_says_what_to_install(tmp_path, capsys, monkeypatch):
    (tmp_path / "v.parquet").write_bytes(b"")
    monkeypatch.setattr(codes_from_parquet.importlib.util, "find_spec", lambda _: None)
    line = complaint(capsys, "cluster", "--codes", tmp_path / "v.parquet", "--output", "out")
    assert "pip install 'kerasunsup[parquet]'" in line


def test_vectors_load_no_tensorflow(tmp_path, vectors, monkeypatch):
    np.save(tmp_path / "v.npy", vectors)
    for name in ("tensorflow", "keras"):
        monkeypatch.setitem(sys.modules, name, None)
    assert run("outliers", "--codes", tmp_path / "v.npy", "--output", tmp_path / "odd") == 0


def test_pictures_of_any_size_are_shown(tmp_path):
    np.save(tmp_path / "images.npy", pictures(12, (20, 30, 3)))
    np.save(tmp_path / "v.npy", np.random.default_rng(0).normal(size=(12, 3)))
    arguments = ["select", tmp_path / "images.npy", "--codes", tmp_path / "v.npy", "--output"]
    assert run(*arguments, tmp_path / "out") == 0
    assert "selected_sheet.png" in files(tmp_path / "out")


def test_a_parquet_damaged_in_its_middle_is_one_line(tmp_path, capsys):
    codes = np.random.default_rng(0).normal(size=(200, 8)).astype(np.float32)
    path = tmp_path / "codes.parquet"
    parquet.write_table(pa.table({"embedding": codes.tolist()}), path)
    content = bytearray(path.read_bytes())
    content[4:40] = bytes(36)  # the header of the first page
    path.write_bytes(content)
    line = complaint(
        capsys, "cluster", "--codes", path, "--clusters", "2", "--output", tmp_path / "out"
    )
    assert "codes.parquet cannot be read (OSError: " in line


def test_results_of_vectors_and_of_a_model_are_not_taken_for_each_other(
    model, folder, tmp_path, capsys
):
    np.save(tmp_path / "vectors.npy", np.random.default_rng(0).random((40, 3)))
    by_vectors = [folder, "--codes", tmp_path / "vectors.npy"]
    for number, (first, then, says) in enumerate(
        [
            (by_vectors, [model, folder], "another model"),
            ([model, folder], by_vectors, "another model"),
        ]
    ):
        output = ["--clusters", 3, "--output", tmp_path / f"out{number}"]
        assert run("cluster", *first, *output) == 0
        assert f"they were made with {says}" in complaint(capsys, "cluster", *then, *output)
    output = ["--output", tmp_path / "copies"]
    assert run("duplicates", folder, *output) == 0
    assert "another model" in complaint(capsys, "duplicates", model, folder, *output)


def test_what_takes_some_images_is_refused_with_vectors(folder, tmp_path, capsys):
    np.save(tmp_path / "vectors.npy", np.random.default_rng(0).random((40, 3)))
    given = ["--codes", tmp_path / "vectors.npy", "--output", tmp_path / "out"]
    for more in (["--limit", 20], ["--part", "test"]):
        assert f"leave {more[0]} out" in complaint(capsys, "cluster", *given, *more)
        assert f"leave {more[0]} out" in complaint(capsys, "cluster", folder, *given, *more)


def test_names_lead_to_images_by_whichever_path(folder, tmp_path, monkeypatch):
    names = [f"./a/{number}.png" for number in range(20)]
    np.savez(tmp_path / "v.npz", codes=np.random.default_rng(0).random((20, 3)), files=names)
    monkeypatch.chdir(folder.parent)
    arguments = ["./images/", "--codes", "v.npz", "--neighbors", 2]
    for number, query in enumerate(("images/a/3.png", folder / "a" / "3.png", "a/3.png")):
        output = tmp_path / str(number)
        assert run("similar", *arguments, "--query", query, "--output", output) == 0
        assert table(output / "similar.csv")


def test_a_zip_of_text_is_refused(tmp_path, capsys):
    with zipfile.ZipFile(tmp_path / "text.npz", "w") as archive:
        archive.writestr("codes", "1 2 3")
    line = complaint(
        capsys, "cluster", "--codes", tmp_path / "text.npz", "--output", tmp_path / "out"
    )
    assert "codes is no array" in line
