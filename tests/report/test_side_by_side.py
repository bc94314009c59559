"""Several data sets on one page."""

import dataclasses
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from report_runs import text_of, write_run, written

from kerasunsup.data import images
from kerasunsup.report import __main__ as report
from kerasunsup.report import page, side_by_side, steps, summary

PNG = images.encode_png(np.zeros((30, 60, 1), np.uint8))


def page_of(rows, *blocks, names=1):
    table = page.Table(["", "error", "time"], rows, "What it takes", names=names)
    section = page.Section("first", "1", "First", [page.paragraph("A sentence."), table, *blocks])
    return page.Page("Title", [page.Points(["a point"])], [section])


def blocks_of(joined):
    (section,) = joined.sections
    return section.blocks


def test_one_page_is_left_as_it_is():
    alone = page_of([["a", "1", "2"]])
    assert side_by_side.joined({"MNIST": alone}) is alone


def test_numbers_of_the_same_row_stand_beside_each_other():
    joined = side_by_side.joined({
        "MNIST": page_of([["a", "1", "2"], ["b", "3", "4"]]),
        "other": page_of([["c", "7", "8"], ["a", "5", "6"]]),
    })  # fmt: skip
    sentence, table = blocks_of(joined)
    assert sentence == page.Paragraph("A sentence.")  # the same of both: once
    assert table.header == ["", "error, MNIST", "error, other", "time, MNIST", "time, other"]
    assert table.rows == [
        ["a", "1", "5", "2", "6"], ["b", "3", "", "4", ""], ["c", "", "7", "", "8"],
    ]  # fmt: skip
    assert joined.opening == [page.Points(["a point"])]


def test_what_names_a_row_is_not_repeated():
    joined = side_by_side.joined({
        "MNIST": page_of([["a", "of x", "2"], ["a", "of y", "4"]], names=2),
        "other": page_of([["a", "of y", "6"], ["a", "of x", "8"]], names=2),
    })  # fmt: skip
    assert blocks_of(joined)[1].rows == [["a", "of x", "2", "8"], ["a", "of y", "4", "6"]]


def test_wide_tables_and_those_of_other_columns_stand_below_each_other():
    wide = [page.Table(["", *"abcde"], [["row", *"12345"]], "Wide") for _ in range(2)]
    other = page.Table(["", "z"], [["row", "9"]], "Wide")
    for second, caption in ((wide[1], "other: Wide"), (other, "other: Wide")):
        first = page_of([["a", "1", "2"]], wide[0])
        joined = side_by_side.joined({"MNIST": first, "other": page_of([["a", "1", "2"]], second)})
        *_, one, two = blocks_of(joined)
        assert (one.caption, two.caption) == ("Wide", caption)
        assert two.rows == second.rows


def test_what_others_say_and_show_names_their_data():
    first = page_of([["a", "1", "2"]], page.Figure(PNG, "of it", "runs/1"))
    second = page_of([["a", "1", "2"]], page.Figure(PNG, "of it", "runs/2"), page.Notice("missing"))
    second = dataclasses.replace(
        second,
        opening=[page.Points(["another point"])],
        sections=[*second.sections, page.Section("own", "2", "Own", [page.paragraph("More.")])],
    )
    joined = side_by_side.joined({"MNIST": first, "other": second})
    assert joined.opening == [page.Points(["a point"]), page.Points(["other: another point"])]
    *_, figure, notice, details = joined.sections[0].blocks
    assert figure.source == "runs/1"
    assert notice == page.Notice("other: missing")
    assert details == page.Details("Figures: other", [page.Figure(PNG, "of it", "runs/2")])
    assert joined.sections[1].blocks == [page.Paragraph("other: More.")]


def test_a_report_on_two_data_sets_shows_both_and_keeps_their_runs_apart(places, capsys):
    other = dataclasses.replace(places, data="fashion_mnist")
    report.main(["--also", "fashion_mnist", "--plan"])
    plan = capsys.readouterr().out
    assert plan.count("stands: ") == 10
    assert "the study on fashion_mnist" in plan
    assert "python -m kerasunsup.gan --data fashion_mnist --preset study" in plan
    assert f"--tuning {Path('tuning') / 'fashion-mnist'}" in plan
    for step in steps.STEPS:
        if not (step.is_search or step.is_tuned):
            folder = write_run(step, other, f"other-{step.key}")
            numbers = json.loads((folder / "metrics.json").read_text())
            (folder / "metrics.json").write_text(json.dumps(numbers | {"test/mse": 0.0125}))
    assert report.main(["--also", "fashion_mnist", "--page-only"]) == 0
    html, numbers = written()
    text = text_of(html)
    assert "0.01250" in text
    assert "our default, fashion_mnist" in text
    assert "fashion_mnist: made from" not in text
    assert "the autoencoder with the settings found has not been run" in text
    assert re.search(r"<summary>Figures: fashion_mnist</summary>", html)
    assert {"logs/ae/the-clean", "logs/ae/other-clean"} <= set(numbers["numbers"])
    assert "--data fashion_mnist" in numbers["runs"]["logs/gan/other-gan"]["command"]


def test_names_of_other_data_are_names_of_folders(places):
    for data, slug in (
        ("mnist", ""),
        ("my data/Fashion (new)", "fashion-new"),
        ("cifar10", "cifar10"),
        ("数字", "c16ec927"),
        (".", re.sub(r"[^a-z0-9]+", "-", Path.cwd().name.lower()).strip("-")),
        ("./..", re.sub(r"[^a-z0-9]+", "-", Path.cwd().parent.name.lower()).strip("-")),
    ):
        assert dataclasses.replace(places, data=data).slug == slug


@pytest.mark.parametrize(
    ("first", "second"), [("cats/images", "dogs/Images"), ("mnist", "my/MNIST"), ("a/b-c", "b c")]
)
def test_data_of_the_same_name_are_refused(capsys, first, second):
    assert report.main(["--data", first, "--also", second, "--plan"]) == 2
    assert f"--also {second} has the same name as {first} (" in capsys.readouterr().err


def test_a_search_on_a_folder_of_the_same_name_does_not_stand(places):
    dogs = dataclasses.replace(places, data="dogs/images")
    search = next(step for step in steps.STEPS if step.is_search)
    folder = dogs.searches / "ae"
    shutil.copytree(places.searches / "ae", folder)
    best = json.loads((folder / "best.json").read_text())
    (folder / "best.json").write_text(json.dumps(best | {"data": "cats/images"}))
    state = steps.state_of(search, dogs)
    assert state.finished is None
    assert state.problems == [
        f"{folder / 'record.json'} is of a search on cats/images: give --tuning DIR"
    ]
    (folder / "best.json").write_text(json.dumps(best | {"data": "dogs/images"}))
    assert steps.state_of(search, dogs).finished is not None


def test_only_data_of_its_name_has_what_is_published_for_it():
    assert summary.published_for("old-fashion-photos") == {}
    assert summary.published_for("x/fashion_mnist/") == summary.published_for("Fashion-MNIST") != {}


def test_data_named_twice_are_refused(capsys):
    assert report.main(["--also", "mnist"]) == 2
    assert "--also names data a second time" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("ours", "published", "is_less_better", "verdict"),
    [(0.003, 0.004, True, "ahead"), (98.0, 98.5, False, "behind"), (98.5, 98.5, False, "alike")],
)
def test_the_summary_says_who_is_ahead(ours, published, is_less_better, verdict):
    assert summary._verdict(ours, published, is_less_better) == verdict


def test_the_summary_has_ten_numbers_and_nothing_published_beside_small_runs(places):
    report.main([])
    html, _ = written()
    table = html[html.index("Ten numbers") : html.index("</table>")]
    assert table.count('<th scope="row">') == 10
    assert "Ladder" in table
    assert re.search(r"\((ahead|behind)\)</a>", table)
    for step in steps.STEPS:
        if not (step.is_search or step.is_tuned):
            write_run(step, dataclasses.replace(places, quick=True), f"quick-{step.key}")
    report.main(["--quick", "--page-only"])
    html, _ = written()
    table = html[html.index("Ten numbers") : html.index("</table>")]
    assert "Ladder" not in table
