"""Streams that end no command, and TensorFlow's start: chatter removed, the rest kept."""

import json
import os
import platform
import shutil
import subprocess
import sys

import pytest

from kerasunsup import tensorflow_startup

# As TensorFlow 2.21 and its predecessors write them.
NOISE = [
    "2024-05-06 07:08:09.123456: I tensorflow/core/util/port.cc:153] oneDNN custom operations are"
    " on. You may see slightly different numerical results due to floating-point round-off errors"
    " from different computation orders. To turn them off, set the environment variable"
    " `TF_ENABLE_ONEDNN_OPTS=0`.",
    "WARNING: All log messages before absl::InitializeLog() is called are written to STDERR",
    "I0000 00:00:1715000000.123456    4242 cpu_feature_guard.cc:227] This TensorFlow binary is"
    " optimized to use available CPU instructions in performance-critical operations.",
    "To enable the following instructions: AVX2 AVX512F AVX512_VNNI FMA, in other operations,"
    " rebuild TensorFlow with the appropriate compiler flags.",
    "E0000 00:00:1715000000.123456    4242 cuda_dnn.cc:8579] Unable to register cuDNN factory:"
    " Attempting to register factory for plugin cuDNN when one has already been registered",
    "E0000 00:00:1715000000.123456    4242 cuda_blas.cc:1407] Unable to register cuBLAS factory:"
    " Attempting to register factory for plugin cuBLAS when one has already been registered",
    "W0000 00:00:1715000000.123456    4242 computation_placer.cc:177] computation placer already"
    " registered. Please check linkage and avoid linking the same target more than once.",
    "I0000 00:00:1715000000.123456    4242 cudart_stub.cc:31] Could not find cuda drivers on your"
    " machine, GPU will not be used.",
    "E0000 00:00:1715000000.123456    4242 cuda_platform.cc:51] failed call to cuInit: INTERNAL:"
    " CUDA error: Failed call to cuInit: UNKNOWN ERROR (303)",
    "W tensorflow/compiler/tf2tensorrt/utils/py_utils.cc:38] TF-TRT Warning: Could not find"
    " TensorRT",
]
REAL = [
    "Could not load dynamic library 'libcudnn.so.9'; dlerror: cannot open shared object file",
    "Out of memory: Killed process",
    "E0000 00:00:1715000000.123456    4242 cuda_executor.cc:1228] INTERNAL: CUDA Runtime error",
    "Fatal Python error: Segmentation fault",
    "UserWarning: a setting is deprecated",
]


@pytest.fixture
def fake_tensorflow(tmp_path, monkeypatch):
    """Modules named keras and tensorflow that write on file descriptor 2, as C++ does."""

    def write(lines, end="") -> None:
        text = "".join(f"{line}\n" for line in lines)
        (tmp_path / "keras.py").write_text("")
        (tmp_path / "tensorflow.py").write_text(
            "import os, types, warnings\n"
            f"os.write(2, {text.encode()!r})\n"
            "warnings.warn('of the library itself', DeprecationWarning)\n"
            "config = types.SimpleNamespace(list_physical_devices=lambda: [])\n"
            "get_logger = lambda: types.SimpleNamespace(setLevel=lambda level: None)\n" + end
        )
        for name in [name for name in sys.modules if name.split(".")[0] in ("keras", "tensorflow")]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.syspath_prepend(tmp_path)

    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "2")
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "1")
    yield write
    for name in ("keras", "tensorflow"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("line", NOISE)
def test_start_up_notes_are_known(line):
    assert tensorflow_startup._NOISE.search(line)


@pytest.mark.parametrize("line", REAL)
def test_everything_else_is_not_taken_for_a_start_up_note(line):
    assert not tensorflow_startup._NOISE.search(line)


def test_notes_are_removed_and_other_lines_kept_in_order(fake_tensorflow, capfd):
    fake_tensorflow([NOISE[0], REAL[0], "", NOISE[1], REAL[1]])
    tensorflow_startup.import_tensorflow()
    output = capfd.readouterr()
    assert output.err.splitlines() == REAL[:2]
    assert output.out == ""
    os.write(2, b"afterwards\n")  # the descriptor is the old one again
    assert capfd.readouterr().err == "afterwards\n"


def test_an_import_that_fails_shows_its_lines_and_its_error(fake_tensorflow, capfd):
    fake_tensorflow([NOISE[0], REAL[0]], end="raise ImportError('no such library')\n")
    with pytest.raises(ImportError, match="no such library"):
        tensorflow_startup.import_tensorflow()
    assert capfd.readouterr().err.splitlines() == [REAL[0]]
    os.write(2, b"afterwards\n")
    assert capfd.readouterr().err == "afterwards\n"


def test_what_is_imported_already_is_not_imported_again(fake_tensorflow, capfd):
    fake_tensorflow([REAL[0]])
    tensorflow_startup.import_tensorflow()
    capfd.readouterr()
    tensorflow_startup.import_tensorflow()
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(("before", "after"), [(None, "2"), ("0", "0")])
def test_a_log_level_that_the_user_set_stays(fake_tensorflow, monkeypatch, before, after):
    fake_tensorflow([])
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL")
    if before is not None:
        monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", before)
    tensorflow_startup.import_tensorflow()
    assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == after


@pytest.mark.parametrize(
    ("machine", "before", "after"),
    [("x86_64", None, "1"), ("AMD64", None, "1"), ("x86_64", "0", "0"), ("arm64", None, None)],
)
def test_fast_kernels_are_on_for_every_x86_processor_unless_the_user_says_otherwise(
    fake_tensorflow, monkeypatch, machine, before, after
):
    fake_tensorflow([])
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS")
    if before is not None:
        monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", before)
    tensorflow_startup.import_tensorflow()
    assert os.environ.get("TF_ENABLE_ONEDNN_OPTS") == after


def test_the_real_tensorflow_starts_quietly_and_as_ours_whatever_another_project_has_set(tmp_path):
    program = """
import os, sys
from kerasunsup import tensorflow_startup
tensorflow_startup.import_tensorflow()
import keras, tensorflow as tf
keras.ops.ones(3) + 1
print("computed", "tensorflow" in sys.modules, flush=True)
options = keras.config
print(options.backend(), options.floatx(), options.image_data_format(), options.epsilon())
print(options.max_epochs(), options.dtype_policy().name, os.environ["KERAS_BACKEND"])
print("an error of ours", file=sys.stderr)
"""
    variables = {key: value for key, value in os.environ.items() if not key.startswith("TF_")}
    theirs = {
        "backend": "jax", "floatx": "float16", "image_data_format": "channels_first",
        "epsilon": 1e-2,
    }  # fmt: skip
    (tmp_path / "keras.json").write_text(json.dumps(theirs))
    variables |= {
        "KERAS_HOME": str(tmp_path), "KERAS_BACKEND": "torch", "KERAS_MAX_EPOCHS": "three"
    }  # fmt: skip
    result = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env=variables,
    )
    assert result.stdout.splitlines() == [
        "computed True", "tensorflow float32 channels_last 1e-07", "None float32 tensorflow"
    ]  # fmt: skip
    assert result.stderr == "an error of ours\n"
    assert [path.name for path in tmp_path.iterdir()] == ["keras.json"]
    assert json.loads((tmp_path / "keras.json").read_text()) == theirs


# ------------------------------------------------------------------------------ standard streams

# What a command does with its streams, to the interpreter's end.
PROGRAM = """
import os, sys
from kerasunsup import tensorflow_startup
tensorflow_startup.standard_streams()
opened = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
os.write(opened, b"a file of ours")
for number in range(int(sys.argv[2])):
    print("caf\\udce9 \u00e9", number, flush=True)
    print("on the other", number, file=sys.stderr)
print("kept until the end")
sys.exit(3)
"""


def through_shell(tmp_path, redirection: str, lines: int, **variables: str) -> tuple[str, str]:
    """What the program leaves on stdout and stderr behind some redirection; it ends with 3."""
    command = f'"$0" "$1" "$2" {lines} {redirection}; echo "status ${{PIPESTATUS[0]}}"'
    (tmp_path / "program.py").write_text(PROGRAM)
    result = subprocess.run(
        ["bash", "-c", command, sys.executable, tmp_path / "program.py", tmp_path / "opened"],  # noqa: S607
        capture_output=True, text=True, check=True, env=os.environ | variables,
    )  # fmt: skip
    *lines_left, status = result.stdout.splitlines()
    assert status == "status 3", result.stderr
    assert (tmp_path / "opened").read_bytes() == b"a file of ours"
    return "\n".join(lines_left), result.stderr


needs_bash = pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")


@needs_bash
@pytest.mark.parametrize(
    ("redirection", "lines", "out", "err"),
    [
        ("2>/dev/null | head -1", 5000, "caf\\udce9 \u00e9 0", ""),
        (">&-", 1, "", "on the other 0\n"),
        ("2>&-", 1, "caf\\udce9 \u00e9 0\nkept until the end", ""),
        ("<&- >&- 2>&-", 1, "", ""),
        ("2>/dev/full >&2", 1, "", ""),
    ],
)
def test_a_stream_that_is_closed_or_ends_early_ends_no_command(
    tmp_path, redirection, lines, out, err
):
    assert through_shell(tmp_path, redirection, lines) == (out, err)


@needs_bash
def test_standard_output_on_a_full_disk_is_told_once(tmp_path):
    out, err = through_shell(tmp_path, ">/dev/full", 3)
    assert out == ""
    assert err.count("standard output cannot be written (No space left on device)") == 1
    assert err.count("on the other") == 3
    assert err.count("\n") == 4


@needs_bash
@pytest.mark.parametrize(
    "variables", [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"}]
)
def test_what_an_encoding_lacks_is_written_with_backslashes(tmp_path, variables):
    out, err = through_shell(tmp_path, "", 1, PYTHONUTF8="0", **variables)
    assert out.splitlines() == ["caf\\udce9 \\xe9 0", "kept until the end"]
    assert err == "on the other 0\n"


def test_streams_of_a_notebook_or_a_test_are_left_alone():
    before = sys.stdout, sys.stderr
    tensorflow_startup.standard_streams()
    assert (sys.stdout, sys.stderr) == before


def test_a_descriptor_whose_reader_is_gone_is_written_to_for_ever():
    reading, writing = os.pipe()
    lasting = tensorflow_startup._SafeOutput(writing, "w")
    assert lasting.write(b"heard") == 5
    assert os.read(reading, 10) == b"heard"
    os.close(reading)
    assert [lasting.write(b"lost"), lasting.write(b"lost too")] == [4, 8]
    lasting.close()
