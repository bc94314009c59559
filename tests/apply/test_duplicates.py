"""`apply duplicates`: which images are named, which are kept, and what is moved."""

import os
import shutil

import numpy as np
import pytest
from apply_command import complaint, files, run, surrogate_table, table
from PIL import Image, ImageDraw, ImageFilter

from kerasunsup.ae.settings import AutoencoderSettings
from kerasunsup.apply import duplicate_moves, duplicate_sheet, moving
from kerasunsup.data import images, splits


def scene(random, size=64):
    """A coloured ground with shapes and some texture, as a photograph has."""
    noise = Image.fromarray(random.integers(0, 256, (size // 4, size // 4, 3), np.uint8))
    image = noise.resize((size, size), Image.Resampling.BICUBIC).filter(ImageFilter.GaussianBlur(1))
    draw = ImageDraw.Draw(image)
    for _ in range(3):
        x, y = random.integers(0, size, 2).tolist()
        radius = int(random.integers(4, size // 3))
        colour = tuple(random.integers(0, 256, 3).tolist())
        draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=colour)
    return image


def moved(image):
    other = Image.new(image.mode, image.size)
    other.paste(image, (1, 0))
    return other


def noisy(image):
    noise = np.random.default_rng(0).normal(0, 5, np.asarray(image).shape)
    return Image.fromarray(np.clip(np.asarray(image) + noise, 0, 255).round().astype(np.uint8))


def marked(image):
    layer = Image.new("RGBA", image.size, (0, 0, 0, 0))
    ImageDraw.Draw(layer).text((34, 50), "(c)", fill=(255, 255, 255, 140))
    return Image.alpha_composite(image.convert("RGBA"), layer).convert("RGB")


def cropped(image):
    return image.crop((2, 2, image.width - 2, image.height - 2))


CHANGES = {
    "jpeg": (lambda image: image, ".jpg", {"quality": 50}),
    "webp": (lambda image: image, ".webp", {"quality": 80}),
    "half": (lambda image: image.resize((32, 32), Image.Resampling.LANCZOS), ".png", {}),
    "paler": (lambda image: image.point(lambda value: round(0.8 * value)), ".png", {}),
    "noisy": (noisy, ".png", {}),
    "moved": (moved, ".png", {}),
    "cropped": (cropped, ".png", {}),
    "marked": (marked, ".png", {}),
}


def save(image, path, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)


@pytest.fixture
def photos(tmp_path):
    """Twelve different scenes."""
    random = np.random.default_rng(0)
    for number in range(12):
        save(scene(random), tmp_path / "photos" / f"{number:02d}.png")
    return tmp_path / "photos"


def groups(folder, output, *arguments):
    """[(kept, {other: kind})] of each group, after some checks of the table."""
    assert run("duplicates", folder, "--output", output, *arguments) == 0
    found = []
    for row in table(output / "duplicates.csv"):
        if row["keep"] == "1":
            found.append((row["file"], {}))
            assert (int(row["group"]), float(row["distance"])) == (len(found), 0.0)
        else:
            assert (row["keep"], int(row["group"])) == ("0", len(found))
            found[-1][1][row["file"]] = row["kind"]
    assert (output / "duplicates_sheet.png").is_file() == bool(found)
    return found


@pytest.mark.parametrize("change", CHANGES)
def test_each_kind_of_copy_is_found_and_no_other_image(photos, tmp_path, change):
    make, suffix, options = CHANGES[change]
    for number in (2, 7):
        copy = make(Image.open(photos / f"{number:02d}.png"))
        save(copy, photos / f"{number:02d}_copy{suffix}", **options)
    expected = [{f"{number:02d}.png", f"{number:02d}_copy{suffix}"} for number in (2, 7)]
    found = groups(photos, tmp_path / "out")
    assert sorted(({kept, *others} for kept, others in found), key=min) == expected
    assert {kind for _, others in found for kind in others.values()} == {"copy"}


def test_different_images_make_an_empty_table(photos, tmp_path):
    assert groups(photos, tmp_path / "out") == []
    header = "group,file,keep,kind,distance,width,height,bytes,modified\n"
    assert (tmp_path / "out" / "duplicates.csv").read_text() == header


def test_exact_copies_come_first_whatever_their_format(photos, tmp_path):
    Image.open(photos / "09.png").save(photos / "same.bmp")
    shutil.copy(photos / "08.png", photos / "bytes.png")
    grey = Image.open(photos / "01.png").convert("L")
    grey.save(photos / "grey.png")
    grey.convert("RGB").save(photos / "grey3.png")
    Image.open(photos / "00.png").save(photos / "00.jpg", quality=90)
    found = groups(photos, tmp_path / "out", "--keep", "first")
    assert found == [
        ("08.png", {"bytes.png": "exact"}),
        ("09.png", {"same.bmp": "exact"}),
        ("grey.png", {"grey3.png": "exact"}),
        ("00.jpg", {"00.png": "copy"}),
    ]
    (row,) = (row for row in table(tmp_path / "out" / "duplicates.csv") if row["file"] == "00.png")
    assert (row["width"], row["height"]) == ("64", "64")
    assert int(row["bytes"]) == (photos / "00.png").stat().st_size
    assert 0.0 < float(row["distance"]) < 0.2


def test_scenes_by_vectors_from_elsewhere(photos, tmp_path):
    random = np.random.default_rng(0)
    codes = random.normal(size=(12, 8)).astype(np.float32)
    codes[7] = codes[2] + 1e-3
    np.save(tmp_path / "codes.npy", codes)
    np.save(tmp_path / "others.npy", random.normal(size=(2000, 8)).astype(np.float32))
    vectors = ("--codes", tmp_path / "codes.npy", "--reference", tmp_path / "others.npy")
    ((kept, others),) = groups(photos, tmp_path / "out", *vectors)
    assert {kept, *others} == {"02.png", "07.png"}
    assert set(others.values()) == {"scene"}


def test_vectors_that_tell_no_scenes_are_one_line(photos, tmp_path, capsys):
    np.save(tmp_path / "codes.npy", np.eye(12, dtype=np.float32))
    codes = ("--output", tmp_path / "out", "--codes", tmp_path / "codes.npy")
    assert "give IMAGES too" in complaint(capsys, "duplicates", *codes)
    assert "by --reference FILE" in complaint(capsys, "duplicates", photos, *codes)
    line = complaint(capsys, "duplicates", photos, *codes, "--against", photos)
    assert "no vectors of the images of --against" in line


def test_two_images_alone(tmp_path):
    picture = scene(np.random.default_rng(0))
    save(picture, tmp_path / "two" / "a.png")
    save(picture, tmp_path / "two" / "b.jpg", quality=75)
    assert len(groups(tmp_path / "two", tmp_path / "out")) == 1
    save(scene(np.random.default_rng(1)), tmp_path / "two" / "b.jpg")
    assert groups(tmp_path / "two", tmp_path / "other") == []


def test_eleven_identical_images_are_one_group(tmp_path):
    picture = scene(np.random.default_rng(0))
    for number in range(11):
        save(picture, tmp_path / "alike" / f"{number:02d}.png")
    ((kept, others),) = groups(tmp_path / "alike", tmp_path / "out")
    assert (kept, sorted(others)) == ("00.png", [f"{number:02d}.png" for number in range(1, 11)])


@pytest.mark.parametrize("distinct", [20, 1])
def test_folders_of_which_half_or_nearly_all_are_copies(tmp_path, distinct):
    random = np.random.default_rng(0)
    for number in range(distinct):
        picture = scene(random)
        save(picture, tmp_path / "images" / f"{number:02d}.png")
        for copy in range(40 // distinct - 1):
            paler = picture.point(lambda value, copy=copy: round(value * (1.0 - 0.005 * copy)))
            save(paler, tmp_path / "images" / f"{number:02d}_{copy}.jpg", quality=80)
    found = groups(tmp_path / "images", tmp_path / "out", "--keep", "oldest")
    assert len(found) == distinct
    for kept, others in found:
        assert len(others) == 40 // distinct - 1
        assert all(other.startswith(kept[:2]) for other in others)


def test_different_digits_are_no_copies(tmp_path):
    train = splits.load(AutoencoderSettings(limit=200)).train
    for number, picture in enumerate(images.to_uint8(train.array())):
        save(Image.fromarray(picture[..., 0]), tmp_path / "digits" / f"{number:03d}.png")
    copy = moved(Image.open(tmp_path / "digits" / "007.png"))
    save(copy, tmp_path / "digits" / "moved.png")
    assert groups(tmp_path / "digits", tmp_path / "out", "--keep", "first") == [
        ("007.png", {"moved.png": "copy"})
    ]


def test_each_rule_keeps_its_image(photos, tmp_path):
    large = scene(np.random.default_rng(5), 128)
    save(large.resize((64, 64), Image.Resampling.LANCZOS), photos / "a.png")
    save(large, photos / "b.png")
    save(large, photos / "c.jpg", quality=80)
    for name, moment in (("a.png", 2000), ("b.png", 3000), ("c.jpg", 1000)):
        os.utime(photos / name, (moment, moment))
    for rule, kept in (("largest", "b.png"), ("oldest", "c.jpg"), ("first", "a.png")):
        ((name, others),) = groups(photos, tmp_path / rule, "--keep", rule)
        assert name == kept
        assert {name, *others} == {"a.png", "b.png", "c.jpg"}
    times = {row["file"]: row["modified"] for row in table(tmp_path / "first" / "duplicates.csv")}
    assert times["c.jpg"] == "1970-01-01T00:16:40.000000Z"


def test_what_is_safe_is_kept_and_never_proposed(photos, tmp_path, capsys):
    (photos / "safe").mkdir()
    for name in ("safe/x.png", "safe/y.png", "z.png"):
        shutil.copy(photos / "03.png", photos / name)
    picture = Image.open(photos / "03.png")
    save(picture.resize((32, 32)), photos / "safe" / "small.png")
    found = groups(photos, tmp_path / "out", "--safe", photos / "safe")
    ((kept, others),) = found
    assert kept == "safe/x.png"
    assert others == {"03.png": "exact", "z.png": "exact"}
    arguments = ("duplicates", photos, "--output", tmp_path / "no", "--safe", tmp_path / "else")
    assert "no image of IMAGES lies in" in complaint(capsys, *arguments)
    assert not (tmp_path / "no").exists()


def test_images_against_another_folder(photos, tmp_path, capsys):
    train = tmp_path / "train"
    Image.open(photos / "04.png").save(tmp_path / "04.jpg", quality=80)
    train.mkdir()
    shutil.move(tmp_path / "04.jpg", train / "other.jpg")
    shutil.copy(photos / "05.png", train / "05.png")
    shutil.copy(photos / "05.png", train / "again.png")
    shutil.copy(photos / "06.png", photos / "six.png")  # in this folder alone
    found = groups(photos, tmp_path / "out", "--against", train)
    assert found == [
        (str(train / "05.png"), {"05.png": "exact"}),
        (str(train / "other.jpg"), {"04.png": "copy"}),
    ]
    arguments = ("duplicates", photos, "--against", photos, "--output", tmp_path / "no")
    assert "none lies in" in complaint(capsys, *arguments)


def test_unreadable_and_strange_files(photos, tmp_path):
    (photos / "broken.png").write_bytes(b"no image")
    shutil.copy(photos / "00.png", photos / "caf\udce9\n.png")
    assert run("duplicates", photos, "--output", tmp_path / "out") == 0
    rows = surrogate_table(tmp_path / "out" / "duplicates.csv")
    assert {row["file"] for row in rows} == {"00.png", "caf\udce9\n.png"}
    assert [row["file"] for row in table(tmp_path / "out" / "unreadable.csv")] == ["broken.png"]


def test_arrays_have_no_files_to_move(tmp_path, capsys):
    pictures = np.random.default_rng(0).integers(0, 256, (6, 16, 16, 1), np.uint8)
    pictures[4] = pictures[1]
    np.savez(tmp_path / "data.npz", images=pictures)
    ((kept, others),) = groups(tmp_path / "data.npz", tmp_path / "out")
    assert (kept, others) == ("00001.png", {"00004.png": "exact"})
    line = complaint(
        capsys, "duplicates", tmp_path / "data.npz", "--output", tmp_path / "b",
        "--move-to", tmp_path / "c",
    )  # fmt: skip
    assert "no folder" in line


def test_scenes_need_a_model_and_follow_from_its_training_images(model, folder, tmp_path):
    shutil.copy(folder / "a" / "3.png", folder / "b" / "copy.png")
    values = np.asarray(Image.open(folder / "a" / "5.png")).astype(int)
    values[4:12, 4:12] = 255 - values[4:12, 4:12]
    Image.fromarray(values.astype(np.uint8)).save(folder / "b" / "another.png")
    output = tmp_path / "out"
    assert run("duplicates", model, folder, "--output", output) == 0
    rows = table(output / "duplicates.csv")
    exact = [row["file"] for row in rows if row["kind"] == "exact"]
    assert exact[:2] == ["a/3.png", "b/copy.png"]
    assert len({row["file"] for row in rows}) == len(rows)
    kept = [row for row in rows if row["keep"] == "1"]
    assert len(kept) == len({row["group"] for row in rows})


# -------------------------------------------------------------------------------------------- moves


@pytest.fixture
def doubled(photos):
    """Twelve scenes, four of them twice or more."""
    for number in range(4):
        shutil.copy2(photos / f"{number:02d}.png", photos / f"{number:02d}_again.png")
    (photos / "deep" / "er").mkdir(parents=True)
    shutil.copy2(photos / "00.png", photos / "deep" / "er" / "00.png")
    return photos


def contents(*folders):
    """The content of each file, and how often it is there."""
    found = [path.read_bytes() for folder in folders for path in folder.rglob("*.png")]
    return sorted(found)


def states(folder):
    found = {path: path.stat() for path in folder.rglob("*.png")}
    return {path: (s.st_ino, s.st_size, s.st_mtime_ns) for path, s in found.items()}


def test_a_plan_touches_nothing_and_moves_can_be_undone(doubled, tmp_path):
    before = states(doubled)
    away, output = tmp_path / "away", tmp_path / "out"
    command = ("duplicates", doubled, "--output", output, "--keep", "first")
    assert run(*command) == 0
    assert states(doubled) == before
    assert run(*command, "--move-to", away) == 0
    gone = {"deep/er/00.png", *(f"{number:02d}_again.png" for number in range(4))}
    assert files(away) == gone
    assert files(doubled) == {f"{number:02d}.png" for number in range(12)}
    rows = table(output / "undo.csv")
    assert {row["file"] for row in rows} == {str(doubled / name) for name in gone}
    assert run(*command, "--move-to", away) == 0  # once more: nothing is left to do
    assert run(*command, "--undo") == 0
    assert states(doubled) == before
    assert not away.exists()
    assert not (output / "undo.csv").exists()
    assert run(*command, "--move-to", away) == 0
    assert files(away) == gone


@pytest.mark.parametrize("across", [False, True])
@pytest.mark.parametrize("ending", ["--move-to", "--undo"])
def test_a_kill_at_any_moment_loses_nothing(doubled, tmp_path, monkeypatch, across, ending):
    before = contents(doubled)
    command = ("duplicates", doubled, "--output", tmp_path / "out", "--keep", "first")
    assert run(*command) == 0

    def killed_after(steps):
        """Ends the process before its next change of the disk after some."""
        left = [steps]
        with monkeypatch.context() as patched:
            for name in ("link", "unlink", "rename", "fsync", "rmdir", "makedirs"):
                usual = getattr(os, name)

                def step(*arguments, usual=usual, name=name, **more):
                    if left[0] == 0:
                        raise KeyboardInterrupt
                    left[0] -= 1
                    if across and name == "link":
                        raise OSError(18, "Invalid cross-device link")
                    return usual(*arguments, **more)

                patched.setattr(os, name, step)
            return run(*command, "--move-to", tmp_path / "away")

    steps = 0
    while True:
        status = killed_after(steps)
        places = [doubled, *([tmp_path / "away"] if (tmp_path / "away").exists() else [])]
        assert set(contents(*places)) == set(before)
        if ending == "--move-to":
            assert run(*command, "--move-to", tmp_path / "away") == 0
            assert contents(doubled, tmp_path / "away") == before
            assert len(files(tmp_path / "away")) == 5
        if (tmp_path / "out" / "undo.csv").exists():
            assert run(*command, "--undo") == 0
        assert contents(doubled) == before
        assert {path for path in files(tmp_path) if path.startswith("away")} <= set()
        if status == 0:
            break
        steps += 5
    assert steps > 20


def test_nothing_is_written_over(doubled, tmp_path):
    (tmp_path / "away").mkdir()
    (tmp_path / "away" / "01_again.png").write_text("mine")
    command = ("duplicates", doubled, "--output", tmp_path / "out", "--keep", "first")
    assert run(*command, "--move-to", tmp_path / "away") == 0
    assert (tmp_path / "away" / "01_again.png").read_text() == "mine"
    assert "01_again-2.png" in files(tmp_path / "away")
    (doubled / "02_again.png").write_text("new")
    assert run(*command, "--undo") == 2  # its old name is taken
    assert (doubled / "02_again.png").read_text() == "new"
    assert files(tmp_path / "away") == {"01_again.png", "02_again.png"}
    (doubled / "02_again.png").unlink()
    assert run(*command, "--undo") == 0
    assert (tmp_path / "away" / "01_again.png").read_text() == "mine"
    assert "02_again.png" in files(doubled)


def test_what_changed_since_the_plan_stays(doubled, tmp_path, monkeypatch):
    command = ("duplicates", doubled, "--output", tmp_path / "out", "--keep", "first")
    usual = duplicate_moves._move

    def after_a_change(*arguments):
        (doubled / "01.png").unlink()  # the one that is kept
        (doubled / "02_again.png").write_bytes(b"another")
        usual(*arguments)

    monkeypatch.setattr(duplicate_moves, "_move", after_a_change)
    assert run(*command, "--move-to", tmp_path / "away") == 0
    assert files(tmp_path / "away") == {"00_again.png", "03_again.png", "deep/er/00.png"}


def test_bad_folders_are_one_line(doubled, tmp_path, capsys):
    command = ("duplicates", doubled, "--output", tmp_path / "out")
    assert "nothing stands moved" in complaint(capsys, *command, "--undo")
    assert "lies in" in complaint(capsys, *command, "--move-to", doubled / "deep")
    assert not (tmp_path / "out").exists()
    (tmp_path / "file").write_text("")
    assert "no folder" in complaint(capsys, *command, "--move-to", tmp_path / "file")
    assert run(*command, "--move-to", tmp_path / "away") == 0
    capsys.readouterr()
    line = complaint(capsys, *command, "--move-to", tmp_path / "elsewhere")
    assert "--undo first" in line


def test_a_row_that_was_cut_off_is_none(tmp_path):
    moves = moving.Moves(tmp_path)
    moves.begin()
    (tmp_path / "a").write_text("a")
    with (tmp_path / "undo.csv").open("a") as file:
        file.write(f'"{tmp_path / "a"}","{tmp_path}')
    again = moving.Moves(tmp_path)
    assert again.rows() == []
    assert again.move(str(tmp_path / "a"), str(tmp_path / "b" / "a"))
    assert moving.Moves(tmp_path).rows() == [(str(tmp_path / "a"), str(tmp_path / "b" / "a"))]


def test_the_sheet_shows_first_what_is_least_sure(photos, tmp_path, monkeypatch):
    """Of exact copies nobody need look at the pictures; of the most different copies one should."""
    from kerasunsup.figures import image_grids

    for number in range(6):
        shutil.copy(photos / f"{number:02d}.png", photos / f"{number:02d}-again.png")
    picture = Image.open(photos / "07.png")
    picture.save(photos / "07-copy.jpg", quality=95)
    noisy(Image.open(photos / "08.png")).save(photos / "08-copy.jpg", quality=50)
    monkeypatch.setattr(duplicate_sheet, "_GROUPS", 3)
    shown, draw = [], image_grids.captioned_rows

    def captioned_rows(rows):
        shown.extend((row.name, row.above[0]) for row in rows)
        return draw(rows)

    monkeypatch.setattr(image_grids, "captioned_rows", captioned_rows)
    assert len(groups(photos, tmp_path / "out")) == 8
    assert shown == [("8", "08.png"), ("7", "07.png"), ("1", "00-again.png")]
