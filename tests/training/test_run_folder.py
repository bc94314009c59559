"""The folder of a run: written whole or not at all, never overwritten, one process at a time."""

import datetime
import errno
import fcntl
import json
import os
import shutil
import stat
import subprocess
import sys

import numpy as np
import pytest

from kerasunsup import cli
from kerasunsup.ae.settings import AutoencoderSettings
from kerasunsup.data import decoding
from kerasunsup.errors import InputError
from kerasunsup.settings import Command, read_config
from kerasunsup.training import files as training_files
from kerasunsup.training import run_folder


def command(logs, name="first", *, resume=False, **settings) -> Command:
    return Command("ae", AutoencoderSettings(**settings), logs, name, resume, ("--name", str(name)))


def refuse(code):
    """A function that fails like a system call."""

    def fail(*_, **__):
        raise OSError(code, os.strerror(code))

    return fail


def files(folder) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def run(tmp_path):
    with run_folder.opened(command(tmp_path)) as opened:
        yield opened


# ------------------------------------------------------------------------------------ atomic writes


@pytest.mark.parametrize("step", ["fsync", "chmod", "replace"])
@pytest.mark.parametrize("is_new", [True, False])
def test_a_failing_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, step, is_new):
    path = tmp_path / "some" / "file.json"
    if not is_new:
        training_files.write_bytes(path, b"old")
    monkeypatch.setattr(os, step, refuse(errno.ENOSPC))
    with pytest.raises(OSError, match="No space left"):
        training_files.write_bytes(path, b"new")
    assert files(tmp_path) == ([] if is_new else ["some/file.json"])
    if not is_new:
        assert path.read_bytes() == b"old"


def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    training_files.write_bytes(tmp_path / "file", b"old")
    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        training_files.write_bytes(tmp_path / "file", b"new")
    assert files(tmp_path) == ["file"]
    assert (tmp_path / "file").read_bytes() == b"old"


def test_a_temporary_name_of_the_longest_name_has_room():
    names = [training_files.part_name("\N{HIRAGANA LETTER A}" * 85) for _ in range(2)]
    assert names[0] != names[1]
    assert max(len(name.encode()) for name in names) < 255 - len(".keras")


def test_files_can_be_read_by_others(tmp_path):
    training_files.write_bytes(tmp_path / "file", memoryview(b"content"))
    assert (tmp_path / "file").read_bytes() == b"content"
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o644


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (float("nan"), None),
        (float("inf"), None),
        (np.float32("-inf"), None),
        (np.float32(0.5), 0.5),
        (np.int64(3), 3),
        (np.bool_(True), True),
        ((1, np.float64("nan")), [1, None]),
        ({"a": [np.int32(2)]}, {"a": [2]}),
        ("text", "text"),
        (None, None),
    ],
)
def test_json_takes_numpy_values_and_turns_what_is_no_number_into_null(tmp_path, value, expected):
    path = tmp_path / "a.json"
    training_files.write_json(path, {"value": value})
    refused = []  # NaN and Infinity, which JSON does not have
    assert json.loads(path.read_text(), parse_constant=refused.append) == {"value": expected}
    assert refused == []
    assert training_files.read_json(path) == {"value": expected}


def test_arrays_come_back_as_they_were(tmp_path):
    path = tmp_path / "state.npz"
    arrays = {
        "model/0": np.arange(6, dtype=np.float32).reshape(2, 3),
        "counter": np.array(7, np.int64),
        "none": np.zeros((0, 4), np.uint8),
    }
    training_files.write_arrays(path, arrays)
    found = training_files.read_arrays(path)
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flipped(content: bytes) -> bytes:
    middle = content.index(b"NUMPY") + 200
    return content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :]


@pytest.mark.parametrize("damage", [cut, flipped, lambda _: b"", lambda _: b"no archive"])
def test_damaged_arrays_are_an_input_error_that_names_the_file(tmp_path, damage):
    path = tmp_path / "state.npz"
    training_files.write_arrays(path, {"a": np.arange(100.0)})
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InputError, match=r"state\.npz cannot be read"):
        training_files.read_arrays(path)


def test_arrays_with_python_objects_are_refused(tmp_path):
    np.savez(tmp_path / "state.npz", a=np.array([{}], dtype=object))
    with pytest.raises(InputError, match="cannot be read"):
        training_files.read_arrays(tmp_path / "state.npz")


def test_missing_arrays_are_an_input_error(tmp_path):
    with pytest.raises(InputError, match="missing"):
        training_files.read_arrays(tmp_path / "state.npz")


# ------------------------------------------------------------------------------ new and taken names


def test_a_new_run_holds_its_settings_and_its_environment(tmp_path):
    with run_folder.opened(command(tmp_path, latent_dim=7)) as run:
        assert (run.folder, run.name, run.experiment) == (tmp_path / "ae/first", "first", "ae")
        assert run.checkpoint == tmp_path / "ae/first/checkpoints/state.npz"
        assert run.read_metrics() == {}
    settings = read_config(AutoencoderSettings, tmp_path / "ae/first/config.json")
    assert AutoencoderSettings(**settings) == AutoencoderSettings(latent_dim=7)
    assert files(tmp_path / "ae/first") == ["checkpoints/.lock", "config.json", "environment.json"]


def test_a_run_that_exists_is_never_overwritten(tmp_path):
    with run_folder.opened(command(tmp_path, latent_dim=7)):
        pass
    before = (tmp_path / "ae/first/config.json").read_bytes()
    with (
        pytest.raises(InputError, match="exists already and is never overwritten"),
        run_folder.opened(command(tmp_path)),
    ):
        pass
    assert (tmp_path / "ae/first/config.json").read_bytes() == before


def test_unnamed_runs_of_the_same_second_do_not_meet(tmp_path, monkeypatch):
    class Clock(datetime.datetime):
        @classmethod
        def now(cls, tz=None):
            return cls(2024, 5, 6, 7, 8, 9, tzinfo=tz)

    monkeypatch.setattr(run_folder.datetime, "datetime", Clock)
    names = []
    for _ in range(3):
        with run_folder.opened(command(tmp_path, None)) as run:
            names.append(run.name)
    assert names == ["20240506-070809", "20240506-070809-2", "20240506-070809-3"]


def test_a_run_that_could_not_be_started_leaves_its_name_free(tmp_path, monkeypatch):
    with monkeypatch.context() as full:
        full.setattr(os, "fsync", refuse(errno.ENOSPC))
        with pytest.raises(OSError, match="No space left"), run_folder.opened(command(tmp_path)):
            pass
    assert list((tmp_path / "ae").iterdir()) == []
    with run_folder.opened(command(tmp_path)) as run:
        assert run.name == "first"


@pytest.mark.parametrize("place", ["logs", "logs/ae"])
def test_logs_that_are_a_file_are_refused_with_status_2(tmp_path, capsys, place):
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (tmp_path / place).write_text("")
    with cli.exit_status("ae") as status, run_folder.opened(command(tmp_path / "logs")):
        pass
    assert status.code == 2
    assert "logs" in capsys.readouterr().err


# ------------------------------------------------------------------------ lock, going on, leftovers


def test_a_run_at_work_cannot_be_opened_a_second_time(tmp_path):
    with run_folder.opened(command(tmp_path)):
        with (
            pytest.raises(InputError, match="in use by another process"),
            run_folder.opened(command(tmp_path, resume=True)),
        ):
            pass
        program = (
            "import fcntl, sys\n"
            "with open(sys.argv[1]) as lock:\n"
            "    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)\n"
        )
        lock = tmp_path / "ae/first/checkpoints/.lock"
        other = [sys.executable, "-c", program, str(lock)]
        refused = subprocess.run(other, capture_output=True, text=True, check=False)
        assert "BlockingIOError" in refused.stderr
    subprocess.run(other, capture_output=True, check=True)
    with run_folder.opened(command(tmp_path, resume=True)) as run:
        assert run.name == "first"


def test_a_file_system_without_locks_is_no_obstacle(tmp_path, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", refuse(errno.ENOLCK))
    with run_folder.opened(command(tmp_path)) as run:
        assert (run.folder / "config.json").exists()


def test_going_on_writes_the_settings_anew_and_keeps_the_rest(tmp_path):
    with run_folder.opened(command(tmp_path, epochs=3)) as run:
        run.write_metrics({"test/mse": 0.5})
    before = (tmp_path / "ae/first/environment.json").read_bytes()
    with run_folder.opened(command(tmp_path, resume=True, epochs=9)) as run:
        assert run.read_metrics() == {"test/mse": 0.5}
    assert training_files.read_json(tmp_path / "ae/first/config.json")["epochs"] == 9
    assert (tmp_path / "ae/first/environment.json").read_bytes() == before


def test_going_on_with_other_images_is_refused_before_anything_is_written(tmp_path):
    with run_folder.opened(command(tmp_path, epochs=3), "0123"):
        pass
    before = (tmp_path / "ae/first/config.json").read_bytes()
    other = command(tmp_path, resume=True, epochs=9)
    for _ in range(2):  # a refusal lets go of the folder
        with (
            pytest.raises(InputError, match=r"other images .*4567, recorded 0123"),
            run_folder.opened(other, "4567"),
        ):
            pass
    assert (tmp_path / "ae/first/config.json").read_bytes() == before
    with run_folder.opened(other, "0123") as run:
        assert training_files.read_json(run.folder / "config.json")["epochs"] == 9


def test_a_run_of_a_version_that_recorded_no_images_goes_on(tmp_path):
    with run_folder.opened(command(tmp_path)) as run:
        pass
    for name in ("data", "data_path", "usable_processors"):
        recorded = training_files.read_json(run.folder / "environment.json")
        del recorded[name]
        training_files.write_json(run.folder / "environment.json", recorded)
        with run_folder.opened(command(tmp_path, resume=True), "4567"):
            pass
    (run.folder / "environment.json").unlink()
    with run_folder.opened(command(tmp_path, resume=True), "4567"):
        pass


@pytest.mark.parametrize("content", ["[1]", '{"data": '])
def test_a_damaged_environment_is_named_when_a_run_goes_on(tmp_path, content):
    with run_folder.opened(command(tmp_path)) as run:
        pass
    (run.folder / "environment.json").write_text(content)
    with (
        pytest.raises(InputError, match=r"environment\.json is damaged .* remove it"),
        run_folder.opened(command(tmp_path, resume=True), "4567"),
    ):
        pass


def test_a_run_says_when_it_goes_on_with_another_number_of_processors(
    tmp_path, monkeypatch, capsys
):
    with run_folder.opened(command(tmp_path)):
        pass
    with run_folder.opened(command(tmp_path, resume=True)):
        pass
    assert capsys.readouterr().out == ""
    monkeypatch.setattr(decoding, "num_processors", lambda: 977)
    with run_folder.opened(command(tmp_path, resume=True)):
        pass
    text = capsys.readouterr().out
    assert text.count("\n") == 1
    assert f"processors: {len(os.sched_getaffinity(0))} x " in text
    assert " 977 x " in text
    assert "not bit-identical" in text


def test_places_are_recorded_absolute_beside_what_was_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images").mkdir()
    with run_folder.opened(command(tmp_path, data="images")) as run:
        recorded = training_files.read_json(run.folder / "environment.json")
        assert recorded["data_path"] == str(tmp_path / "images")
        assert training_files.read_json(run.folder / "config.json")["data"] == "images"
    found = command(tmp_path, resume=True, data=recorded["data_path"])
    with run_folder.opened(found):
        assert training_files.read_json(run.folder / "config.json")["data"] == "images"
    for name in ("mnist", "cifar10"):
        with run_folder.opened(command(tmp_path, name, data=name)) as run:
            assert training_files.read_json(run.folder / "environment.json")["data_path"] is None


def test_what_a_process_of_the_same_number_has_left_is_in_nobodys_way(tmp_path, monkeypatch):
    for _ in range(2):
        with monkeypatch.context() as patch:  # killed: nothing is tidied up
            patch.setattr(run_folder, "_named", refuse(errno.EIO))
            patch.setattr(run_folder.shutil, "rmtree", lambda *_, **__: None)
            with pytest.raises(OSError, match="Input/output"), run_folder.opened(command(tmp_path)):
                pass
    assert len(list((tmp_path / "ae").iterdir())) == 2
    with run_folder.opened(command(tmp_path)) as run:
        assert run.name == "first"


def test_a_run_that_is_removed_while_it_is_in_use_ends_in_one_line_and_leaves_nothing(tmp_path):
    def work() -> None:
        with run_folder.opened(command(tmp_path)) as run:
            shutil.rmtree(run.folder)
            run.write_metrics({"test/mse": 0.5})

    with pytest.raises(InputError, match=r"ae/first was removed or replaced"):
        work()
    assert list((tmp_path / "ae").iterdir()) == []


def test_a_run_that_takes_the_place_of_a_removed_one_is_left_alone(tmp_path):
    def work() -> None:
        with run_folder.opened(command(tmp_path)) as run:
            shutil.rmtree(run.folder)
            with run_folder.opened(command(tmp_path)):
                pass
            run.check_folder()

    with pytest.raises(InputError, match="was removed or replaced"):
        work()
    left = files(tmp_path / "ae" / "first")
    assert left == ["checkpoints/.lock", "config.json", "environment.json"]


def test_going_on_removes_what_killed_writes_left(tmp_path):
    with run_folder.opened(command(tmp_path)) as run:
        run.write_figure("errors", b"png")
    before = files(run.folder)
    for leftover in (".config.json.abc.part", "checkpoints/.state.npz.x_1.part", ".77.part.keras"):
        (run.folder / leftover).write_bytes(b"half")
    for exported in (".export.77.part", ".export.77.old.part"):
        (run.folder / exported / "variables").mkdir(parents=True)
        (run.folder / exported / "variables" / ".a.part").write_bytes(b"half")
    with run_folder.opened(command(tmp_path, resume=True)):
        pass
    assert files(run.folder) == before
    assert not list(run.folder.glob(".export*"))


def test_a_run_is_closed_whatever_happens_in_it(tmp_path):
    with pytest.raises(RuntimeError), run_folder.opened(command(tmp_path)):
        raise RuntimeError
    with run_folder.opened(command(tmp_path, resume=True)) as run:
        run.close()
        run.close()  # a second time does nothing


# ------------------------------------------------------------------------ history, metrics, figures


def test_history_has_a_row_an_epoch(run):
    run.write_history({"epoch": [1, 2], "loss": [0.5, 0.25], "val_loss": [0.75, float("nan")]})
    lines = (run.folder / "history.csv").read_text().splitlines()
    assert lines == ["epoch,loss,val_loss", "1,0.5,0.75", "2,0.25,nan"]


def test_history_with_unequal_columns_is_refused(run):
    with pytest.raises(ValueError, match="shorter"):
        run.write_history({"epoch": [1, 2], "loss": [0.5]})
    assert not (run.folder / "history.csv").exists()


def test_figures_stand_in_a_folder_of_their_own(run):
    path = run.write_figure("codes", b"png")
    assert path == run.folder / "figures" / "codes.png"
    assert path.read_bytes() == b"png"


@pytest.mark.parametrize("content", ["", '{"test/mse": 0.', "[1]", "\x00"])
def test_damaged_metrics_are_an_input_error_that_names_the_file(run, content):
    (run.folder / "metrics.json").write_text(content)
    with pytest.raises(InputError, match=r"metrics\.json is damaged"):
        run.read_metrics()


# -------------------------------------------------------------------------------------- environment


def test_environment_says_how_to_repeat_the_run_and_no_secret(tmp_path, monkeypatch):
    monkeypatch.setenv("SOME_TOKEN", "hunter2-secret")
    found = run_folder.environment(command(tmp_path, seed=5))
    assert found["command"] == ["kerasunsup", "ae", "--name", "first"]
    assert found["seed"] == 5
    assert found["python"] == sys.version.split()[0]
    assert {"kerasunsup", "tensorflow", "keras", "numpy"} <= set(found["versions"])
    assert found["versions"]["numpy"] == np.__version__
    assert found["processors"] == os.cpu_count()
    assert datetime.datetime.fromisoformat(found["started"]).tzinfo is not None
    assert "hunter2-secret" not in json.dumps(found)
    assert set(found) == {
        "started", "command", "seed", "python", "platform", "processor", "processors",
        "usable_processors", "versions", "git_commit",
    }  # fmt: skip


needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="there is no git")


def git(folder, *arguments: str) -> str:
    variables = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    result = subprocess.run(
        ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(folder), *arguments],  # noqa: S607
        capture_output=True,
        text=True,
        check=True,
        env=variables,
    )
    return result.stdout.strip()


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A repository with this module at `lib/kerasunsup/runs.py`, not yet added."""
    module = tmp_path / "repository" / "lib" / "kerasunsup" / "runs.py"
    module.parent.mkdir(parents=True)
    module.write_text("")
    git(tmp_path, "init", "-q", "repository")
    (tmp_path / "repository" / "other").write_text("")
    git(tmp_path / "repository", "add", "other")
    git(tmp_path / "repository", "commit", "-q", "-m", "first")
    monkeypatch.setattr(run_folder, "__file__", str(module))
    return tmp_path / "repository"


@needs_git
def test_commit_of_some_other_checkout_around_the_package_is_not_ours(checkout):
    assert run_folder._git_commit() is None


@needs_git
def test_commit_is_named_where_the_package_is_tracked(checkout, monkeypatch):
    git(checkout, "add", "lib")
    git(checkout, "commit", "-q", "-m", "second")
    commit = git(checkout, "rev-parse", "HEAD")
    assert run_folder._git_commit() == commit
    # Inside a hook git names another repository in the environment.
    monkeypatch.setenv("GIT_DIR", str(checkout.parent))
    assert run_folder._git_commit() == commit
    monkeypatch.delenv("GIT_DIR")
    (checkout / "other").write_text("changed")
    assert run_folder._git_commit() == commit + "-dirty"


def test_there_is_no_commit_without_git(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert run_folder._git_commit() is None


def test_processor_has_a_name_where_the_system_does_not_tell(monkeypatch):
    monkeypatch.setattr(run_folder, "Path", lambda _: type("Gone", (), {"read_text": refuse(2)})())
    monkeypatch.setattr(run_folder.platform, "processor", lambda: "")
    monkeypatch.setattr(run_folder.platform, "machine", lambda: "some machine")
    assert run_folder.processor() == "some machine"
