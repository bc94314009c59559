"""`apply browse`: the page and its tables, with a small untrained model."""

import base64
import hashlib
import html.parser
import io
import json
import re
import urllib.parse

import numpy as np
import pytest
from apply_command import STRANGE, complaint, files, pictures, run, surrogate_table, table, write
from PIL import Image
from pyarrow import parquet

from kerasunsup.apply import browse, browse_thumbnails
from kerasunsup.evaluation import code_map


class Tags(html.parser.HTMLParser):
    """Every tag of a page with its attributes, and the text of scripts and styles."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.texts = [], {"script": [], "style": []}
        self._inside = None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self._inside = tag if tag in self.texts else None

    def handle_endtag(self, tag):
        self._inside = None

    def handle_data(self, data):
        if self._inside:
            self.texts[self._inside].append((self.tags[-1][1], data))


def content_of(folder):
    """The JSON of a page, and the tags around it."""
    tags = Tags((folder / "index.html").read_text(encoding="utf-8"))
    (content,) = (
        text for attributes, text in tags.texts["script"] if attributes.get("id") == "images"
    )
    return json.loads(content), tags


def array(content, name, dtype, *shape):
    values = np.frombuffer(base64.b64decode(content[name]), dtype)
    return values.reshape(-1, *shape) if shape else values


@pytest.fixture(scope="module")
def faulty(tmp_path_factory):
    """A folder of 39 images, one of them a copy, and one that cannot be read."""
    folder = tmp_path_factory.mktemp("faulty") / "images"
    write(folder, [f"{group}/{number}.png" for group in ("a", "b") for number in range(19)])
    (folder / "b" / "copy.png").write_bytes((folder / "a" / "3.png").read_bytes())
    (folder / "broken.png").write_bytes(b"no picture")
    return folder


@pytest.fixture(scope="module")
def made(model, faulty, tmp_path_factory):
    output = tmp_path_factory.mktemp("made") / "out"
    assert run("browse", model, faulty, "--clusters", 2, "--output", output) == 0
    return output


def test_what_is_written(made):
    assert files(made) == {
        "apply.json", "index.html", "browse.csv", "images.parquet", "unreadable.csv",
    }  # fmt: skip
    rows = table(made / "browse.csv")
    assert list(rows[0]) == ["file", "x", "y", "group", "score", "flags"]
    assert len(rows) == 39
    assert [row["flags"] for row in rows if row["file"] == "b/copy.png"] == ["exact_copy"]
    content, _ = content_of(made)
    assert content["names"] == [row["file"] for row in rows]
    assert content["unreadable"] == [["broken.png", table(made / "unreadable.csv")[0]["reason"]]]
    assert content["number"] == 39


def test_groups_scores_and_flags_are_those_of_the_other_verbs(model, faulty, made, tmp_path):
    assert run("cluster", model, faulty, "--clusters", 2, "--output", tmp_path / "groups") == 0
    assert run("outliers", model, faulty, "--output", tmp_path / "odd") == 0
    assert run("check", faulty, "--output", tmp_path / "faults") == 0
    rows = {row["file"]: row for row in table(made / "browse.csv")}
    groups = {row["file"]: row["cluster"] for row in table(tmp_path / "groups" / "clusters.csv")}
    assert {name: row["group"] for name, row in rows.items()} == groups
    odd = {row["file"]: row for row in table(tmp_path / "odd" / "outliers.csv")}
    assert {name: row["score"] for name, row in rows.items()} == {
        name: row["score"] for name, row in odd.items()
    }
    issues = {(row["file"], row["issue"]) for row in table(tmp_path / "faults" / "check.csv")}
    issues |= {(name, "outlier") for name, row in odd.items() if row["outlier"] == "1"}
    found = {(name, flag) for name, row in rows.items() for flag in row["flags"].split()}
    assert found == {(name, issue) for name, issue in issues if issue != "unreadable"}
    content, _ = content_of(made)
    bits = array(content, "flags", "<u2")
    named = {
        (name, flag)
        for name, value in zip(content["names"], bits, strict=True)
        for at, flag in enumerate(content["flagNames"])
        if value >> at & 1
    }
    assert named == found
    assert content["values"][str(content["names"].index("b/copy.png"))]["exact_copy"] == "a/3.png"


def test_page_shows_each_image_by_its_own_thumbnail_and_neighbors(faulty, made):
    content, tags = content_of(made)
    (sheet,) = (
        text for attributes, text in tags.texts["script"] if attributes.get("type") == "text/plain"
    )
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(sheet))).convert("L"), float)
    cell, per_row = content["cell"], content["perRow"]
    assert cell == 16
    assert (array(content, "thumbnailSizes", "<u1", 2) == 16).all()
    for row, name in enumerate(content["names"]):
        top, left = row // per_row * cell, row % per_row * cell
        original = np.asarray(Image.open(faulty / name), float)
        # Noise is what the codec keeps worst; another picture is 100 levels away.
        assert np.abs(pixels[top : top + cell, left : left + cell] - original).mean() < 40
    neighbors = array(content, "neighbors", "<u4", content["numNeighbors"])
    assert neighbors.shape == (39, 12)
    copy, first = (content["names"].index(name) for name in ("b/copy.png", "a/3.png"))
    assert neighbors[copy, 0] == first
    assert neighbors[first, 0] == copy
    places = array(content, "places", "<f4", 2)
    assert places.min() == 0.0
    assert places.max() == 1.0
    rows = table(made / "browse.csv")
    assert [float(row["x"]) for row in rows] == pytest.approx(places[:, 0], abs=1e-5)
    assert (array(content, "sizes", "<u4", 2) == 16).all()


def test_page_loads_nothing_and_allows_only_its_own_scripts(made):
    _, tags = content_of(made)
    for tag, attributes in tags.tags:
        assert not {"src", "srcset", "data", "onerror", "onload"} & set(attributes), tag
        assert tag not in ("link", "base", "iframe", "object")
    policy = next(
        attributes["content"] for tag, attributes in tags.tags if "http-equiv" in attributes
    )
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "'self' file: data: blob:"
    scripts = [text for attributes, text in tags.texts["script"] if not attributes]
    assert len(scripts) == 7
    styles = [text for _, text in tags.texts["style"]]
    for kind, texts in (("script-src", scripts), ("style-src", styles)):
        digests = [base64.b64encode(hashlib.sha256(t.encode()).digest()).decode() for t in texts]
        assert rules[kind] == " ".join(f"'sha256-{digest}'" for digest in digests)
    own = "".join(scripts[1:]) + styles[0]
    assert not re.search(r"https?:|innerHTML|insertAdjacentHTML|document\.write|eval\(|url\(", own)


def test_address_of_a_file_leads_from_the_page_to_it(faulty, made):
    content, _ = content_of(made)
    address = urllib.parse.unquote(content["root"])
    assert (made / address).resolve() == faulty.resolve()


NAMES = [
    "<img src=x onerror=alert(1)>.png", "<!--<script>.png", "&lt;b&gt;.png", '"quote\'.png',
    "{{ style }}.png", "ü 表.png", "a%20b#c?.png",
]  # fmt: skip


def test_names_are_text_and_nothing_else(model, tmp_path):
    write(tmp_path / "odd", [*NAMES, "script/<", "<", *map(str, range(30))][: len(NAMES)])
    write(tmp_path / "odd", [f"<{'/script>'}{number}.png" for number in range(30)], seed=1)
    output = tmp_path / "out"
    assert run("browse", model, tmp_path / "odd", "--output", output) == 0
    content, tags = content_of(output)
    assert set(content["names"]) == {*NAMES, *(f"</script>{number}.png" for number in range(30))}
    assert "img" not in {tag for tag, _ in tags.tags}
    assert len([tag for tag, _ in tags.tags if tag == "script"]) == 9
    assert content["addresses"] == {}


def test_names_that_cannot_be_shown_are_escaped_and_found_all_the_same(model, strange, tmp_path):
    output = tmp_path / "out"
    assert run("browse", model, strange, "--output", output) == 0
    content, _ = content_of(output)
    assert {"caf\\xe9.png", "line\\nbreak.png", "a,comma.png"} < set(content["names"])
    at = content["names"].index("caf\\xe9.png")
    assert content["addresses"][str(at)] == "caf%E9.png"
    assert set(STRANGE) < {row["file"] for row in surrogate_table(output / "browse.csv")}
    names = parquet.read_table(output / "images.parquet").column("file").to_pylist()
    assert {"caf\\xe9.png", "line\nbreak.png", "表.png"} < set(names)


def test_parquet_holds_what_the_page_shows_and_serves_as_codes(model, faulty, made, tmp_path):
    found = parquet.read_table(made / "images.parquet")
    assert found.column_names == [
        "file", "vector", "x", "y", "group", "score", "flags", "neighbors", "width",
        "height", "thumbnail",
    ]  # fmt: skip
    rows = table(made / "browse.csv")
    assert found.column("file").to_pylist() == [row["file"] for row in rows]
    assert [str(group) for group in found.column("group").to_pylist()] == [r["group"] for r in rows]
    nearest = found.column("neighbors").to_pylist()[0]
    assert len(nearest["ids"]) == len(nearest["distances"]) == 12
    assert nearest["distances"] == sorted(nearest["distances"])
    thumbnail = found.column("thumbnail").to_pylist()[5]
    assert thumbnail["path"] == rows[5]["file"]
    assert Image.open(io.BytesIO(thumbnail["bytes"])).size == (16, 16)
    more = ["--codes", made / "images.parquet", "--clusters", 2, "--output", tmp_path / "again"]
    assert run("browse", faulty, *more) == 0
    again = {row["file"]: row["group"] for row in table(tmp_path / "again" / "browse.csv")}
    assert again == {row["file"]: row["group"] for row in rows}


def test_without_pyarrow_a_line_says_what_is_left_out(model, folder, tmp_path, capsys, monkeypatch):
    found = browse.importlib.util.find_spec
    monkeypatch.setattr(
        browse.importlib.util, "find_spec", lambda name: None if name == "pyarrow" else found(name)
    )
    assert run("browse", model, folder, "--clusters", 2, "--output", tmp_path / "out") == 0
    assert "images.parquet" not in files(tmp_path / "out")
    assert "index.html" in files(tmp_path / "out")
    assert "images.parquet is left out: it needs pyarrow, pip install" in capsys.readouterr().out


def test_vectors_alone_make_a_map_of_points(tmp_path):
    codes = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
    codes[20:] += 20.0
    np.savez(tmp_path / "v.npz", codes=codes, files=[f"{row}.jpg" for row in range(40)])
    output = tmp_path / "out"
    assert run("browse", "--codes", tmp_path / "v.npz", "--output", output) == 0
    content, _ = content_of(output)
    assert "cell" not in content
    assert content["root"] is None
    assert content["names"][0] == "0.jpg"
    groups = array(content, "groups", "<u2")
    assert len(set(groups[:20]) | set(groups[20:])) == 2
    assert parquet.read_table(output / "images.parquet").num_columns == 8


def test_an_image_with_a_vector_that_cannot_be_read_is_flagged(faulty, tmp_path):
    names = sorted(path.relative_to(faulty).as_posix() for path in faulty.rglob("*.png"))
    codes = np.random.default_rng(0).normal(size=(len(names), 6)).astype(np.float32)
    np.savez(tmp_path / "v.npz", codes=codes, files=names)
    output = tmp_path / "out"
    assert run("browse", faulty, "--codes", tmp_path / "v.npz", "--output", output) == 0
    flags = {row["file"]: row["flags"] for row in table(output / "browse.csv")}
    assert "unreadable" in flags["broken.png"]
    content, _ = content_of(output)
    at = content["names"].index("broken.png")
    assert array(content, "thumbnailSizes", "<u1", 2)[at].tolist() == [0, 0]
    assert parquet.read_table(output / "images.parquet")["thumbnail"][at].as_py()["bytes"] is None


@pytest.mark.parametrize("number", [1, 2, 5])
def test_a_few_images_are_a_page_too(model, tmp_path, number, capsys):
    write(tmp_path / "few", [f"{row}.png" for row in range(number)])
    output = tmp_path / "out"
    assert run("browse", model, tmp_path / "few", "--output", output) == 0
    content, _ = content_of(output)
    assert content["numNeighbors"] == number - 1
    assert len(table(output / "browse.csv")) == number
    assert "fewer than 30 images: all are one group" in capsys.readouterr().out


def test_images_that_are_all_alike_are_one_group_without_outliers(model, tmp_path):
    (tmp_path / "same").mkdir()
    for row in range(35):
        Image.new("L", (16, 16), 90).save(tmp_path / "same" / f"{row}.png")
    assert run("browse", model, tmp_path / "same", "--output", tmp_path / "out") == 0
    rows = table(tmp_path / "out" / "browse.csv")
    assert {(row["group"], row["score"]) for row in rows} == {("0", "0")}


def test_too_many_images_are_drawn_from(model, folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(browse_thumbnails, "MOST_SHOWN", 12)
    assert run("browse", model, folder, "--clusters", 2, "--output", tmp_path / "out") == 0
    assert "the page shows 12 of 40 images, drawn at random by --seed" in capsys.readouterr().out
    content, _ = content_of(tmp_path / "out")
    assert (len(content["names"]), content["number"]) == (12, 40)
    assert len(table(tmp_path / "out" / "browse.csv")) == 12


def test_more_images_have_smaller_thumbnails(monkeypatch, tmp_path):
    photographs = pictures(3, (90, 40, 3))
    sizes = [browse_thumbnails._thumbnail(photographs[0], side)[1] for side in (64, 48, 32)]
    assert sizes == [(64, 28), (48, 21), (32, 14)]
    several = browse_thumbnails.Thumbnails(
        np.zeros((2100, 64, 64, 3), np.uint8), np.full((2100, 2), 64, np.uint8)
    )
    found = [Image.open(io.BytesIO(sheet)).size for sheet in browse_thumbnails.sheets(several)]
    assert found == [(2048, 2048), (2048, 2048), (2048, 128)]


def test_without_the_training_images_scores_come_from_a_comparison_with_each_other(
    model, folder, tmp_path, capsys, monkeypatch
):
    training = model.parent.parent / "training.npz"
    moved = training.rename(training.with_suffix(".moved"))
    try:
        arguments = ("browse", model, folder, "--clusters", 2, "--output", tmp_path / "out")
        assert run(*arguments) == 0
    finally:
        moved.rename(training)
    assert "until then scores come from a comparison with each other" in capsys.readouterr().out
    assert content_of(tmp_path / "out")[0]["comparedWith"] == "the images themselves"


def test_the_same_command_gives_the_same_page(model, faulty, made, tmp_path):
    output = tmp_path / "made" / "out"
    assert run("browse", model, faulty, "--clusters", 2, "--output", output) == 0
    assert (output / "browse.csv").read_bytes() == (made / "browse.csv").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--clusters", "9"], "groups need ten codes each"),
        (["--share", "0.9"], "--share must be at most 0.5"),
        (["--reference", "nowhere"], "--reference"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    model, folder, tmp_path, capsys, arguments, expected
):
    output = tmp_path / "out"
    assert expected in complaint(capsys, "browse", model, folder, *arguments, "--output", output)
    assert not output.exists()


def test_codes_beyond_what_t_sne_takes_lie_beside_their_nearest(monkeypatch):
    monkeypatch.setattr(code_map, "_MOST_MAPPED", 60)
    random = np.random.default_rng(0)
    codes = np.concatenate([random.normal(size=(60, 4)), 30 + random.normal(size=(60, 4))])
    places = code_map.plane(codes, seed=0)
    assert places.dtype == np.float32
    assert (places == code_map.plane(codes, seed=0)).all()
    middles = places[:60].mean(axis=0), places[60:].mean(axis=0)
    nearer = [np.linalg.norm(places - middle, axis=1) for middle in middles]
    assert ((nearer[0] < nearer[1]) == (np.arange(120) < 60)).all()
