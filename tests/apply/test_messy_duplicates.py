"""`apply duplicates` on folders as people have them: links, odd paths, plans that were edited."""

import csv
import os
import shutil

import numpy as np
import pytest
from apply_command import complaint, files, run, surrogate_table, table, write
from PIL import Image, ImageDraw

from kerasunsup.apply import duplicate_plan, moving, picture_looks


@pytest.fixture
def doubled(tmp_path):
    """Six images, two of them twice."""
    write(tmp_path / "photos", [f"{number}.png" for number in range(6)])
    for number in range(2):
        shutil.copy2(tmp_path / "photos" / f"{number}.png", tmp_path / "photos" / f"b{number}.png")
    return tmp_path / "photos"


def test_a_folder_in_which_nothing_can_be_read_is_one_line_with_a_model_too(
    model, tmp_path, capsys
):
    (tmp_path / "zero").mkdir()
    (tmp_path / "zero" / "a.png").write_bytes(b"")
    for more in ([], ["--safe", tmp_path / "zero"]):
        line = complaint(
            capsys, "duplicates", model, tmp_path / "zero", *more, "--output", tmp_path / "out"
        )
        assert "none of the images of" in line
    assert not (tmp_path / "out").exists()


def test_a_relative_other_folder_serves_moves_too(doubled, tmp_path, monkeypatch):
    (tmp_path / "train").mkdir()
    shutil.copy2(doubled / "3.png", tmp_path / "train" / "three.png")
    monkeypatch.chdir(tmp_path)
    command = ("duplicates", "photos", "--against", "train", "--output", "out")
    assert run(*command, "--move-to", "away") == 0
    assert files(tmp_path / "away") == {"3.png"}
    assert table(tmp_path / "out" / "duplicates.csv")[0]["file"] == str(
        tmp_path / "train" / "three.png"
    )


@pytest.mark.parametrize("place", ["photos", "train"])
def test_a_link_between_the_two_folders_moves_no_original(doubled, tmp_path, capsys, place):
    write(tmp_path / "train", ["1.png", "2.png"], seed=1)
    before = files(doubled), files(tmp_path / "train")
    other = "photos" if place == "train" else "train"
    os.symlink(tmp_path / other, tmp_path / place / "link")
    line = complaint(
        capsys, "duplicates", doubled, "--against", tmp_path / "train", "--output",
        tmp_path / "out", "--move-to", tmp_path / "away",
    )  # fmt: skip
    assert "link/" in line
    assert "remove the link" in line
    (tmp_path / place / "link").unlink()
    assert (files(doubled), files(tmp_path / "train")) == before
    assert not (tmp_path / "out").exists()


def test_a_link_in_a_safe_folder_is_safe_too(doubled, tmp_path):
    (doubled / "safe").mkdir()
    shutil.copy2(doubled / "0.png", tmp_path / "elsewhere.png")
    os.symlink(tmp_path / "elsewhere.png", doubled / "safe" / "0.png")
    command = ("duplicates", doubled, "--safe", doubled / "safe", "--output", tmp_path / "out")
    assert run(*command) == 0
    rows = table(tmp_path / "out" / "duplicates.csv")
    kept = {row["file"] for row in rows if row["keep"] == "1"}
    assert kept == {"safe/0.png", "1.png"} or kept == {"safe/0.png", "b1.png"}


def edited(name):
    def edit(path):
        text = path.read_text()
        rows = list(csv.reader(text.splitlines()))
        path.write_text(
            {
                "semicolons": text.replace(",", ";"),
                "empty": "",
                "fewer columns": "".join(",".join(row[:6]) + "\n" for row in rows),
                "cut": text[: text.rfind(".png")],
                "mark": "\ufeff" + text,
            }[name]
        )

    return edit


EDITS = {name: edited(name) for name in ("semicolons", "empty", "fewer columns", "cut", "mark")}
EDITS |= {"gone": os.unlink, "bytes": lambda path: path.write_bytes(bytes(range(256)))}


@pytest.mark.parametrize("name", EDITS)
def test_a_plan_that_is_none_any_more_moves_nothing(doubled, tmp_path, capsys, name):
    output = tmp_path / "out"
    command = ("duplicates", doubled, "--output", output)
    assert run(*command) == 0
    EDITS[name](output / "duplicates.csv")
    before = files(doubled)
    line = complaint(capsys, *command, "--move-to", tmp_path / "away")
    assert f"{output / 'duplicates.csv'} is no plan of duplicates any more" in line
    assert files(doubled) == before
    assert not files(output) & {"undo.csv", "moves.json", ".moves.lock"}


def test_a_row_that_a_person_marked_to_keep_stays(doubled, tmp_path):
    output = tmp_path / "out"
    command = ("duplicates", doubled, "--keep", "first", "--output", output)
    assert run(*command) == 0
    text = (output / "duplicates.csv").read_text()
    (output / "duplicates.csv").write_text(text.replace("b0.png,0", "b0.png,1"))
    assert run(*command, "--move-to", tmp_path / "away") == 0
    assert files(tmp_path / "away") == {"b1.png"}


def test_a_file_in_the_place_of_a_folder_is_one_line_and_moves_go_on(tmp_path, capsys):
    photos, away = tmp_path / "photos", tmp_path / "away"
    write(photos, ["0.png", "sub/1.png"])
    for name in ("0.png", "sub/1.png"):
        shutil.copy2(photos / name, photos / name.replace(".", "-again."))
    away.mkdir()
    (away / "sub").write_text("mine")
    command = ("duplicates", photos, "--keep", "first", "--output", tmp_path / "out")
    before = files(photos)
    line = complaint(capsys, *command, "--move-to", away)
    assert f"--move-to: {away / 'sub'} is no folder" in line
    assert files(photos) | {"sub"} | files(away) == before | {"sub"}
    (away / "sub").rename(tmp_path / "mine")
    assert run(*command, "--move-to", away) == 0
    assert files(away) == {"0.png", "sub/1.png"}  # a hyphen comes before a dot
    assert run(*command, "--undo") == 0
    assert files(photos) == before


def test_a_long_name_that_is_taken_gets_a_shorter_one(tmp_path):
    name = "表" * 83 + ".jpg"  # 253 bytes of 255
    write(tmp_path, [name])
    (tmp_path / "away").mkdir()
    (tmp_path / "away" / name).write_text("mine")
    moves = moving.Moves(tmp_path)
    moves.begin()
    assert moves.move(str(tmp_path / name), str(tmp_path / "away" / name))
    assert (tmp_path / "away" / name).read_text() == "mine"
    (other,) = files(tmp_path / "away") - {name}
    assert other.endswith("-2.jpg")
    assert moving.Moves(tmp_path).undo() == (1, [])
    assert (tmp_path / name).is_file()


def test_moves_without_their_folders_are_one_line(doubled, tmp_path, capsys):
    command = ("duplicates", doubled, "--output", tmp_path / "out")
    assert run(*command, "--move-to", tmp_path / "away") == 0
    (tmp_path / "out" / "moves.json").unlink()
    capsys.readouterr()
    assert "--undo first" in complaint(capsys, *command, "--move-to", tmp_path / "away")
    assert run(*command, "--undo") == 0
    assert len(files(doubled)) == 8


def test_a_row_cut_off_inside_a_name_with_line_breaks_is_none(tmp_path):
    moves = moving.Moves(tmp_path)
    moves.begin()
    (tmp_path / "a").write_text("a")
    with (tmp_path / "undo.csv").open("a") as file:
        file.write(f'"{tmp_path / "x"}","{tmp_path}/line\nbrea')
    again = moving.Moves(tmp_path)
    assert again.rows() == []
    wanted = str(tmp_path / "b" / "a\n")
    assert again.move(str(tmp_path / "a"), wanted)
    assert moving.Moves(tmp_path).rows() == [(str(tmp_path / "a"), wanted)]


def test_a_file_that_changes_after_it_was_read_stays(doubled, tmp_path, monkeypatch):
    usual = picture_looks.look_at

    def then_changed(stream, folder):
        found = usual(stream, folder)
        (doubled / "b0.png").write_bytes(b"work of this very moment")
        return found

    monkeypatch.setattr(picture_looks, "look_at", then_changed)
    command = ("duplicates", doubled, "--keep", "first", "--output", tmp_path / "out")
    assert run(*command, "--move-to", tmp_path / "away") == 0
    assert files(tmp_path / "away") == {"b1.png"}


def test_dates_beyond_the_calendar_are_seconds():
    assert duplicate_plan.date(10**14 * 10**9 + 5000) == "100000000000000.000005"
    assert duplicate_plan.date(-1) == "1969-12-31T23:59:59.999999Z"


def test_names_of_any_bytes_are_moved_and_come_back(tmp_path):
    photos = tmp_path / "photos"
    write(photos, ["0.png"])
    names = ["caf\udce9.png", "new\nline.png", 'q"uote.png', "-x.png", "=1+1.png", "A.png", "a.png"]
    for name in names:
        shutil.copy2(photos / "0.png", photos / name)
    before = np.sort(list(files(photos)))
    command = ("duplicates", photos, "--output", tmp_path / "out")
    assert run(*command, "--move-to", tmp_path / "away") == 0
    assert len(files(photos)) == 1
    assert len(surrogate_table(tmp_path / "out" / "undo.csv")) == 7
    assert run(*command, "--undo") == 0
    assert (np.sort(list(files(photos))) == before).all()


@pytest.mark.parametrize("suffix", [".gif", ".tif", ".webp", ".png"])
def test_of_files_with_further_frames_only_equal_ones_are_copies(tmp_path, suffix):
    random = np.random.default_rng(0)
    cover = np.full((32, 32, 3), 30, np.uint8)
    cover[8:20, 4:28] = 220
    (tmp_path / "photos").mkdir()
    for name in "ab":
        pages = [cover, *random.integers(0, 256, (2, 32, 32, 3), np.uint8)]
        first, *others = map(Image.fromarray, pages)
        path = tmp_path / "photos" / f"{name}{suffix}"
        first.save(path, save_all=True, append_images=others, **LOSSLESS.get(suffix, {}))
    shutil.copy2(path, path.with_stem("same"))
    Image.fromarray(cover).save(tmp_path / "photos" / "cover.bmp")
    assert run("duplicates", tmp_path / "photos", "--output", tmp_path / "out") == 0
    rows = table(tmp_path / "out" / "duplicates.csv")
    assert {row["file"] for row in rows} == {path.name, f"same{suffix}"}
    assert {row["kind"] for row in rows} == {"exact"}
    assert run("check", tmp_path / "photos", "--output", tmp_path / "checked") == 0
    found = [row for row in table(tmp_path / "checked" / "check.csv") if "copy" in str(row)]
    assert {row["file"] for row in found} <= {path.name, f"same{suffix}"}
    assert found


LOSSLESS = {".webp": {"lossless": True}}


def test_a_link_to_an_image_is_no_second_one(doubled, tmp_path, capsys):
    (tmp_path / "train").mkdir()
    os.symlink(doubled / "3.png", tmp_path / "train" / "three.png")
    before = files(doubled)
    line = complaint(
        capsys, "duplicates", doubled, "--against", tmp_path / "train", "--output",
        tmp_path / "out", "--move-to", tmp_path / "away",
    )  # fmt: skip
    assert "3.png of" in line
    assert "remove the link" in line
    assert files(doubled) == before


def test_what_a_link_in_the_safe_folder_leads_to_is_safe(doubled, tmp_path):
    (doubled / "best").mkdir()
    os.symlink(doubled / "b0.png", doubled / "best" / "chosen.png")
    command = ("duplicates", doubled, "--safe", doubled / "best", "--output", tmp_path / "out")
    assert run(*command, "--move-to", tmp_path / "away") == 0
    assert (doubled / "best" / "chosen.png").exists()
    assert "0.png" in files(tmp_path / "away")


def test_images_that_an_array_has_are_moved(doubled, tmp_path):
    pixels = np.asarray(Image.open(doubled / "3.png"))
    np.savez(tmp_path / "train.npz", images=np.stack([pixels, 255 - pixels]))
    command = ("duplicates", doubled, "--against", tmp_path / "train.npz")
    assert run(*command, "--output", tmp_path / "out", "--move-to", tmp_path / "away") == 0
    assert files(tmp_path / "away") == {"3.png"}


def test_white_and_black_shapes_on_a_transparent_ground_are_told_apart(tmp_path):
    """Over white, all white shapes are one blank picture."""
    folder = tmp_path / "icons"
    folder.mkdir()
    shapes = {
        "disc": lambda draw: draw.ellipse((10, 10, 50, 50), fill=255),
        "cross": lambda draw: [draw.line((5, y, 60, 65 - y), fill=255, width=6) for y in (5, 60)],
        "bars": lambda draw: [draw.rectangle((x, 10, x + 5, 55), fill=255) for x in (8, 24, 40)],
    }
    for shape, draw in shapes.items():
        for level in (0, 255):
            opacity = Image.new("L", (64, 64))
            draw(ImageDraw.Draw(opacity))
            icon = Image.new("RGB", (64, 64), (level,) * 3)
            icon.putalpha(opacity)
            icon.save(folder / f"{level}_{shape}.png")
            if shape == "cross":
                icon.save(folder / f"{level}_{shape}_again.webp", lossless=True)
                icon.resize((48, 48), Image.Resampling.LANCZOS).save(folder / f"{level}_small.png")
    assert run("duplicates", folder, "--output", tmp_path / "found") == 0
    rows = table(tmp_path / "found" / "duplicates.csv")
    groups = {}
    for row in rows:
        groups.setdefault(row["group"], set()).add(row["file"])
    assert sorted(map(sorted, groups.values())) == [
        sorted([f"{level}_cross.png", f"{level}_cross_again.webp", f"{level}_small.png"])
        for level in (0, 255)
    ]
