"""`apply check`: planted faults are found, and clean folders are left in peace."""

import os
import subprocess
import sys

import numpy as np
import pytest
from apply_command import STRANGE, complaint, files, run, surrogate_table, table
from PIL import Image, ImageDraw, ImageFilter

from kerasunsup.ae.settings import AutoencoderSettings
from kerasunsup.apply import check
from kerasunsup.data import images, splits


def scene(random, width=64, height=64):
    """A colour ground with a brightness that changes, and three shapes with sharp edges."""
    ground = np.linspace(0.4, 1.0, height)[:, None, None] * random.integers(60, 256, 3)
    picture = Image.fromarray(np.broadcast_to(ground, (height, width, 3)).astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    for _ in range(3):
        x, y, radius = (
            int(random.integers(low, high)) for low, high in ((0, 64), (0, 64), (4, 30))
        )
        shape = draw.ellipse if random.random() < 0.5 else draw.rectangle
        colour = tuple(int(value) for value in random.integers(0, 256, 3))
        shape([x - radius, y - radius, x + radius, y + radius], fill=colour)
    return picture


@pytest.fixture
def clean(tmp_path):
    """Sixty different pictures, of which some are larger, longer or stored in another format."""
    random, folder = np.random.default_rng(0), tmp_path / "images"
    folder.mkdir()
    for number in range(60):
        width, height = (int(side) for side in random.integers(56, 80, 2))
        ending = ("png", "jpg", "webp")[number % 3]
        scene(random, width, height).save(folder / f"{number:02d}.{ending}", quality=90)
    return folder


def found(folder, output):
    """(file, issue) -> value."""
    assert run("check", folder, "--output", output) == 0
    return {(row["file"], row["issue"]): row["value"] for row in table(output / "check.csv")}


def test_sixty_clean_pictures_have_no_issue(clean, tmp_path):
    assert found(clean, tmp_path / "out") == {}
    assert files(tmp_path / "out") == {"apply.json", "check.csv"}
    assert (tmp_path / "out" / "check.csv").read_text() == "file,issue,value\n"


def test_every_planted_fault_is_found_and_nothing_else(clean, tmp_path):
    random = np.random.default_rng(1)

    def save(picture, name, **options):
        picture.save(clean / name, **options)

    (clean / "empty.png").write_bytes(b"")
    (clean / "short.jpg").write_bytes((clean / "01.jpg").read_bytes()[:700])
    save(Image.open(clean / "00.png"), "z-again.bmp")
    save(scene(random).filter(ImageFilter.GaussianBlur(3)), "blurred.png")
    save(scene(random).point(lambda value: value // 5), "dark.png")
    save(scene(random).point(lambda value: 245 + value // 26), "light.png")
    save(Image.new("RGB", (64, 64), (90, 120, 60)), "flat.png")
    save(scene(random, 300, 300), "large.png")
    save(scene(random).resize((20, 20)), "small.png")
    save(scene(random, 160, 32), "long.png")
    save(scene(random).convert("L"), "grey.png")
    save(scene(random).convert("L").convert("RGB"), "grey.jpg")
    through = scene(random)
    through.putalpha(Image.fromarray(np.repeat([0, 255], 32).astype(np.uint8)[None].repeat(64, 0)))
    save(through, "through.png")
    save(scene(random).convert("RGBA"), "opaque.png")
    save(scene(random), "really-a.png", format="JPEG")
    rows = found(clean, tmp_path / "out")
    assert set(rows) == {
        ("empty.png", "unreadable"), ("short.jpg", "unreadable"), ("z-again.bmp", "exact_copy"),
        ("blurred.png", "blurred"), ("dark.png", "dark"), ("light.png", "light"),
        ("flat.png", "flat"),
        ("large.png", "odd_size"), ("small.png", "odd_size"),
        ("long.png", "odd_shape"), ("grey.png", "grey"), ("grey.jpg", "grey"),
        ("through.png", "transparent"), ("really-a.png", "wrong_ending"),
    }  # fmt: skip
    assert rows["z-again.bmp", "exact_copy"] == "00.png"
    assert rows["large.png", "odd_size"] == "300x300"
    assert rows["long.png", "odd_shape"] == "5"
    assert rows["grey.jpg", "grey"] == "RGB"
    assert rows["through.png", "transparent"] == "0.5"
    assert rows["really-a.png", "wrong_ending"] == "JPEG"
    sheets = {f"{issue}_sheet.png" for issue in check.ISSUES if issue != "unreadable"}
    assert files(tmp_path / "out") == {"apply.json", "check.csv", *sheets}


def test_digits_on_black_have_no_issue(tmp_path):
    loaded = splits.load(AutoencoderSettings(limit=500))
    for number, picture in enumerate(images.to_uint8(loaded.train.array())):
        Image.fromarray(picture[..., 0]).save(tmp_path / f"{number}.png")
    assert found(tmp_path, tmp_path / "out") == {}


def test_one_image_and_no_image(tmp_path, capsys):
    (tmp_path / "one").mkdir()
    assert "the folder is empty" in complaint(
        capsys, "check", tmp_path / "one", "--output", tmp_path / "none"
    )
    assert not (tmp_path / "none").exists()
    scene(np.random.default_rng(0)).save(tmp_path / "one" / "a.png")
    assert found(tmp_path / "one", tmp_path / "out") == {}
    assert found(tmp_path / "one" / "a.png", tmp_path / "file") == {}


def test_a_folder_in_which_nothing_can_be_read_is_a_table_and_no_error(tmp_path):
    for name in ("a.png", "b.jpg"):
        (tmp_path / name).write_text("no image")
    rows = found(tmp_path, tmp_path / "out")
    assert set(rows) == {("a.png", "unreadable"), ("b.jpg", "unreadable")}


def test_of_sixty_equal_images_all_but_the_first_are_copies(tmp_path):
    picture = scene(np.random.default_rng(0))
    for number in range(60):
        picture.save(tmp_path / f"{number:02d}.png")
    rows = found(tmp_path, tmp_path / "out")
    assert rows == {(f"{number:02d}.png", "exact_copy"): "00.png" for number in range(1, 60)}


def test_black_images_are_flat_and_not_darker_than_each_other(tmp_path):
    for number in range(12):
        Image.new("L", (28, 28), 0).save(tmp_path / f"{number:02d}.png")
    issues = [issue for _, issue in found(tmp_path, tmp_path / "out")]
    assert (issues.count("flat"), issues.count("exact_copy"), len(issues)) == (12, 11, 23)


def test_in_a_grey_folder_nothing_is_grey(tmp_path):
    random = np.random.default_rng(0)
    for number in range(20):
        picture = scene(random)
        (picture if number < 3 else picture.convert("L")).save(tmp_path / f"{number}.png")
    assert found(tmp_path, tmp_path / "out") == {}


def test_copies_have_the_same_pixels_channels_and_opacity(tmp_path):
    picture = scene(np.random.default_rng(0)).quantize(16)
    picture.save(tmp_path / "a.png")
    picture.convert("RGB").save(tmp_path / "same.bmp")
    half = picture.convert("RGBA")
    half.putpixel((0, 0), (255, 255, 255, 0))
    half.save(tmp_path / "half.png")
    deep = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    Image.fromarray(deep * 16).save(tmp_path / "deep.png")
    Image.fromarray(deep * 16 + 1).save(tmp_path / "deeper.png")  # alike in 8 bits
    rows = found(tmp_path, tmp_path / "out")
    assert [row for row in rows if row[1] == "exact_copy"] == [("same.bmp", "exact_copy")]


def test_strange_names_are_read_back_unchanged(strange, tmp_path):
    picture = Image.open(strange / "035.png")
    for number in range(len(STRANGE)):
        picture.save(strange / f"{number:03d}.png")
    assert run("check", strange, "--output", tmp_path / "out") == 0
    rows = surrogate_table(tmp_path / "out" / "check.csv")
    copies = [row["file"] for row in rows if row["issue"] == "exact_copy"]
    assert copies == [*STRANGE[1:], "035.png"]
    assert {row["value"] for row in rows if row["issue"] == "exact_copy"} == {STRANGE[0]}


def test_a_stopped_check_goes_on_and_changes_no_image(clean, tmp_path, monkeypatch):
    before = {path: path.read_bytes() for path in clean.iterdir()}
    monkeypatch.setattr(check, "_BLOCK", 16)
    measured, usual = [], check._block

    def stopping(stream, positions, progress):
        if len(measured) == 2:
            raise KeyboardInterrupt
        measured.append(positions)
        return usual(stream, positions, progress)

    with monkeypatch.context() as patched:
        patched.setattr(check, "_block", stopping)
        assert run("check", clean, "--output", tmp_path / "out") == 130
    assert not (tmp_path / "out" / "check.csv").exists()
    measured.clear()
    monkeypatch.setattr(check, "_block", stopping)
    assert run("check", clean, "--output", tmp_path / "out") == 0
    assert measured == [range(32, 48), range(48, 60)]
    assert {path: path.read_bytes() for path in clean.iterdir()} == before


def test_data_that_are_no_files_are_checked_too(tmp_path):
    pictures = np.random.default_rng(0).integers(0, 256, (20, 16, 16, 1), np.uint8)
    pictures[7], pictures[9] = pictures[3], 255
    np.savez(tmp_path / "data.npz", images=pictures)
    rows = found(tmp_path / "data.npz", tmp_path / "out")
    assert rows["00007.png", "exact_copy"] == "00003.png"
    assert set(rows) == {
        ("00007.png", "exact_copy"), ("00009.png", "light"), ("00009.png", "flat")
    }  # fmt: skip


def test_a_model_is_no_argument(tmp_path, capsys):
    with pytest.raises(SystemExit):
        run("check", "logs/ae/RUN", tmp_path, "--output", tmp_path / "out")
    assert "unrecognized arguments" in capsys.readouterr().err


def test_no_tensorflow_is_loaded(clean, tmp_path):
    code = (
        "import sys; from kerasunsup.apply import __main__ as apply; apply.main(sys.argv[1:]); "
        "print(*sorted({'tensorflow', 'keras', 'sklearn'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code, "check", str(clean), "--output", str(tmp_path / "out")]
    done = subprocess.run(command, env=dict(os.environ), capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == ""


def test_where_all_are_transparent_that_is_the_rule_of_the_folder(tmp_path):
    """Icons and sprites all have a transparent ground; where a few have it, they are named."""
    random = np.random.default_rng(0)
    for number in range(16):
        picture = scene(random)
        if number < 13:
            picture.putalpha(Image.fromarray(np.tri(*picture.size, dtype=np.uint8).T * 255))
        picture.save(tmp_path / f"{number:02d}.png")
    assert found(tmp_path, tmp_path / "out") == {}
    (tmp_path / "00.png").unlink()
    for number in range(1, 11):
        (tmp_path / f"{number:02d}.png").unlink()
    assert {name for name, _ in found(tmp_path, tmp_path / "few")} == {"11.png", "12.png"}
