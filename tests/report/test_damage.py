"""What is missing, damaged or senseless is named on the page, and the page is written."""

import dataclasses
import json
import re
import shutil

import pytest
from report_runs import PNG, changed, metrics_of, step, text_of, written

from kerasunsup.report import __main__ as report
from kerasunsup.report import steps


def test_what_is_missing_is_named_and_not_hidden(places):
    shutil.rmtree(places.logs / "gan" / "the-gan")
    (places.logs / "ae" / "the-clean" / "figures" / "samples.png").unlink()
    (places.logs / "ae" / "the-noise" / "figures" / "restorations.png").write_bytes(b"no picture")
    path = places.logs / "supervised" / "the-supervised" / "metrics.json"
    numbers = json.loads(path.read_text())
    del numbers["labels_100/frozen_accuracy"]
    path.write_text(json.dumps(numbers))
    assert report.main(["--page-only"]) == 0
    page = text_of(written()[0])
    assert "What is missing or damaged" in page
    assert "the GAN has not been run" in page
    assert "Images decoded from drawn codes, beside real images." in page
    assert "the-noise/figures/restorations.png, which is damaged" in page


@pytest.mark.parametrize("file", ["metrics.json", "config.json", "environment.json"])
def test_a_damaged_run_is_named_and_not_used(places, file):
    path = places.logs / "gan" / "the-gan" / file
    for content in ("{", "[]", ""):
        path.write_text(content)
        state = steps.state_of(step("gan"), places)
        assert state.finished is None
        assert any(str(path) in problem for problem in state.problems), content
    report.main(["--page-only"])
    assert str(path) in text_of(written()[0])


def test_a_run_of_zeros_is_named_and_not_used(places):
    path = places.logs / "gan" / "the-gan" / "metrics.json"
    for values in (dict.fromkeys(metrics_of(step("gan")), 0.0), {}, {"fid": None, "kid": "1"}):
        path.write_text(json.dumps(values))
        state = steps.state_of(step("gan"), places)
        assert state.finished is None
        assert state.problems == [f"{path} is senseless (no number but 0): remove the run"]


SENSELESS = [float("nan"), 0.0, -3, float("inf"), 10**400, None, True, "0.5", [1], {"a": 1}]


def test_a_number_that_cannot_be_is_none(places):
    run = steps.state_of(step("gan"), places).finished
    for value in SENSELESS:
        damaged = dataclasses.replace(run, metrics={"test/mse": value})
        assert damaged.number("test/mse") is None, value


@pytest.mark.parametrize("value", [float("nan"), 10**400, "0.5"], ids=lambda value: str(value)[:5])
def test_senseless_numbers_are_named_and_the_page_is_written(places, value):
    for one in steps.STEPS:
        if not one.is_search:
            changed(
                places.logs / one.experiment / f"the-{one.key}",
                mse=value, fid=value, best_epoch=value, classifier_score=value,
            )  # fmt: skip
    assert report.main(["--page-only"]) == 0
    html, numbers = written()
    page = text_of(html)
    for key, name in (("clean", "test/mse"), ("clean", "best_epoch"), ("gan", "fid")):
        experiment = step(key).experiment
        assert f"logs/{experiment}/the-{key}/metrics.json: {name} is {value!r:.40}, which" in page
    assert not re.search(r">-?(nan|inf)\b", html)
    assert "fid" not in numbers["numbers"].get("logs/gan/the-gan", {})


def test_numbers_that_a_run_lacks_are_named_in_a_line_a_run(places):
    path = places.logs / "ae" / "the-clean" / "metrics.json"
    numbers = json.loads(path.read_text())
    del numbers["test/ssim"], numbers["real/fid"]
    path.write_text(json.dumps(numbers))
    report.main(["--page-only"])
    page = text_of(written()[0])
    assert page.count("logs/ae/the-clean/metrics.json has no real/fid, test/ssim") == 1


@pytest.mark.parametrize(
    "content",
    ["", "\n", "epoch,loss\n1", "epoch,loss,val_loss\n1,2\n", "\0", "epoch,val_loss\n1,nan\n",
     "epoch,val_loss\n1,0\n", "arm,labels,images,accuracy\nfinetuned,all,x,1\n", b"\xff"],
)  # fmt: skip
def test_a_damaged_history_is_named_and_the_page_is_written(places, content):
    for key in ("clean", "supervised"):
        path = places.logs / step(key).experiment / f"the-{key}" / "history.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert report.main(["--page-only"]) == 0
    assert "the-supervised/history.csv" in text_of(written()[0])


def test_half_a_picture_and_odd_environments_are_no_failure(places):
    (places.logs / "ae" / "the-noise" / "figures" / "restorations.png").write_bytes(PNG[:-5])
    for place, odd in enumerate([{"versions": [1], "data": ["x"]}, {"started": 3}, {}]):
        key = ("clean", "noise", "crop")[place]
        (places.logs / "ae" / f"the-{key}" / "environment.json").write_text(json.dumps(odd))
    assert report.main(["--page-only"]) == 0
    assert "the-noise/figures/restorations.png, which is damaged" in text_of(written()[0])


def test_settings_found_that_are_damaged_are_named(places, capsys):
    path = places.tuning / "ae" / "best.json"
    path.write_text("{")
    assert str(path) in steps.state_of(step("tuned"), places).problems[0]
    assert report.main(["--page-only"]) == 0
    assert str(path) in text_of(written()[0])
    assert report.main([]) == 1  # nothing can be trained by them
    assert capsys.readouterr().err == ""


def damages(found: dict) -> list[tuple[str, object]]:
    first = found["trials"][0]
    return [
        ("trials", [first | {"settings": {}}]),
        ("trials", [first | {"score": "low"}]),
        ("trials", [first | {"validation_mse": float("nan")}]),
        ("trials", [first | {"validation_mse": 0.0}]),
        ("trials", {"a": 1}),
        ("trials", None),
        ("reference", {"8": 0.0}),
        ("reference", {"x": 1.0}),
        ("reference", []),
        ("environment", None),
        ("fingerprint", {"settings": [], "max_epochs": 20}),
        ("seconds", float("inf")),
        ("epochs", "265"),
        ("importance", found["importance"] | {"score": {}}),
        ("importance", found["importance"] | {"epochs": None}),
        ("importance", [1]),
    ]


def test_every_damage_of_a_record_is_named(places):
    path = places.tuning / "ae" / "record.json"
    whole = json.loads(path.read_text())
    for key, value in damages(whole):
        path.write_text(json.dumps(whole | {key: value}))
        state = steps.state_of(step("search"), places)
        assert state.finished is None
        assert any(f"{path} is damaged" in problem for problem in state.problems), (key, value)


@pytest.mark.parametrize("place", ["record.json", "random/record.json"])
def test_the_page_is_written_without_a_damaged_record(places, place):
    path = places.tuning / "ae" / place
    damaged = json.dumps(json.loads(path.read_text()) | {"trials": None})
    for content in (damaged, "[" * 100_000):
        path.write_text(content)
        assert report.main(["--page-only"]) == 0
        assert f"{path} is damaged" in text_of(written()[0])


def test_damaged_records_and_other_searches_are_named(places):
    path = places.tuning / "ae" / "record.json"
    found = json.loads(path.read_text())
    path.write_text(json.dumps(found | {"fingerprint": {}}))
    assert "is damaged" in steps.state_of(step("search"), places).problems[0]
    path.write_text(json.dumps(found | {"fingerprint": found["fingerprint"] | {"max_epochs": 7}}))
    assert "another --max-epochs" in steps.state_of(step("search"), places).problems[0]
    report.main(["--page-only"])
    assert "another --max-epochs" in text_of(written()[0])


def test_runs_on_other_images_are_named(places):
    path = places.logs / "gan" / "the-gan" / "environment.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"data": "other"}))
    report.main(["--page-only"])
    assert "made from other images than the rest: GAN" in text_of(written()[0])


def test_an_empty_place_gives_a_page_that_says_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert report.main(["--page-only"]) == 0
    page = text_of(written()[0])
    for one in steps.STEPS:
        assert f"the {one.title} has not been run" in page
