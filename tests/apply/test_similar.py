"""`apply similar`, with a small untrained model."""

import pytest
from apply_command import run, table


def test_similar_finds_a_copy_of_the_query_first(model, folder, tmp_path):
    query = tmp_path / "query.png"
    query.write_bytes((folder / "a" / "7.png").read_bytes())
    output = tmp_path / "out"
    arguments = ["similar", model, folder, "--query", query, "--neighbors", 3]
    assert run(*arguments, "--output", output) == 0
    rows = table(output / "similar.csv")
    assert [row["rank"] for row in rows] == ["1", "2", "3"]
    assert (rows[0]["query"], rows[0]["file"]) == ("query.png", "a/7.png")
    distances = [float(row["distance"]) for row in rows]
    assert distances[0] == pytest.approx(0.0, abs=1e-3)
    assert distances == sorted(distances)
    assert (output / "similar_sheet.png").is_file()


def test_the_query_itself_is_left_out_and_its_copies_are_not(model, folder, tmp_path, caplog):
    query = folder / "a" / "7.png"
    (folder / "b" / "copy.png").write_bytes(query.read_bytes())
    arguments = ["similar", model, folder, "--neighbors", 3, "--query"]
    assert run(*arguments, query, "--output", tmp_path / "out") == 0
    rows = table(tmp_path / "out" / "similar.csv")
    assert [row["rank"] for row in rows] == ["1", "2", "3"]
    assert rows[0]["file"] == "b/copy.png"
    assert float(rows[0]["distance"]) == pytest.approx(0.0, abs=1e-3)
    assert "a/7.png" not in [row["file"] for row in rows]
    assert "7.png is one of the images itself, and is left out" in caplog.text
    # All images as queries, by another way to the folder: each has the others.
    (tmp_path / "link").symlink_to(folder)
    assert run(*arguments, tmp_path / "link", "--output", tmp_path / "all") == 0
    rows = table(tmp_path / "all" / "similar.csv")
    assert all(row["query"] != row["file"] for row in rows)
    number = len({row["query"] for row in rows})
    assert len(rows) == 3 * number
    assert f"all {number} queries are images themselves, and each is left out" in caplog.text


def test_of_one_image_that_is_the_query_there_are_no_neighbours(model, folder, tmp_path):
    query = folder / "a" / "7.png"
    assert run("similar", model, query, "--query", query, "--output", tmp_path / "out") == 0
    assert table(tmp_path / "out" / "similar.csv") == []


def test_near_duplicates_are_found_once(model, folder, tmp_path):
    (folder / "b" / "copy.png").write_bytes((folder / "a" / "3.png").read_bytes())
    output = tmp_path / "out"
    assert run("similar", model, folder, "--output", output) == 0
    rows = table(output / "similar.csv")
    assert (rows[0]["query"], rows[0]["file"]) == ("a/3.png", "b/copy.png")
    assert len({frozenset((row["query"], row["file"])) for row in rows}) == len(rows)
