"""What the page shows of the results of `benchmarks/`."""

import json
import shutil
from pathlib import Path

from report_runs import ROOT, text_of, written

from kerasunsup.report import __main__ as report


def test_results_that_are_there_are_shown_with_where_they_come_from(places):
    report.main(["--benchmarks", str(ROOT / "docs")])
    html, _ = written()
    page = text_of(html)
    for file, title in (
        ("training_speed.json", "Speed"),
        ("several_workers.json", "Several machines"),
        ("duplicates.json", "Copies in a folder"),
        ("oddity_maps.json", "Where an image is odd"),
        ("student.json", "A student that begins from groups"),
    ):
        assert title in page
        assert f'/{file}"' in html  # each number leads to its file
    speed = json.loads((ROOT / "docs" / "training_speed_with_bfloat16.json").read_text())
    assert f"{speed['rows']['kerasunsup']['images_per_second']:,.0f}" in page
    assert f"Commit {speed['commit']}" in page
    labelled = json.loads((ROOT / "docs" / "student_labels.json").read_text())
    (runs,) = labelled["mnist_100"]["rows"].values()
    mean = 100 * sum(run["test_accuracy"] for run in runs) / len(runs)
    summary = page[page.index("100 labels, best way") : page.index("1,000 labels, best way")]
    assert f"{mean:.2f} (student, {len(runs)} seeds; behind)" in summary


def test_without_results_there_is_no_section_and_a_damaged_file_is_named(places):
    report.main([])
    assert "Measured apart" not in text_of(written()[0])
    Path("docs").mkdir()
    shutil.copy(ROOT / "docs" / "several_workers.json", "docs")
    Path("docs/duplicates.json").write_text('{"rows": {"digits": 3}}')
    Path("docs/oddity_maps.json").write_text("{")
    report.main([])
    page = text_of(written()[0])
    assert "Several machines" in page
    assert "Copies in a folder" not in page.replace("Copies in a folder: a file in docs", "")
    assert "Copies in a folder: a file in docs is damaged" in page
    assert "oddity_maps.json" in page


def test_a_damaged_file_of_the_student_leaves_the_best_method_in_the_summary(places):
    report.main([])
    without = text_of(written()[0])
    Path("docs").mkdir()
    Path("docs/student_labels.json").write_text('{"mnist_100": {"rows": {"": [{"seed": 0}]}}}')
    report.main([])
    page = text_of(written()[0])
    assert "student, 1 seed" not in page
    ends = ("100 labels, best way", "1,000 labels, best way")
    first, second = (t[t.index(ends[0]) : t.index(ends[1])] for t in (without, page))
    assert first == second
