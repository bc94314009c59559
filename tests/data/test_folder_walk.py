"""The walk through a folder: links, pipes, odd names."""

import os
import socket

from image_sources import noise, open_stream, write_images

from kerasunsup.data import splits as data_splits


def test_links_are_followed_and_every_file_is_read_once(tmp_path, capsys):
    folder, elsewhere = tmp_path / "set", tmp_path / "elsewhere"
    write_images(folder / "a", noise(10, 8, 8, 1))
    write_images(elsewhere / "b" / "deep", noise(10, 8, 8, 1, seed=1))
    write_images(elsewhere / "c", noise(2, 8, 8, 1, seed=2))
    (folder / "b").symlink_to(elsewhere / "b")
    (folder / "c").mkdir()
    (folder / "c" / "one.png").symlink_to(elsewhere / "c" / "0000.png")
    (folder / "c" / "again.png").symlink_to(folder / "c" / "one.png")
    (folder / "c" / "zero.png").symlink_to(folder / "a" / "0000.png")  # has its name already
    (folder / "loop").symlink_to(folder)
    (elsewhere / "b" / "deep" / "back").symlink_to(elsewhere / "b")
    source = data_splits.read(str(folder))
    expected = [f"a/{index:04d}.png" for index in range(10)]
    expected += [f"b/deep/{index:04d}.png" for index in range(10)]
    assert source.files == [*expected, "c/again.png"]
    assert source.class_names == ("a", "b", "c")
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "left out: 4 linked to what is read already" in error
    assert open_stream(folder).names == source.files


def test_pipes_sockets_and_other_files_are_left_out_in_one_line(tmp_path, capsys):
    write_images(tmp_path, noise(20, 8, 8, 1))
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "null.png").symlink_to("/dev/null")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(os.path.relpath(tmp_path / "s.png"))  # its names may have 107 bytes only
    for name in ("a.txt", "b.TXT", "c.heic", "noending", "Thumbs.db", ".DS_Store"):
        (tmp_path / name).write_bytes(b"")
    assert len(data_splits.read(str(tmp_path)).store) == 20
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    for text in ("2 .txt", "1 .heic", "1 without an ending", "1 named pipe (pipe.png)",
                 "1 socket (s.png)", "1 device (null.png)"):  # fmt: skip
        assert text in error
    assert "humbs" not in error
    assert len(open_stream(tmp_path)) == 20
    assert capsys.readouterr().err == error


def test_folders_of_results_are_left_out_but_may_be_given(tmp_path, capsys):
    write_images(tmp_path / "a", noise(10, 8, 8, 1))
    write_images(tmp_path / "b", noise(10, 8, 8, 1, seed=1))
    for folder, files in {
        "a/faults": ["apply.json"],
        "logs/ae/first": ["config.json", "environment.json"],
        "tuning/ae": ["best.json", "record.json"],
    }.items():
        write_images(tmp_path / folder / "figures", noise(2, 8, 8, 1, seed=2))
        for file in files:
            (tmp_path / folder / file).write_text("{}")
    write_images(tmp_path / "b" / "more", noise(2, 8, 8, 1, seed=3))
    (tmp_path / "b" / "more" / "config.json").write_text("{}")  # of somebody else
    source = data_splits.read(str(tmp_path))
    assert source.class_names == ("a", "b")
    assert len(source.store) == 22
    assert "left out: 3 folder of results (a/faults)" in capsys.readouterr().err
    assert len(open_stream(tmp_path / "a" / "faults")) == 2


def test_a_link_that_leads_nowhere_is_an_unreadable_image(tmp_path, capsys):
    write_images(tmp_path, noise(20, 8, 8, 1))
    (tmp_path / "gone.png").symlink_to(tmp_path / "nothing.png")
    assert len(data_splits.read(str(tmp_path)).store) == 20
    assert "gone.png (No such file or directory)" in capsys.readouterr().err


ODD_NAMES = [b"caf\xe9.png", b"a\rb.png", b"a\nb.png", b"quo\"te'.png", b"\xff\xfe.png"]


def test_any_file_name_is_read_sorted_and_shown_in_one_line(tmp_path, capsys):
    write_images(tmp_path / "caf\udce9", noise(60, 8, 8, 1))
    for raw in ODD_NAMES:
        with open(os.path.join(os.fsencode(tmp_path), b"caf\xe9", raw), "wb") as file:
            file.write(b"damaged")
    source = data_splits.read(str(tmp_path / "caf\udce9"))
    assert len(source.store) == 60
    assert source.name.encode() == b"caf\\xe9"  # fit for titles
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    for shown in (
        "caf\\xe9.png (",
        "a\\rb.png (",
        "a\\nb.png (",
        "quo\"te'.png (",
        "\\xff\\xfe.png (",
    ):
        assert shown in error
    assert error.encode()
    stream = open_stream(tmp_path / "caf\udce9")
    assert set(map(os.fsencode, stream.names)) > set(ODD_NAMES)
    assert sum(isinstance(picture, str) for picture in stream.read(range(65))) == 5
