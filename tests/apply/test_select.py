"""`apply select`, with a small untrained model."""

import numpy as np
import pytest
from apply_command import complaint, files, run, table, write
from PIL import Image


def test_selected_images_are_ranked_and_shown(model, folder, tmp_path, capsys):
    output = tmp_path / "out"
    assert run("select", model, folder, "--count", 7, "--output", output) == 0
    rows = table(output / "selected.csv")
    assert (output / "selected.csv").read_text().startswith("rank,file\n1,")
    assert [row["rank"] for row in rows] == [str(rank) for rank in range(1, 8)]
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*.png")}
    assert len({row["file"] for row in rows} & names) == 7
    assert files(output) == {"selected.csv", "selected_sheet.png", "apply.json"}
    Image.open(output / "selected_sheet.png").load()
    out = capsys.readouterr().out
    assert "images: 40" in out
    assert "selected: 7" in out
    # Whoever wants fewer gets the first of these.
    assert run("select", model, folder, "--count", 3, "--output", tmp_path / "few") == 0
    assert table(tmp_path / "few" / "selected.csv") == rows[:3]


def test_bright_and_dark_images_are_both_among_the_first_two(model, tmp_path):
    for number in range(30):
        noise = np.random.default_rng(number).integers(0, 20, (16, 16))
        picture = noise + (220 if number >= 22 else 0)
        write(tmp_path / "images", [f"{number}.png"])
        Image.fromarray(picture.astype(np.uint8)).save(tmp_path / "images" / f"{number}.png")
    output = tmp_path / "out"
    assert run("select", model, tmp_path / "images", "--count", 2, "--output", output) == 0
    is_bright = [int(row["file"].split(".")[0]) >= 22 for row in table(output / "selected.csv")]
    assert is_bright == [False, True]  # the larger group first


def test_more_than_there_are_ranks_all_and_says_so(model, folder, tmp_path, capsys):
    output = tmp_path / "out"
    assert run("select", model, folder, "--output", output) == 0
    assert "--count 100 is more than the 40 images: all are ranked" in capsys.readouterr().out
    assert len({row["file"] for row in table(output / "selected.csv")}) == 40


def test_one_image_and_images_that_are_alike(model, tmp_path, capsys):
    write(tmp_path / "one", ["a.png"])
    assert run("select", model, tmp_path / "one", "--count", 1, "--output", tmp_path / "1") == 0
    assert table(tmp_path / "1" / "selected.csv") == [{"rank": "1", "file": "a.png"}]
    for name in ("b.png", "c.png"):
        (tmp_path / "one" / name).write_bytes((tmp_path / "one" / "a.png").read_bytes())
    assert run("select", model, tmp_path / "one", "--count", 2, "--output", tmp_path / "3") == 0
    assert "are all alike" in capsys.readouterr().out
    assert [row["file"] for row in table(tmp_path / "3" / "selected.csv")] == ["a.png", "b.png"]


@pytest.mark.parametrize("count", ["0", "-3"])
def test_a_count_that_is_none_is_refused(model, folder, tmp_path, capsys, count):
    line = complaint(
        capsys, "select", model, folder, "--count", count, "--output", tmp_path / "out"
    )
    assert "--count" in line
    assert not (tmp_path / "out").exists()
