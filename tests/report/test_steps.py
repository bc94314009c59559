"""The page of the whole study: which runs stand, what is run, what the page says of them."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import signal
import sys
from html import unescape
from pathlib import Path

import numpy as np
import pytest

from kerasunsup.data import images
from kerasunsup.errors import Interrupted
from kerasunsup.report import __main__ as report
from kerasunsup.report import process, steps

ROOT = Path(__file__).parents[2]
PNG = images.encode_png(np.zeros((30, 60, 1), np.uint8))
FIGURES = {
    "ae": (
        "learning_curve", "reconstructions", "restorations", "corruption_sweep", "encoded_space",
        "samples", "drawn_codes",
    ),
    "supervised": ("learning_speed", "confusion", "mistakes", "label_efficiency", "reliability"),
    "novelty": ("auroc", "overlooked"),
    "gan": (
        "samples_first_epochs", "samples_last_epochs", "adversarial_curves",
        "nearest_training_images", "categories",
    ),
}  # fmt: skip


REFERENCE = json.loads((ROOT / "docs" / "report.json").read_text(encoding="utf-8"))["numbers"]


def metrics_of(step: steps.Step) -> dict[str, float]:
    """Numbers like those of a full run."""
    if step.experiment == "ae":
        groups = {
            f"{name}_{measure}": 0.5 + 0.1 * place
            for place, name in enumerate(("pixels/kmeans", "latent/kmeans", "latent/graph"))
            for measure in ("accuracy", "nmi", "ari")
        }
        fixed = {"best_epoch": 50, "integers/fid": 261.1, "mixture_100/fid": 12.2}
        return REFERENCE["logs/ae/reference"] | groups | fixed
    if step.experiment == "supervised":
        return REFERENCE["logs/supervised/reference"]
    if step.experiment == "gan":
        return REFERENCE["logs/gan/reference"]
    return {
        f"{score}/auroc_{label}": 0.98 if score == "outliers" else 0.9
        for score in ("outliers", "error", "density", "neighbors", "code_error", "pca")
        for label in (*range(10), "mean")
    }


def history_of(step: steps.Step) -> str:
    if step.experiment == "supervised":
        rows = ["arm,labels,repetition,images,seconds,accuracy,loss"]
        for arm, start in (("finetuned", 0.6), ("scratch", 0.4)):
            for point in range(3):
                rows += [
                    f"{arm},all,{seed},{1280 * point},1.0,{start + 0.1 * point + 0.02 * seed},1.0"
                    for seed in range(2)
                ]
        return "\n".join(rows) + "\n"
    losses = [1.0 / epoch for epoch in range(1, 51)]
    rows = [f"{epoch},{loss},{loss}" for epoch, loss in enumerate(losses, start=1)]
    return "\n".join(["epoch,loss,val_loss", *rows]) + "\n"


def write_run(step: steps.Step, places: steps.Places, name: str = "any-name") -> Path:
    folder = places.logs / step.experiment / name
    (folder / "figures").mkdir(parents=True)
    environment = {
        "started": "2026-01-01T00:00:00+00:00", "seed": 0, "git_commit": "abc",
        "data": "aed86165739481fa",
        "python": "3.11", "processors": 2, "processor": "P", "platform": "L",
        "versions": {"keras": "3"},
    }  # fmt: skip
    for file, values in (
        ("config", steps.settings_of(step, places)),
        ("metrics", metrics_of(step)),
        ("environment", environment),
    ):
        (folder / f"{file}.json").write_text(json.dumps(values))
    (folder / "history.csv").write_text(history_of(step))
    for figure in FIGURES[step.experiment]:
        (folder / "figures" / f"{figure}.png").write_bytes(PNG)
    return folder


@pytest.fixture
def places(tmp_path, monkeypatch) -> steps.Places:
    """Everything stands, in the working directory."""
    monkeypatch.chdir(tmp_path)
    found = steps.Places(Path("logs"), Path("tuning"), quick=False)
    shutil.copytree(ROOT / "tuning" / "ae", tmp_path / "tuning" / "ae")
    for step in steps.STEPS:
        if not step.is_search:
            write_run(step, found, f"the-{step.key}")
    return found


def written() -> tuple[str, dict]:
    return Path("report.html").read_text(), json.loads(Path("report.json").read_text())


def text_of(html: str) -> str:
    """What a reader sees."""
    shown = re.sub(r"<style>.*?</style>|<[^>]+>", " ", html, flags=re.DOTALL)
    return " ".join(unescape(shown).split())


def step(key: str) -> steps.Step:
    (found,) = [one for one in steps.STEPS if one.key == key]
    return found


# ---------------------------------------------------------------------------------- what it shows


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
    assert len(numbers["numbers"]) == 8 + 3  # runs, and kinds of searches


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
    report.main([])
    first = Path("report.html").read_bytes()
    report.main([])
    assert Path("report.html").read_bytes() == first


def test_sentences_follow_the_numbers(places):
    report.main([])
    page = text_of(written()[0])
    assert "The validation error is lowest at epoch 50 of 50" in page
    assert "60.0 % below the best of the first 20 epochs" in page
    assert "261.1 from the test images" in page
    assert "fine-tuning is right in 71.0 % against 51.0 %" in page
    assert "area under the ROC curve of 98.0 %, beside 90.0 % by the residual of PCA" in page

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
    assert "does not cure it here: 900.0" in page
    assert "lowest at epoch 7 of 50, and the 43 epochs after it brought nothing" in page
    assert "one that never saw it loses 1.0 dB" in page
    assert re.search(
        r"a significant difference \(5 %, corrected for all comparisons of the run\): "
        r"[^;]* with 10 labels\. Fine-tuning less scratch, may be chance among so many: ",
        page,
    )


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
    words = "with 100 labels “graph of codes”, right in 97.0 % of the test images"
    assert page.count(words) == 2  # at a glance too
    assert page.count("It was chosen on these same test images") == 2
    assert "chosen by 2,000 validation images" not in page

    accuracies = [name for name in numbers if name.endswith("_accuracy") and "labels_" in name]
    numbers |= {
        name.replace("_accuracy", "_validation_accuracy"): 0.9 if "mixture" in name else 0.5
        for name in accuracies
    }
    path.write_text(json.dumps(numbers | by_test | {"validation/images": 2000}))
    report.main([])
    page = text_of(written()[0])
    assert page.count("The best of all ways, chosen by 2,000 validation images:") == 2
    assert page.count("with 100 labels “mixture of codes”, right in 91.0 % of the test images") == 2
    for size in ("10 labels", "1,000 labels", "all labels"):
        assert page.count(f"with {size} “") == 1
    assert "chosen on these same test images" not in page
    assert "MNIST's 5,000 validation images" in page


def test_the_page_says_that_the_gan_was_given_the_number_of_kinds(places):
    report.main([])
    page = text_of(written()[0])
    assert "our default (which saw no label, but was given that there are 10 kinds)" in page
    assert "The number of categories was given to it, not found" in page
    assert "the number of kinds is knowledge that the study's game was not given" in page


def test_a_small_search_and_another_page_are_told_apart(places):
    quick = dataclasses.replace(places, quick=True)
    assert steps.state_of(step("search"), quick).finished is None
    assert report.main(["--quick", "--page-only"]) == 0
    html, numbers = written()
    assert "its numbers are not results" in text_of(html)
    assert numbers == {"quick": True, "numbers": {}, "runs": {}}


# -------------------------------------------------------------------------------- what is missing


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
@pytest.mark.parametrize("content", ["{", "[]", ""])
def test_a_damaged_run_is_named_and_not_used(places, file, content):
    folder = places.logs / "gan" / "the-gan"
    (folder / file).write_text(content)
    state = steps.state_of(step("gan"), places)
    assert state.finished is None
    assert any(str(folder / file) in problem for problem in state.problems)
    report.main(["--page-only"])
    assert str(folder / file) in text_of(written()[0])


def test_a_run_of_zeros_is_named_and_not_used(places):
    path = places.logs / "gan" / "the-gan" / "metrics.json"
    for values in (dict.fromkeys(metrics_of(step("gan")), 0.0), {}, {"fid": None, "kid": "1"}):
        path.write_text(json.dumps(values))
        state = steps.state_of(step("gan"), places)
        assert state.finished is None
        assert state.problems == [f"{path} is senseless (no number but 0): remove the run"]


def changed(folder: Path, **values) -> None:
    """Writes other numbers into a run's metrics.json; `mse` stands for all names that end so."""
    path = folder / "metrics.json"
    numbers = json.loads(path.read_text())
    for ending, value in values.items():
        numbers |= {name: value for name in numbers if re.search(rf"(^|[/_]){ending}$", name)}
    path.write_text(json.dumps(numbers))


@pytest.mark.parametrize(
    "value",
    [float("nan"), 0.0, -3, float("inf"), 10**400, None, True, "0.5", [1], {"a": 1}],
    ids=lambda value: repr(value)[:10],
)
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
    assert page.count("logs/ae/the-clean/metrics.json has no test/ssim, real/fid") == 1


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
    page = text_of(written()[0])
    shown = page[page.index("What is missing or damaged", page.index("Runs, settings")) :]
    assert "history.csv" in shown
    assert "the-supervised/history.csv" in shown


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
    ]


def test_every_damage_of_a_record_is_named_and_the_page_is_written(places):
    for place in (Path("record.json"), Path("random") / "record.json"):
        path = places.tuning / "ae" / place
        whole = path.read_text()
        for key, value in damages(json.loads(whole)):
            path.write_text(json.dumps(json.loads(whole) | {key: value}))
            assert report.main(["--page-only"]) == 0
            assert f"{path} is damaged" in text_of(written()[0]), (key, value)
        path.write_text("[" * 100_000)
        assert report.main(["--page-only"]) == 0
        assert f"{path} is damaged" in text_of(written()[0])
        path.write_text(whole)


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


# ----------------------------------------------------------------------------------- what is run


def test_a_run_of_other_settings_does_not_stand_for_a_step(places):
    path = places.logs / "ae" / "the-noise" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"noise": 0.3}))
    assert steps.state_of(step("noise"), places).finished is None
    (places.logs / "ae" / "the-clean" / "metrics.json").unlink()
    assert steps.state_of(step("clean"), places).unfinished == "the-clean"


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

    def run_step(state, where):
        began.append(state.step.key)
        if state.step.key == "gan":
            state.problems.append("it ended with status 2")
        else:
            write_run(state.step, where)

    monkeypatch.setattr(steps, "run_step", run_step)
    assert report.main([]) == 1
    assert began == ["gan", "gan_study"]
    assert "ran 2 of 9 steps" in capsys.readouterr().out
    page = text_of(written()[0])
    assert "it ended with status 2" in page
    assert "the GAN has not been run" in page


def test_a_step_is_started_as_a_user_would_with_a_free_name(places, monkeypatch):
    started = []
    monkeypatch.setattr(process, "run", lambda command: started.append(command) or 0)
    (places.logs / "gan" / "report-gan").mkdir()
    steps.run_step(steps.State(step("gan")), places)
    steps.run_step(steps.State(step("noise"), unfinished="half"), places)
    steps.run_step(steps.State(step("search")), dataclasses.replace(places, quick=True))
    steps.run_step(steps.State(step("tuned")), places)
    begin = [sys.executable, "-m"]
    logs = ["--logs", "logs"]
    small = ["--tuning", "tuning/quick", "--quick"]
    assert started == [
        [*begin, "kerasunsup.gan", *logs, "--name", "report-gan-2"],
        [*begin, "kerasunsup.ae", *logs, "--resume", "--name", "half"],
        [*begin, "kerasunsup.ae", *logs, "--tune", "--search-only", *small],
        [*begin, "kerasunsup.ae", *logs, "--config", "tuning/ae/best.json", "--name",
         "report-tuned"],
    ]  # fmt: skip
    state = steps.State(step("tuned"))
    steps.run_step(state, dataclasses.replace(places, quick=True))
    assert state.problems == [f"{step('tuned').title}: there is no search's answer to be trained"]


def test_what_a_command_ends_with_is_told(places, monkeypatch):
    monkeypatch.setattr(process, "run", lambda command: 2)
    state = steps.State(step("gan"))
    steps.run_step(state, places)
    assert state.problems == [
        "python -m kerasunsup.gan ended with status 2; its last lines say why"
    ]
    monkeypatch.setattr(process, "run", lambda command: 130)
    with pytest.raises(Interrupted, match="the same command goes on"):
        steps.run_step(state, places)


def test_a_stopped_report_says_how_it_goes_on_and_leaves_the_page_as_it_was(
    places, monkeypatch, capsys
):
    Path("report.html").write_text("an earlier page")
    shutil.rmtree(places.logs / "gan")
    monkeypatch.setattr(process, "run", lambda command: 130)
    assert report.main([]) == 130
    assert capsys.readouterr().err == (
        "kerasunsup report: stopped; what is finished is kept, the same command goes on: "
        "python -m kerasunsup.report\n"
    )
    assert Path("report.html").read_text() == "an earlier page"


def test_a_report_that_is_told_to_end_says_how_it_goes_on(places, monkeypatch, capsys):
    for number in (signal.SIGTERM, signal.SIGHUP):
        before = signal.getsignal(number)
        monkeypatch.setattr(report, "write", lambda *_, n=number: signal.raise_signal(n))
        assert report.main(["--page-only", "--output", "a page.html"]) == 130
        assert capsys.readouterr().err == (
            "kerasunsup report: stopped; what is finished is kept, the same command goes on: "
            "python -m kerasunsup.report --page-only --output 'a page.html'\n"
        )
        assert signal.getsignal(number) == before


# -------------------------------------------------------------------------------------- bad input


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
