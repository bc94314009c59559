"""What the page of the whole study shows of the runs that stand."""

import dataclasses
import json
import re
from pathlib import Path

import pytest
from report_runs import step, text_of, write_run, written

from kerasunsup.report import __main__ as report
from kerasunsup.report import steps


def test_a_page_of_runs_that_stand_trains_nothing_and_lacks_nothing(places, monkeypatch, capsys):
    monkeypatch.setattr(steps, "run_step", lambda *_: pytest.fail("nothing is to be run"))
    assert report.main([]) == 0
    html, numbers = written()
    assert "missing" not in text_of(html).lower()
    assert "to run" not in capsys.readouterr().out
    for number in range(1, 10):
        assert re.search(rf"<h3>Figure {number}[: ]", html), number
    assert "Table 1" in html
    assert "Table 2" in html
    assert html.count("data:image/png;base64,") >= 25
    assert numbers["quick"] is False
    assert len(numbers["numbers"]) == 9 + 3  # runs, and kinds of searches


def test_every_number_leads_to_a_folder_that_is_there(places):
    report.main([])
    html, numbers = written()
    cells = re.findall(r'<td class="number">(?:<a href="([^"]+)"[^>]*>)?([^<]*)', html)
    unlinked = [text for address, text in cells if not address and re.search(r"\d", text)]
    assert unlinked == []
    addresses = {address for address, _ in cells if address}
    assert len(addresses) >= 8
    for address in addresses:
        assert Path(address).is_dir(), address
    assert {address.rstrip("/") for address in addresses} == set(numbers["numbers"])


def test_two_calls_write_the_same_page(places):
    for output in ("first.html", "second.html"):
        report.main(["--output", output])
    assert Path("first.html").read_bytes() == Path("second.html").read_bytes()


def test_sentences_follow_the_numbers(places):
    report.main([])
    page = text_of(written()[0])
    for number in (
        "epoch 50 of 50", "60.0 %", "261.1", "71.0 %", "51.0 %", "98.0 %", "90.0 %",
    ):  # fmt: skip
        assert number in page

    path = places.logs / "ae" / "the-clean" / "metrics.json"
    numbers = json.loads(path.read_text())
    numbers |= {"mixture_100/fid": 900.0, "best_epoch": 7, "noise_0.4/gain_db": -1.0}
    path.write_text(json.dumps(numbers))
    path = places.logs / "supervised" / "the-supervised" / "metrics.json"
    numbers = json.loads(path.read_text())
    chance = {name: 0.5 for name in numbers if name.endswith("_p_holm")}
    significant = {"labels_10/finetuned_minus_scratch_p_holm": 0.01}
    path.write_text(json.dumps(numbers | chance | significant))
    report.main([])
    page = text_of(written()[0])
    for number in ("900.0", "epoch 7 of 50", "43 epochs", "loses 1.0 dB"):
        assert number in page
    # One is significant, and the others follow as what may be chance.
    assert re.search(r"significant[^;]*\] with 10 labels\. [^.]*chance", page)


def test_the_best_way_with_few_labels_is_chosen_by_validation_images_or_the_page_says_so(places):
    path = places.logs / "supervised" / "the-supervised" / "metrics.json"
    numbers = {
        name: value for name, value in json.loads(path.read_text()).items()
        if "_validation_accuracy" not in name
    }  # fmt: skip
    by_test = {"labels_100/graph_accuracy": 0.97, "labels_100/mixture_accuracy": 0.91}
    path.write_text(json.dumps(numbers | by_test))
    report.main([])
    page = text_of(written()[0])
    assert len(re.findall(r"with 100 labels “graph of codes”,[^.]* 97\.0 %", page)) == 2
    assert page.count("chosen on these same test images") == 2  # at a glance too
    assert "2,000 validation images" not in page

    accuracies = [name for name in numbers if name.endswith("_accuracy") and "labels_" in name]
    numbers |= {
        name.replace("_accuracy", "_validation_accuracy"): 0.9 if "mixture" in name else 0.5
        for name in accuracies
    }
    path.write_text(json.dumps(numbers | by_test | {"validation/images": 2000}))
    report.main([])
    page = text_of(written()[0])
    assert page.count("2,000 validation images") == 2
    assert len(re.findall(r"with 100 labels “mixture of codes”,[^.]* 91\.0 %", page)) == 2
    for size in ("10 labels", "1,000 labels", "all labels"):
        assert page.count(f"with {size} “") == 1
    assert "chosen on these same test images" not in page


def test_a_variational_run_is_shown_where_it_stands(places):
    assert report.main([]) == 0
    html, numbers = written()
    page = text_of(html)
    assert "The variational autoencoder" in page
    assert page.count("13.5") == 3  # in a sentence, its section and the table of samples
    assert "variational, beta 1 " in page
    assert re.search(r"units that depend on the image +11 ", page)
    assert "logs/ae/the-variational" in numbers["numbers"]

    (places.logs / "ae" / "the-variational" / "metrics.json").write_text("{")
    report.main(["--page-only"])
    page = text_of(written()[0])
    assert "the-variational/metrics.json is" in page
    assert "The variational autoencoder" not in page


def test_what_no_report_runs_is_shown_where_it_stands(places, capsys):
    report.main([])
    before, numbers = written()
    assert "with skips" not in before
    folder = write_run(step("skip"), places)
    assert report.main([]) == 0
    assert "skips" not in capsys.readouterr().out  # nothing of it is planned
    html, after = written()
    page = text_of(html)
    assert "with skips and no code +" in page
    assert "missing" not in page.lower()
    assert after["numbers"].keys() - numbers["numbers"].keys() == {"logs/ae/any-name"}

    (folder / "metrics.json").write_text("{")
    report.main([])
    page = text_of(written()[0])
    assert f"{folder}/metrics.json is" in page
    assert "with skips has not been run" not in page


def test_samples_around_neighbors_stand_beside_those_of_a_mixture(places):
    path = places.logs / "ae" / "the-tuned" / "metrics.json"
    names = ("fid", "classifier_score", "precision", "recall")
    around = dict.fromkeys((f"neighbors/{name}" for name in names), 7.5)
    path.write_text(json.dumps(json.loads(path.read_text()) | around))
    report.main([])
    page = text_of(written()[0])
    assert re.search(r"settings found, around neighbors +7.5 +7.50", page)
    assert "settings found, mixture of 100 12.2" in page


def test_the_importance_of_settings_is_shown_where_the_record_holds_it(places):
    path = places.tuning / "ae" / "record.json"
    found = json.loads(path.read_text())
    assert report.main(["--page-only"]) == 0
    html, _ = written()
    share, *ends = (100 * one for one in found["importance"]["error"]["settings"]["latent_dim"])
    ends = " to ".join(f"{end:.1f} %" for end in ends)
    assert f"error follows from latent dim with {share:.1f} % ({ends}" in text_of(html)
    figures = html.count("<img ")
    few = found | {"importance": None, "trials": found["trials"][-12:]}
    for record, text in (
        ({k: v for k, v in found.items() if k != "importance"}, "holds no importance of settings"),
        (few, "not estimated: 10 combinations were trained, 20 are needed"),
    ):
        path.write_text(json.dumps(record))
        report.main(["--page-only"])
        html, _ = written()
        assert text in text_of(html)
        assert html.count("<img ") == figures - 1


def test_a_small_search_and_another_page_are_told_apart(places):
    quick = dataclasses.replace(places, quick=True)
    assert steps.state_of(step("search"), quick).finished is None
    assert report.main(["--quick", "--page-only"]) == 0
    html, numbers = written()
    assert "its numbers are not results" in text_of(html)
    assert numbers == {"quick": True, "numbers": {}, "runs": {}}


def test_a_run_that_had_a_share_of_the_processors_says_so(places):
    path = places.logs / "gan" / "the-gan" / "environment.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"usable_processors": 1}))
    report.main(["--page-only"])
    html, numbers = written()
    assert "1 of 2 processor cores (P)" in text_of(html)
    assert numbers["runs"]["logs/gan/the-gan"]["usable_processors"] == 1
