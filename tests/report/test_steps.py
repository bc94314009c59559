"""The steps of the whole study: which runs stand, and what is run."""

import dataclasses
import json
import shutil
import signal
import sys
import threading
from pathlib import Path

import pytest
from report_runs import step, text_of, write_run, written

from kerasunsup.errors import Interrupted
from kerasunsup.report import __main__ as report
from kerasunsup.report import process, steps
from kerasunsup.report.sources import duration


def test_a_run_of_other_settings_does_not_stand_for_a_step(places):
    path = places.logs / "ae" / "the-noise" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"noise": 0.3}))
    assert steps.state_of(step("noise"), places).finished is None
    (places.logs / "ae" / "the-clean" / "metrics.json").unlink()
    assert steps.state_of(step("clean"), places).unfinished == "the-clean"


def leave_out(setting: str, run: Path) -> None:
    path = run / "config.json"
    stored = json.loads(path.read_text())
    del stored[setting]
    path.write_text(json.dumps(stored))


@pytest.mark.parametrize("quick", [False, True])
def test_a_run_of_before_a_setting_was_there_had_its_default(places, quick):
    if quick:
        places = dataclasses.replace(places, logs=Path("small"), quick=True)
        for key in ("clean", "noise"):
            write_run(step(key), places, f"the-{key}")
    leave_out("student_rounds", places.logs / "ae" / "the-clean")
    assert steps.state_of(step("clean"), places).finished is not None
    leave_out("noise", places.logs / "ae" / "the-noise")
    assert steps.state_of(step("noise"), places).finished is None


def test_a_run_of_before_a_setting_was_there_stands_for_its_default(places):
    for key in ("clean", "variational"):
        leave_out("variational", places.logs / "ae" / f"the-{key}")
    assert steps.state_of(step("clean"), places).finished is not None
    assert steps.state_of(step("variational"), places).finished is None


def test_the_newest_of_several_runs_stands(places):
    newer = write_run(step("gan"), places, "a-newer")
    path = newer / "environment.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"started": "2027"}))
    assert steps.state_of(step("gan"), places).finished.folder == newer


def test_the_plan_says_what_stands_what_is_to_come_and_how_long_it_takes(places, capsys):
    shutil.rmtree(places.logs / "gan" / "the-gan_study")
    (places.logs / "ae" / "the-crop" / "metrics.json").unlink()
    assert report.main(["--plan"]) == 0
    plan_text = capsys.readouterr().out
    assert "stands: logs/ae/the-clean" in plan_text
    assert "goes on with the-crop: python -m kerasunsup.ae --crop 8\n" in plan_text
    assert "python -m kerasunsup.gan --preset study\n" in plan_text
    assert f"about {step('gan_study').minutes + step('crop').minutes:.1f} min to come" in plan_text
    assert not Path("report.html").exists()


def test_steps_that_fail_are_named_and_the_others_are_run(places, monkeypatch, capsys):
    shutil.rmtree(places.logs / "gan")
    began = []

    def run_step(state, where, _):
        began.append(state.step.key)
        if state.step.key == "gan":
            state.problems.append("it ended with status 2")
        else:
            write_run(state.step, where)

    monkeypatch.setattr(steps, "run_step", run_step)
    assert report.main([]) == 1
    assert began == ["gan", "gan_study"]
    assert "ran 2 of 10 steps" in capsys.readouterr().out
    page = text_of(written()[0])
    assert "it ended with status 2" in page
    assert "the GAN has not been run" in page


def test_steps_side_by_side_begin_with_the_longest_and_a_search_is_waited_for(
    places, monkeypatch, capsys
):
    places.tuning.rename("answer")
    for run in places.logs.glob("*/the-*"):
        shutil.rmtree(run)
    both = threading.Barrier(2, timeout=30)  # broken if one runs alone
    began, shares, outputs = [], [], []

    def run(command, *, received, output, processors):
        began.append(command[2:])
        shares.append(processors)
        outputs.append(output)
        if len(began) <= 2:
            both.wait()
        if "--search-only" in command:
            Path("answer").rename(places.tuning)
        else:
            write_run(step(command[-1].removeprefix("report-")), places, command[-1])
        return 0

    monkeypatch.setattr(process, "run", run)
    monkeypatch.setattr(process, "shares", lambda number: [frozenset({i}) for i in range(number)])
    assert report.main(["--at-once", "2"]) == 0
    names = [one[-1].removeprefix("report-") for one in began]
    assert len(names) == len(steps.STEPS)
    assert {names[0], names[1]} == {"--search-only", "gan"}
    assert names.index("--search-only") < names.index("tuned")
    assert set(shares) == {frozenset({0}), frozenset({1})}
    assert len(set(outputs)) == len(steps.STEPS)
    out = capsys.readouterr().out
    assert "python -m kerasunsup.gan > logs/report-gan.log\n" in out
    assert f"ran {len(steps.STEPS)} of {len(steps.STEPS)} steps" in out
    whole = sum(one.minutes for one in steps.STEPS)
    assert f"about {duration(60 * whole / 2)} to come, 2 steps at a time" in out


def test_a_step_that_was_stopped_stops_those_that_wait(places, monkeypatch):
    shutil.rmtree(places.logs / "gan")
    began = []
    monkeypatch.setattr(process, "run", lambda command, **_: began.append(command) or 130)
    assert report.main([]) == 130
    assert len(began) == 1


def test_steps_that_save_after_a_stop_are_not_stopped_by_another_signal(places, monkeypatch):
    shutil.rmtree(places.logs / "gan")
    heard = []

    def run(command, *, received, **_):
        received.append(signal.SIGINT)  # as the main thread does on Ctrl-C
        heard.append(received)
        return 130

    monkeypatch.setattr(process, "run", run)
    assert report.main([]) == 130
    assert heard == [[signal.SIGINT]]


def test_a_step_is_started_as_a_user_would_with_a_free_name(places):
    started = []

    def run(command):
        started.append(command)
        return 0

    (places.logs / "gan" / "report-gan").mkdir()
    steps.run_step(steps.State(step("gan")), places, run)
    steps.run_step(steps.State(step("noise"), unfinished="half"), places, run)
    steps.run_step(steps.State(step("search")), dataclasses.replace(places, quick=True), run)
    steps.run_step(steps.State(step("tuned")), places, run)
    begin = [sys.executable, "-m"]
    logs = ["--logs", "logs"]
    small = ["--tuning", "tuning/quick", "--quick"]
    assert started == [
        [*begin, "kerasunsup.gan", *logs, "--name", "report-gan-2"],
        [*begin, "kerasunsup.ae", *logs, "--resume", "--name", "half"],
        [*begin, "kerasunsup.ae", *logs, "--tune", "--search-only", *small],
        [*begin, "kerasunsup.ae", *logs, "--student", "--sampler", "neighbors", "--config",
         "tuning/ae/best.json", "--name", "report-tuned"],
    ]  # fmt: skip
    state = steps.State(step("tuned"))
    steps.run_step(state, dataclasses.replace(places, quick=True), run)
    assert state.problems == [f"{step('tuned').title}: there is no search's answer to be trained"]


def test_the_time_of_a_step_is_added_up_over_stops_and_shown(places, monkeypatch):
    clock = iter([0.0, 60.0, 100.0, 190.0])
    with monkeypatch.context() as patch:
        patch.setattr(steps.time, "perf_counter", lambda: next(clock))
        for _ in range(2):
            with pytest.raises(Interrupted):
                steps.run_step(steps.State(step("gan")), places, lambda _: 130)
    assert steps.times(places) == {"python -m kerasunsup.gan": 150.0}
    report.main(["--page-only"])
    html = Path("report.html").read_text()
    assert "steps that reports ran took 2.5 min, added up" in html
    runs = json.loads(Path("report.json").read_text())["runs"]
    assert runs["logs/gan/the-gan"]["whole_seconds"] == 150.0
    assert runs["logs/ae/the-clean"]["whole_seconds"] is None
    (places.logs / "report-times.json").write_text("{")
    assert steps.times(places) == {}


def test_what_a_command_ends_with_is_told(places):
    state = steps.State(step("gan"))
    steps.run_step(state, places, lambda _: 2)
    assert state.problems == [
        "python -m kerasunsup.gan ended with status 2; its last lines say why"
    ]
    with pytest.raises(Interrupted, match="the same command goes on"):
        steps.run_step(state, places, lambda _: 130)


def test_a_stopped_report_says_how_it_goes_on_and_leaves_the_page_as_it_was(
    places, monkeypatch, capsys
):
    Path("report.html").write_text("an earlier page")
    shutil.rmtree(places.logs / "gan")
    monkeypatch.setattr(process, "run", lambda *_, **__: 130)
    assert report.main([]) == 130
    assert capsys.readouterr().err == (
        "kerasunsup report: stopped; what is finished is kept, the same command goes on: "
        "python -m kerasunsup.report\n"
    )
    assert Path("report.html").read_text() == "an earlier page"


def test_a_report_that_is_told_to_end_says_how_it_goes_on(places, monkeypatch, capsys):
    for number in (signal.SIGTERM, signal.SIGHUP):
        # Whatever pytest was started with: what nohup starts ignores the second.
        before = signal.signal(number, signal.SIG_DFL)
        monkeypatch.setattr(report, "write", lambda *_, n=number: signal.raise_signal(n))
        try:
            assert report.main(["--page-only", "--output", "a page.html"]) == 130
            assert signal.getsignal(number) == signal.SIG_DFL
        finally:
            signal.signal(number, before)
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert error.endswith("python -m kerasunsup.report --page-only --output 'a page.html'\n")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--output", "report.txt"], "--output must end in .html, received report.txt"),
        (["--output", "nowhere/report.html"], "--output nowhere/report.html cannot be written"),
        (["--plan", "--page-only"], "--plan writes nothing"),
    ],
)
def test_wrong_use_is_one_line(tmp_path, monkeypatch, capsys, arguments, text):
    monkeypatch.chdir(tmp_path)
    assert report.main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"kerasunsup report: {text}")
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
