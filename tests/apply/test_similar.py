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


def test_near_duplicates_are_found_once(model, folder, tmp_path):
    (folder / "b" / "copy.png").write_bytes((folder / "a" / "3.png").read_bytes())
    output = tmp_path / "out"
    assert run("similar", model, folder, "--output", output) == 0
    rows = table(output / "similar.csv")
    assert (rows[0]["query"], rows[0]["file"]) == ("a/3.png", "b/copy.png")
    assert len({frozenset((row["query"], row["file"])) for row in rows}) == len(rows)
