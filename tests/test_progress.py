"""The progress of a long work: on a bar, and in lines where there is no terminal."""

import logging

import pytest

from kerasunsup import progress
from kerasunsup.progress import Progress


@pytest.fixture
def clock(monkeypatch):
    """Sets the time, in seconds."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "perf_counter", lambda: now[0])

    def set_to(seconds: float) -> None:
        now[0] = seconds

    return set_to


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "0:00"), (75.2, "1:15"), (3600, "1:00:00"), (3725, "1:02:05")]
)
def test_clock_shows_minutes_and_seconds(seconds, text):
    assert progress.clock(seconds) == text


def test_time_left_is_estimated_by_the_work_done_so_far(capsys, clock):
    with Progress(5.0, done=2.0, has_bar=False) as shown:
        assert shown.left == "?"
        clock(10.0)
        shown.advance(1.0)
        assert shown.left == "0:20"
        clock(40.0)
        shown.advance_to(5.0)
        shown.advance_to(4.0)
        assert shown.left == "0:00"
        shown.say("all done")
    assert capsys.readouterr() == ("all done\n", "")


def test_items_with_a_name_are_counted_in_a_line_every_ten_seconds(capsys, clock):
    with Progress(5000, "image", has_bar=False) as shown:
        for seconds in (1.0, 11.0, 12.0, 21.5):
            clock(seconds)
            shown.advance(1100)
    assert capsys.readouterr().out.splitlines() == [
        "2,200 of 5,000 images, 200 a second",
        "4,400 of 5,000 images, 205 a second",
    ]


def test_a_bar_says_what_is_at_work_and_how_it_goes(capsys):
    with Progress(2, has_bar=True, stays=True) as shown:
        for name in ("first", "second"):
            shown.name(name)
            shown.advance()
            shown.say(f"{name}: 90 %")
    output, error = capsys.readouterr()
    assert "second" in error
    assert "100%" in error
    assert "second: 90 %" in error
    assert output == ""


def test_a_bar_is_drawn_where_output_is_a_terminal(capsys, monkeypatch):
    monkeypatch.setattr(progress, "is_terminal", lambda: True)
    with Progress(2, "image") as shown:
        assert shown.has_bar
        shown.advance()
    assert "0/2" in capsys.readouterr().err
    with Progress(0, "image") as shown:
        assert not shown.has_bar
    logging.getLogger("kerasunsup").setLevel(
        logging.WARNING
    )  # as in a library; the fixture ends it
    with Progress(2, "image") as shown:
        assert not shown.has_bar
