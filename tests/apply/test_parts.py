"""Large collections in parts: shards, Ray, and the verbs that read what was encoded."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from apply_command import complaint, files, pictures, run, table, write
from PIL import Image

from kerasunsup.apply import parts
from kerasunsup.training import files as training_files

ENCODED = ("codes.npz", "codes.csv", "unreadable.csv")


@pytest.fixture
def small_parts(monkeypatch):
    """Parts of 16 images, so that 41 make three."""
    monkeypatch.setattr(parts, "SIZE", 16)


@pytest.fixture
def images(folder):
    """41 images, one of which cannot be read."""
    (folder / "b" / "broken.png").write_bytes(b"\x89PNG and nothing more")
    return folder


def start(*arguments, **environment):
    """A command in a process of its own."""
    command = [sys.executable, "-m", "kerasunsup.apply", *map(str, arguments)]
    return subprocess.Popen(command, env=os.environ | environment)


def until(condition, process):
    """Waits for a condition while a process is at work; False if it ended before."""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        if condition():
            return True
        if process.poll() is not None:
            return False
        time.sleep(0.005)
    raise AssertionError("two minutes have passed")


@pytest.mark.parametrize("shards", [1, 2, 5])
def test_shards_and_a_single_process_give_the_same_codes(
    model, images, tmp_path, capsys, small_parts, shards
):
    arguments = ["encode", model, images, "--batch-size", 8, "--output"]
    assert run(*arguments, tmp_path / "at-once") == 0
    output = tmp_path / "out"
    for shard in range(shards, 0, -1):
        assert run(*arguments, output, "--shard", f"{shard}/{shards}") == 0
    assert "3 of 3 parts stand" in capsys.readouterr().out
    times = {path: path.stat().st_mtime_ns for path in (output / "parts").glob("*.npz")}
    assert len(times) == 3
    assert run(*arguments, output) == 0
    assert {path: path.stat().st_mtime_ns for path in times} == times
    for name in ENCODED:
        assert (output / name).read_bytes() == (tmp_path / "at-once" / name).read_bytes()
    part = training_files.read_arrays(output / "parts" / "00001.npz")
    stored = training_files.read_arrays(output / "codes.npz")
    assert list(part["files"]) == list(stored["files"][16:31])  # the broken one is the 30th
    np.testing.assert_array_equal(part["codes"], stored["codes"][16:31])
    assert part["errors"].shape == (15,)
    capsys.readouterr()
    assert run(*arguments, output) == 0
    assert "done already" in capsys.readouterr().out


def test_shards_and_a_single_process_restore_the_same_images(model, images, tmp_path, small_parts):
    arguments = ["restore", model, images, "--batch-size", 8, "--output"]
    assert run(*arguments, tmp_path / "at-once") == 0
    output = tmp_path / "out"
    assert run(*arguments, output, "--shard", "2/2") == 0
    # The parts that are missing are made where all are put together.
    assert run(*arguments, output) == 0
    expected = files(tmp_path / "at-once") - {"apply.json"}
    own = {"apply.json", "parts/.locks", "parts/white.json"}
    assert files(output) - own == expected | {f"parts/0000{index}.npz" for index in range(3)}
    for name in expected:
        assert (output / name).read_bytes() == (tmp_path / "at-once" / name).read_bytes(), name


def test_other_verbs_take_the_codes_of_parts(model, images, tmp_path, capsys, small_parts):
    encoded = tmp_path / "encoded"
    arguments = [model, images, "--batch-size", 8]
    assert run("encode", *arguments, "--output", encoded, "--shard", "1/2") == 0
    codes = ["--codes", encoded]
    line = complaint(capsys, "cluster", *arguments, *codes, "--output", tmp_path / "c")
    assert "1 of 3 parts are missing" in line
    assert run("encode", *arguments, "--output", encoded, "--shard", "2/2") == 0
    for verb, more in (
        ("outliers", []), ("similar", []), ("cluster", []), ("select", []),
        ("similar", ["--query", images / "a" / "3.png"]),
    ):  # fmt: skip
        expected, output = tmp_path / f"{verb}{len(more)}", tmp_path / f"{verb}{len(more)}-parts"
        assert run(verb, *arguments, *more, "--output", expected) == 0
        assert run(verb, *arguments, *more, *codes, "--output", output) == 0
        assert files(output) == files(expected)
        for name in files(output) - {"apply.json"}:
            assert (output / name).read_bytes() == (expected / name).read_bytes(), name
    line = complaint(capsys, "cluster", *arguments, "--grey", *codes, "--output", tmp_path / "grey")
    assert "made by another model or with other settings" in line
    line = complaint(
        capsys, "cluster", *arguments, "--codes", images, "--output", tmp_path / "none"
    )
    assert "holds no parts" in line


def test_a_collection_that_grew_costs_what_is_new(model, images, tmp_path, capsys, small_parts):
    output = tmp_path / "out"
    arguments = ["encode", model, images, "--batch-size", 8, "--output"]
    assert run(*arguments, output, "--shard", "1/1") == 0
    assert run(*arguments, output) == 0
    before = {path: path.stat().st_mtime_ns for path in (output / "parts").glob("*.npz")}
    write(images / "z", [f"{number}.png" for number in range(20)], seed=9)
    capsys.readouterr()
    assert run(*arguments, output) == 0
    assert "their images had changed: 1" in capsys.readouterr().out
    changed = [path.name for path, at in before.items() if path.stat().st_mtime_ns != at]
    assert changed == ["00002.npz"]
    assert run(*arguments, tmp_path / "at-once") == 0
    for name in ENCODED:
        assert (output / name).read_bytes() == (tmp_path / "at-once" / name).read_bytes()


def test_an_image_that_changed_is_restored_again(model, images, tmp_path, capsys, small_parts):
    output = tmp_path / "out"
    arguments = ["restore", model, images, "--output", output]
    assert run(*arguments, "--shard", "1/1") == 0
    before = (output / "a" / "0.png").read_bytes()
    write(images, ["a/0.png"], seed=77)
    capsys.readouterr()
    assert run(*arguments, "--shard", "1/1") == 0
    assert "their images had changed: 1" in capsys.readouterr().out
    assert (output / "a" / "0.png").read_bytes() != before


def test_images_of_more_than_8_bits_are_scaled_alike_in_all_parts(
    model, tmp_path, capsys, small_parts
):
    def write_deep(number, most):
        pixels = np.random.default_rng(number).integers(0, most, (16, 16), np.uint16)
        path = tmp_path / "images" / f"{number:02d}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(path)

    for number in range(40):
        write_deep(number, 200 if number < 16 else 4096)  # the first part alone would be 8 bits
    arguments = ["encode", model, tmp_path / "images", "--batch-size", 8, "--output"]
    output = tmp_path / "out"
    for shard in ("1/2", "2/2"):
        assert run(*arguments, output, "--shard", shard) == 0
    assert run(*arguments, tmp_path / "at-once") == 0
    assert run(*arguments, output) == 0
    before = (output / "codes.npz").read_bytes()
    assert before == (tmp_path / "at-once" / "codes.npz").read_bytes()
    write_deep(40, 65536)  # and so all are of 16 bits
    capsys.readouterr()
    assert run(*arguments, output) == 0
    assert "their images had changed: 3" in capsys.readouterr().out
    assert run(*arguments, tmp_path / "again") == 0
    assert (output / "codes.npz").read_bytes() == (tmp_path / "again" / "codes.npz").read_bytes()


def test_parts_of_another_command_are_refused_and_kept(
    model, images, tmp_path, capsys, small_parts
):
    output = tmp_path / "out"
    arguments = ["encode", model, images, "--output", output]
    assert run(*arguments, "--shard", "1/1") == 0
    before = {name: (output / name).read_bytes() for name in files(output)}
    other = tmp_path / "other"
    shutil.copytree(model, other)
    shutil.rmtree(other / "export")
    with (other / "model.keras").open("ab") as file:  # another file: another model
        file.write(b"\0")
    for more in (["--shard", "1/1"], []):
        assert "their --grey is False, now it is True" in complaint(
            capsys, *arguments, "--grey", *more
        )
        line = complaint(capsys, "encode", other, images, "--output", output, *more)
        assert "made with another model" in line
        line = complaint(capsys, "restore", model, images, "--output", output, *more)
        assert "their verb is encode, now it is restore" in line
    assert {name: (output / name).read_bytes() for name in files(output)} == before
    # A part that came from elsewhere.
    part = training_files.read_arrays(output / "parts" / "00000.npz")
    training_files.write_arrays(
        output / "parts" / "00000.npz", {**part, "made_by": np.str_("something else")}
    )
    assert "00000.npz was made by another model" in complaint(capsys, *arguments)


def test_a_folder_without_parts_is_not_made_one_of_parts(model, images, tmp_path, capsys):
    arguments = ["encode", model, images, "--output"]
    assert run(*arguments, tmp_path / "done") == 0
    line = complaint(capsys, *arguments, tmp_path / "done", "--shard", "1/1")
    assert "not made in parts" in line
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    line = complaint(capsys, *arguments, tmp_path / "mine", "--shard", "1/1")
    assert "no results of apply" in line
    assert files(tmp_path / "mine") == {"thesis.txt"}


def test_nothing_came_of_it_so_the_same_folder_will_do(model, tmp_path, capsys):
    write(tmp_path / "images", ["x.png"], (16, 20, 1))
    arguments = ["encode", model, tmp_path / "images", "--output", tmp_path / "out"]
    assert "add --resize" in complaint(capsys, *arguments, "--shard", "1/1")
    assert run(*arguments, "--resize", "--shard", "1/1") == 0


@pytest.mark.parametrize("shard", ["0/4", "5/4", "3", "a/b", "1/0", "-1/4", "1/4/4", "", "1.5/4"])
def test_a_wrong_shard_is_one_line(tmp_path, capsys, shard):
    arguments = ["encode", tmp_path, tmp_path, "--output", tmp_path / "out", f"--shard={shard}"]
    assert "I/N with I from 1 to N" in complaint(capsys, *arguments)
    assert not (tmp_path / "out").exists()


def test_a_damaged_part_is_made_again(model, images, tmp_path, small_parts):
    output = tmp_path / "out"
    arguments = ["encode", model, images, "--output", output, "--shard", "1/1"]
    assert run(*arguments) == 0
    part = output / "parts" / "00001.npz"
    whole = part.read_bytes()
    part.write_bytes(whole[:100])
    assert run(*arguments) == 0
    assert part.read_bytes() == whole


def test_a_part_that_another_process_makes_is_left_to_it(
    model, images, tmp_path, capsys, small_parts
):
    output = tmp_path / "out"
    arguments = ["encode", model, images, "--output", output]
    assert run(*arguments, "--shard", "1/3") == 0
    hold = (
        "import sys, fcntl; file = open(sys.argv[1], 'a+b'); fcntl.lockf(file, fcntl.LOCK_EX, 1, 1)"
        "; print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", hold, output / "parts" / ".locks"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout.readline() == b"held\n"
        half = output / "parts" / training_files.part_name("00001.npz")
        half.write_bytes(b"half of it")
        capsys.readouterr()
        assert run(*arguments, "--shard", "1/1") == 0
        said = capsys.readouterr().out
        assert "1 of its 3 parts made, 1 were there, 1 are being made by another process" in said
        assert "in use by another process" in complaint(capsys, *arguments)
        assert half.exists()
        holder.stdin.close()
    assert run(*arguments) == 0
    assert not half.exists()
    assert len(table(output / "codes.csv")) == 40


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """Ten parts of images."""
    path = tmp_path_factory.mktemp("many") / "many.npz"
    np.savez(path, images=pictures(9 * parts.SIZE + 100, seed=3))
    return path


@pytest.mark.slow("kerasunsup/apply/")
def test_a_killed_shard_goes_on_beside_others(model, many, tmp_path):
    output = tmp_path / "out"
    arguments = ["encode", model, many, "--output", output]
    processes = [start(*arguments, "--shard", f"{shard}/2") for shard in (1, 2)]
    assert until(lambda: (output / "parts" / "00000.npz").exists(), processes[0])
    processes[0].send_signal(signal.SIGKILL)
    assert [process.wait(120) for process in processes] == [-signal.SIGKILL, 0]
    there = {path: path.stat().st_mtime_ns for path in (output / "parts").glob("*.npz")}
    assert 6 <= len(there) < 10
    assert run(*arguments, "--shard", "1/2") == 0
    assert {path: path.stat().st_mtime_ns for path in there} == there
    assert run(*arguments) == 0
    assert run(*arguments[:3], "--output", tmp_path / "at-once") == 0
    for name in ("codes.npz", "codes.csv"):
        assert (output / name).read_bytes() == (tmp_path / "at-once" / name).read_bytes()


def test_ray_that_is_not_installed_is_one_line(model, images, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    arguments = ["encode", model, images, "--output", tmp_path / "out", "--ray", "auto"]
    assert "pip install 'kerasunsup[ray]'" in complaint(capsys, *arguments)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--ray", "somewhere"], "--ray must be auto, HOST:PORT or ray://HOST:PORT"),
        (["--ray", "auto", "--shard", "1/2"], "leave --shard out"),
    ],
)
def test_a_wrong_ray_is_one_line(tmp_path, capsys, more, says):
    arguments = ["encode", tmp_path, tmp_path, "--output", tmp_path / "out", *more]
    assert says in complaint(capsys, *arguments)


def workers_of(pid):
    """The processes under one that are at work on a part for Ray."""
    parent_of = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            stat, line = (folder / "stat").read_text(), (folder / "cmdline").read_bytes()
        except OSError:
            continue
        parent_of[int(folder.name)] = int(stat.rpartition(")")[2].split()[1]), line
    found = []
    for process, (parent, line) in parent_of.items():
        above = parent
        while above in parent_of and above != pid:
            above = parent_of[above][0]
        if above == pid and line.startswith(b"ray::_make_part"):
            found.append(process)
    return found


@pytest.mark.slow("kerasunsup/apply/")
def test_ray_gives_the_same_files_although_a_worker_is_killed(model, many, tmp_path):
    pytest.importorskip("ray")
    output = tmp_path / "out"
    process = start("encode", model, many, "--output", output, "--ray", "auto", HOME=str(tmp_path))
    assert until(lambda: any(output.glob("parts/*.npz")), process)
    found = []
    assert until(lambda: found.extend(workers_of(process.pid)) or found, process)
    os.kill(found[0], signal.SIGKILL)
    assert process.wait(300) == 0
    assert run("encode", model, many, "--output", tmp_path / "at-once") == 0
    for name in ("codes.npz", "codes.csv"):
        assert (output / name).read_bytes() == (tmp_path / "at-once" / name).read_bytes()
    assert json.loads((output / "apply.json").read_text())["done"]


@pytest.mark.slow("kerasunsup/apply/")
def test_a_ray_cluster_that_is_not_there_is_one_line(model, images, tmp_path, capsys):
    pytest.importorskip("ray")
    arguments = ["encode", model, images, "--output", tmp_path / "out", "--ray", "127.0.0.1:9"]
    began = time.monotonic()
    assert "nothing answers there" in complaint(capsys, *arguments)
    assert time.monotonic() - began < 20
