"""A step's process: what stops a report stops it, and it never outlives the report."""

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent import futures
from pathlib import Path

import pytest

from kerasunsup.report import process


@pytest.mark.parametrize("number", process._STOP_SIGNALS)
def test_what_stops_a_report_reaches_the_step_once_and_it_has_time_to_save(
    tmp_path, monkeypatch, number
):
    monkeypatch.chdir(tmp_path)
    child = (
        "import pathlib, signal, sys, time\n"
        "def save(*_):\n"
        " time.sleep(0.4)\n"
        " with open('saved', 'a') as file: file.write('x')\n"
        " sys.exit(3)\n"
        f"signal.signal({int(number)}, save)\n"
        "pathlib.Path('began').touch()\n"
        "time.sleep(60)\n"
    )

    def stop() -> None:
        for _ in range(2):  # an impatient user
            while not Path("began").exists():
                time.sleep(0.02)
            os.kill(os.getpid(), number)
            time.sleep(0.25)

    before = [signal.getsignal(one) for one in process._STOP_SIGNALS]
    # Whatever pytest was started with: a shell's background job ignores Ctrl-C.
    monkeypatch.setattr(signal, "getsignal", lambda _: signal.default_int_handler)
    thread = threading.Thread(target=stop)
    thread.start()
    with process.noting_stop_signals() as received:
        status = process.run([sys.executable, "-S", "-c", child], received=received)
    for one, old in zip(process._STOP_SIGNALS, before, strict=True):
        signal.signal(one, old)
    thread.join()
    assert status == 130
    assert Path("saved").read_text() == "x"


def test_a_stop_that_a_step_has_lost_reaches_it_when_asked_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(process, "_SECONDS_TO_SAVE", 0.2)
    child = (
        "import pathlib, signal, sys, time\n"
        "calls = []\n"
        "signal.signal(15, lambda *_: calls.append(0) or len(calls) > 1 and sys.exit(0))\n"
        "pathlib.Path('began').touch()\n"
        "time.sleep(1); time.sleep(60)\n"
    )

    def stop() -> None:
        while not Path("began").exists():
            time.sleep(0.02)
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.5)

    thread = threading.Thread(target=stop)
    thread.start()
    began = time.monotonic()
    with process.noting_stop_signals() as received:
        status = process.run([sys.executable, "-S", "-c", child], received=received)
    assert status == 130
    thread.join()
    assert time.monotonic() - began < 30


def test_steps_side_by_side_are_all_stopped_and_print_into_files(tmp_path, monkeypatch):
    child = (
        "import pathlib, signal, sys, time\n"
        "signal.signal(15, lambda *_: (print('saved', flush=True), sys.exit(0)))\n"
        "print('began', flush=True)\n"
        "pathlib.Path(sys.argv[1]).touch()\n"
        "time.sleep(60)\n"
    )
    marks = [tmp_path / name for name in ("one", "two")]

    def stop() -> None:
        while not all(mark.exists() for mark in marks):
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGTERM)

    outputs = [mark.with_suffix(".log") for mark in marks]
    with process.noting_stop_signals() as received, futures.ThreadPoolExecutor(3) as pool:
        pool.submit(stop)
        ended = [
            pool.submit(
                process.run, [sys.executable, "-S", "-c", child, str(mark)],
                received=received, output=output,
            )
            for mark, output in zip(marks, outputs, strict=True)
        ]  # fmt: skip
        assert [each.result(timeout=30) for each in ended] == [130, 130]
    assert [output.read_text() for output in outputs] == ["began\nsaved\n"] * 2


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says which processors are ours")
def test_processors_are_dealt_out_and_a_step_keeps_to_its_own(monkeypatch, tmp_path):
    ours = os.sched_getaffinity(0)
    child = "import os; print(sorted(os.sched_getaffinity(0)))"
    process.run(
        [sys.executable, "-S", "-c", child],
        received=[], output=tmp_path / "log", processors={min(ours)},
    )  # fmt: skip
    assert (tmp_path / "log").read_text() == f"[{min(ours)}]\n"
    assert os.sched_getaffinity(0) == ours
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 5})
    assert process.shares(1) == [{0, 1, 2, 5}]
    assert process.shares(2) == [{0, 2}, {1, 5}]
    assert process.shares(5) == [{0}, {1}, {2}, {5}, {0}]
    monkeypatch.delattr(os, "sched_getaffinity")
    assert process.shares(2) == [frozenset(), frozenset()]


def test_a_signal_that_is_ignored_stays_so(monkeypatch):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        with process.handling_stop_signals(lambda *_: pytest.fail("nobody asked")):
            signal.raise_signal(signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with its parent")
def test_a_killed_report_takes_the_training_with_it(tmp_path):
    code = (
        "import sys\n"
        "from kerasunsup.report import process\n"
        "child = 'import os, time; print(os.getpid(), flush=True); time.sleep(60)'\n"
        "process.run([sys.executable, '-S', '-c', child], received=[])\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as parent:
        child = int(parent.stdout.readline())
        parent.kill()
    status = Path(f"/proc/{child}/status")
    began = time.monotonic()
    while status.exists() and "zombie" not in status.read_text():
        if time.monotonic() - began > 10:
            os.kill(child, signal.SIGKILL)
            pytest.fail("it trains on")
        time.sleep(0.02)
