"""The numbers of the README and the pages in docs are those that were measured."""

from __future__ import annotations

import datetime
import json
import re
import statistics

from readme_pages import README, ROOT, TEXT

from kerasunsup.ae.settings import AutoencoderSettings
from kerasunsup.novelty.settings import OUTLIER_SCORES
from kerasunsup.settings import read_config
from kerasunsup.supervised.settings import METHOD_NAMES, SupervisedSettings

REPORT = json.loads((ROOT / "docs" / "report.json").read_text(encoding="utf-8"))
# MNIST alone, by a later commit.
ONE_COMMAND = json.loads((ROOT / "docs" / "report_one_command.json").read_text(encoding="utf-8"))
AE = {
    name: REPORT["numbers"][f"logs/ae/report-{name}"]
    for name in ("clean", "noise", "crop", "tuned", "variational")
}
GAN = {name: REPORT["numbers"][f"logs/gan/report-{name}"] for name in ("gan", "gan_study")}
SUPERVISED = REPORT["numbers"]["logs/supervised/report-supervised"]
NOVELTY = REPORT["numbers"]["logs/novelty/report-novelty"]
TUNING = ROOT / "tuning" / "ae"
COST = json.loads((ROOT / "docs" / "search_cost.json").read_text(encoding="utf-8"))["rows"]
SPEED = json.loads((ROOT / "docs" / "training_speed.json").read_text(encoding="utf-8"))["rows"]


def measurement(name: str) -> dict:
    """What a benchmark has written."""
    return json.loads((ROOT / "docs" / f"{name}.json").read_text(encoding="utf-8"))


def are_near(text: str, *parts: str) -> bool:
    """Whether these stand in a text in this order, with a few words between them."""
    return bool(re.search(".{0,80}?".join(map(re.escape, parts)), " ".join(text.split())))


def row(start: str) -> list[str]:
    """The cells of the one table row that begins so."""
    (line,) = [line for line in TEXT.splitlines() if line.startswith(f"| {start} |")]
    return [cell.strip() for cell in line.strip("|").split("|")[1:]]


def test_table_of_first_weights_is_what_was_measured():
    rows = measurement("first_weights")["rows"]
    slow, fast = (rows[f"3 stages, learning rate {rate}"] for rate in ("0.001", "0.003"))
    for name, ways in (
        ("Keras's own (before)", "Keras's own"),
        ("for ReLU", "for ReLU"),
        ("Keras's own, mean image", "Keras's own, mean image"),
        ("for ReLU, mean image (now)", "for ReLU, mean image"),
    ):
        assert row(name) == [f"{rates[ways][0][-1]:.4f}" for rates in (slow, fast)]
    one = rows["1 stages, learning rate 0.003, 20,000 images"]
    ways = ("Keras's own", "Keras's own, mean image", "for ReLU, mean image")
    assert are_near(TEXT, *(f"{one[way][-1]:.4f}" for way in ways))


def test_numbers_of_the_larger_autoencoder_are_what_was_measured():
    measured = measurement("larger")
    found, usual = measured["metrics"], AE["clean"]
    errors = [f"{found[name]:.5f}" for name in ("test/mse", "validation/mse")]
    minutes = f"{found['training_seconds'] / 60:.0f} minutes on one"
    assert are_near(TEXT, "It ends at", *errors, f"commit {measured['commit']}", minutes)
    assert f"falls to {found['test/mse'] / usual['test/mse']:.2f} times" in TEXT
    assert f"; larger network, deformed images {errors[0]}" in TEXT
    shorter, without = (
        f"{measured[name]['metrics']['test/mse']:.5f}"
        for name in ("forty-five epochs", "without deformation")
    )
    assert are_near(TEXT, "With `--epochs 45` it ends at", shorter, f"45 epochs end at {without}")
    distances = (f"{found['reconstructed/fid']:.2f}", f"{found['mixture_100/fid']:.1f}")
    assert are_near(TEXT, *distances, f"{100 * found['latent/graph_accuracy']:.1f} % of the test")
    keys = ("fid", "classifier_score", "precision", "recall")
    samples = (f"{found[f'neighbors/{key}']:.2f}" for key in keys)
    assert are_near(TEXT, "come to distance", *samples)
    shares = (measured["nearest"][key][1] for key in ("neighbors", "reconstructed test"))
    assert are_near(TEXT, *(f"{100 * share:.1f} %" for share in shares))


def test_table_of_codes_of_two_numbers_is_what_was_measured():
    measured = measurement("two_numbers")
    for name, found in ((name, row["metrics"]) for name, row in measured["rows"].items()):
        assert row(f"two numbers: {name}") == [
            f"{found['test/mse']:.4f}",
            percent(found["latent/graph_accuracy"]),
            f"{found['reconstructed/fid']:.0f}",
            f"{found['reconstructed/recall']:.2f}",
            f"{found['training_seconds'] / 60:.1f}",
        ]
        simpler = (f"{found[f'{kind}/mse']:.4f}" for kind in ("pca", "mean_image"))
        assert are_near(TEXT, "Two principal components have an error of", *simpler)
    assert f"commit {measured['commit']}, 2026-11-27 ([docs/two_numbers" in " ".join(TEXT.split())


def test_clustering_table_is_what_was_measured():
    rows = json.loads((ROOT / "docs" / "clustering.json").read_text(encoding="utf-8"))["rows"]
    shown = [name for name in rows if f"| {name} |" in TEXT]
    assert len(shown) == 5
    for name in shown:
        assert row(name) == [f"{rows[name][key]:.3f}" for key in ("accuracy", "nmi", "ari")]
    assert rows["the same, number by the largest gap"]["groups"] == 8
    assert rows["graph of codes, ten groups (apply cluster)"]["accuracy"] >= 0.9


def test_table_of_chosen_labels_is_what_was_measured():
    measured = measurement("select")
    for images in (55_000, 20_000):
        for way in ("chosen", "random", "random, balanced"):
            rows = [row for row in measured[f"{images} images"] if row["way"] == way]

            def cell(count, name, scale, rows=rows):
                values = [scale * row[name] for row in rows if row["count"] == count]
                assert len(values) == 5
                return f"{statistics.mean(values):.1f} ({min(values):.1f})"

            spread = [cell(count, "spread", 100) for count in (10, 100, 1000)]
            shown = [cell(10, "classes", 1), *spread, cell(10, "named", 100)]
            assert row(f"{way}, of {images:,}") == shown


def percent(value: float, digits: int = 1) -> str:
    return f"{100 * value:.{digits}f} %"


def best_arm(size: str) -> str:
    """Chosen by validation images; runs of older versions kept no accuracy on them."""
    for kind in ("validation_accuracy", "accuracy"):
        names = {arm: f"labels_{size}/{arm}_{kind}" for arm in METHOD_NAMES}
        found = {arm: SUPERVISED[name] for arm, name in names.items() if name in SUPERVISED}
        if found:
            return max(found, key=found.__getitem__)
    raise KeyError(size)


def test_the_table_of_results_is_the_report():
    ae, tuned, noise = AE["clean"], AE["tuned"], AE["noise"]
    ours, study = GAN["gan"], GAN["gan_study"]
    few = SUPERVISED[f"labels_100/{best_arm('100')}_accuracy"]
    seeds = measurement("student_labels")["mnist_100"]["rows"][""]
    student = statistics.mean(run["test_accuracy"] for run in seeds)
    expected = {
        "reconstruction error (MSE), 32 numbers an image": (
            f"{ae['test/mse']:.5f}; settings found {tuned['test/mse']:.5f}; larger network, "
            f"deformed images {measurement('larger')['metrics']['test/mse']:.5f}"
        ),
        "noise of sigma 0.4 removed, gain of PSNR": f"{noise['noise_0.4/gain_db']:.1f} dB",
        "distance of samples from the autoencoder's codes": (
            f"random integers {ae['integers/fid']:.1f}, mixture of 100 {ae['mixture_100/fid']:.1f},"
            f" around neighbors (settings found) {tuned['neighbors/fid']:.1f}"
        ),
        "GAN: classifier score, precision, recall": (
            f"{ours['classifier_score']:.2f}, {ours['precision']:.2f}, {ours['recall']:.2f}"
        ),
        "the study's own game": (
            f"{study['classifier_score']:.2f}, {study['precision']:.2f}, {study['recall']:.2f}"
        ),
        "100 labels, test accuracy": f"{percent(few)}; student {percent(student)}",
        "all labels, fine-tuned encoder": (
            f"{percent(SUPERVISED['labels_all/finetuned_accuracy'], 2)}"
        ),
        "outliers, one class against the rest, AUROC": (
            f"{percent(NOVELTY['outliers/auroc_mean'])}; average rank of four scores"
            f" {percent(NOVELTY['ranks/auroc_mean'])}"
        ),
        "ten groups without labels, accuracy": (
            f"{ae['latent/graph_accuracy']:.3f}; student, settings found, "
            f"{tuned['latent/student_accuracy']:.3f}"
        ),
    }
    for start, cell in expected.items():
        assert row(start)[0] == cell
    compared = row("reconstruction error (MSE), 32 numbers an image")[1]
    assert f"PCA {ae['pca/mse']:.5f}" in compared
    assert (
        f"PCA's residual {percent(NOVELTY['pca/auroc_mean'])}"
        in row("outliers, one class against the rest, AUROC")[1]
    )
    beside = row("distance of samples from the autoencoder's codes")[1]
    assert f"real images {ae['real/fid']:.1f}; the GAN's samples {ours['fid']:.1f}" in beside
    groups = row("ten groups without labels, accuracy")[1]
    kmeans = (f"{ae[f'{of}/kmeans_accuracy']:.3f}" for of in ("pixels", "latent"))
    assert "k-means on pixels {}, on codes {}".format(*kmeans) in groups
    real = ", ".join(
        f"{ours[f'real/{k}']:.2f}" for k in ("classifier_score", "precision", "recall")
    )
    assert f"real images {real}" in row("GAN: classifier score, precision, recall")[1]
    assert (
        f"scratch {percent(SUPERVISED['labels_100/scratch_accuracy'])}"
        in row("100 labels, test accuracy")[1]
    )
    assert (
        f"scratch {percent(SUPERVISED['labels_all/scratch_accuracy'], 2)}"
        in row("all labels, fine-tuned encoder")[1]
    )


def test_what_became_worse_or_better_is_the_report():
    ours, study, ae, tuned = GAN["gan"], GAN["gan_study"], AE["clean"], AE["tuned"]
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").split("### Coming from 0.1")[1]
    front = record("hyperband")["front"]
    (largest,) = (one for one in record("hyperband")["trials"] if one["trial"] == front["64"])
    for words in (
        f"distance {ae['mixture_100/fid']:.1f}, where", f"recall of the GAN ({ours['recall']:.2f},",
        f"own game (score {study['classifier_score']:.2f},",
        f"groups of the usual codes ({ae['latent/graph_accuracy']:.3f},",
        f"default score ({percent(NOVELTY['outliers/auroc_mean'])},",
        f"all labels ({percent(SUPERVISED['labels_all/finetuned_accuracy'], 2)},",
        f"code size 64 ({largest['validation_mse']:.5f},",
        f"reconstruction ({ae['test/mse']:.5f},", f"settings found {tuned['test/mse']:.5f},",
        f"noise ({AE['noise']['noise_0.4/gain_db']:.1f} dB,",
        f"around neighbors ({tuned['neighbors/fid']:.1f})",
    ):  # fmt: skip
        assert words in " ".join(changes.split())


def test_numbers_that_pages_repeat_are_the_report():
    ae, tuned, ours, study = AE["clean"], AE["tuned"], GAN["gan"], GAN["gan_study"]
    apply = (ROOT / "docs" / "apply.md").read_text(encoding="utf-8")
    area = percent(NOVELTY["outliers/auroc_mean"])
    assert f"area under the ROC curve of {area}" in " ".join(apply.split())
    distances = [ae["mixture_100/fid"], tuned["mixture_100/fid"], tuned["neighbors/fid"]]
    shown = (f"{distance:.1f}" for distance in distances)
    assert are_near(apply, "samples have a distance of", *shown, f"{ours['fid']:.2f} ")
    keys = ("classifier_score", "precision", "recall")
    for title, numbers, prefix in (
        ("the autoencoder, mixture of 100", ae, "mixture_100/"),
        ("the autoencoder with the settings found, [around neighbors](autoencoder.md#new-samples)",
         tuned, "neighbors/"),
    ):  # fmt: skip
        cells = [f"{numbers[prefix + key]:.2f}" for key in keys]
        assert row(title) == [*cells, "", f"{numbers[f'{prefix}fid']:.2f}", ""]
    times = study["fid"] / ours["fid"]
    assert are_near(TEXT, f"ends at score {study['classifier_score']:.2f} and at {times:.1f} times")
    assert are_near(TEXT, f"here {percent(ours['nearest/closer_share'])}, for real images 1 %")


def test_the_reference_report_is_whole_and_names_no_place():
    assert REPORT["quick"] is False
    assert set(REPORT["numbers"]) <= {*REPORT["runs"], "tuning/ae/grid", "tuning/ae/random"}
    assert len(REPORT["runs"]) >= 10
    (commit,) = {source["git_commit"] for source in REPORT["runs"].values()}
    assert re.fullmatch(r"[0-9a-f]{40}", commit)
    assert f"commit {commit[:7]}" in README
    text = (ROOT / "docs" / "report.json").read_text(encoding="utf-8")
    assert not re.search(r"/(home|root|work|tmp|Users)/", text)


def test_result_table_is_the_reference_run():
    numbers = AE["clean"]
    assert row("mean squared error")[:2] == [
        f"{numbers['test/mse']:.5f}",
        f"{numbers['pca/mse']:.5f}",
    ]
    assert row("PSNR, dB")[0] == f"{numbers['test/psnr_db']:.2f}"
    assert row("SSIM")[0] == f"{numbers['test/ssim']:.3f}"


def test_restoration_table_is_the_reference_runs():
    names = ("noise_0.2", "noise_0.4", "noise_0.6", "crop_8", "crop_12")
    for start, run in (
        ("clean images", "clean"), ("`--noise 0.4`", "noise"), ("`--crop 8`", "crop"),
    ):  # fmt: skip
        numbers = AE[run]
        gains = [f"{numbers[f'{name}/gain_db']:.1f}" for name in names]
        assert row(start) == [*gains, f"{numbers['test/mse']:.5f}"]


def test_sample_table_is_the_reference_run():
    numbers = AE["clean"]
    for start, name in (
        ("real validation images", "real"), ("reconstructions", "reconstructed"),
        ("random integers (the study)", "integers"), ("one Gaussian", "gaussian"),
        ("mixture of 10", "mixture_10"), ("mixture of 100", "mixture_100"),
    ):  # fmt: skip
        assert row(start) == [
            f"{numbers[f'{name}/fid']:.1f}", f"{numbers[f'{name}/classifier_score']:.2f}",
            f"{numbers[f'{name}/precision']:.2f}", f"{numbers[f'{name}/recall']:.2f}",
        ]  # fmt: skip


def test_reference_run_meets_what_the_study_led_us_to_expect():
    assert AE["clean"]["test/mse"] <= 0.0043
    assert AE["noise"]["noise_0.4/gain_db"] >= 8.0
    assert AE["clean"]["mixture_100/fid"] < AE["clean"]["integers/fid"] / 10
    assert GAN["gan"]["classifier_score"] >= 9.5
    assert GAN["gan"]["smallest_class_share"] >= 0.08
    assert NOVELTY["outliers/auroc_mean"] >= 0.97
    assert AE["clean"]["latent/graph_accuracy"] >= 0.9


def record(kind: str) -> dict:
    path = TUNING / "record.json" if kind == "hyperband" else TUNING / kind / "record.json"
    return json.loads(path.read_text(encoding="utf-8"))


def test_committed_search_is_a_whole_one_and_best_json_is_what_it_found():
    found = record("hyperband")
    best = read_config(AutoencoderSettings, TUNING / "best.json")
    winner = next(t for t in found["trials"] if t["trial"] == found["front"]["32"])
    assert {name: best[name] for name in winner["settings"]} == winner["settings"]
    assert (best["latent_dim"], best["data"], best["limit"]) == (32, "mnist", None)
    assert len(found["trials"]) == sum(rung["trials"] for rung in found["plan"])
    assert found["seconds"] < 45 * 60
    wrong = r"/(home|root|work|tmp|Users)/"
    assert not re.search(wrong, (TUNING / "record.json").read_text(encoding="utf-8"))


def test_search_tables_are_the_records():
    best = json.loads((TUNING / "best.json").read_text(encoding="utf-8"))
    assert row("learning rate")[2] == f"{best['learning_rate']:.4f}"
    assert row("weight decay")[2] == f"{best['weight_decay']:g}, decoupled"
    tuned = AE["tuned"]["test/mse"]
    assert row("test error (MSE)")[1:] == [
        f"{AE['clean']['test/mse']:.5f}", f"{tuned:.5f}",
    ]  # fmt: skip
    assert tuned <= 0.0036
    found = record("hyperband")
    trials = {trial["trial"]: trial for trial in found["trials"]}
    sizes = ("8", "16", "32", "64")
    front = [trials[found["front"][size]] for size in sizes]
    assert {trial["last_epoch"] for trial in front} == {20}
    assert row("validation error after 20 epochs") == [f"{t['validation_mse']:.5f}" for t in front]
    assert row("PCA of that size") == [f"{found['reference'][size]:.5f}" for size in sizes]
    for start, kind in (("Hyperband", "hyperband"), ("random", "random"), ("grid", "grid")):
        other = record(kind)
        assert other["fingerprint"]["data"] == found["fingerprint"]["data"]
        ended = [t for t in other["trials"] if t["settings"]["latent_dim"] == 32 and t["score"]]
        winner = min(ended, key=lambda trial: trial["validation_mse"])
        error = f" +- {winner['standard_error']:.5f}" if "standard_error" in winner else ""
        assert row(start) == [
            str(len(other["trials"])), f"{other['epochs']:,}", f"{other['seconds'] / 60:.0f} min",
            f"{winner['validation_mse']:.5f}{error}", str(winner["last_epoch"]),
        ]  # fmt: skip


def test_the_importance_of_settings_is_the_records():
    found = record("hyperband")["importance"]
    error, score = found["error"], found["score"]
    percents = [
        f"{100 * share:.0f} %"
        for share in (
            error["explained"], error["settings"]["latent_dim"][0], score["explained"],
            *(score["settings"][name][0] for name in ("latent_dim", "learning_rate")),
            score["settings"]["weight_decay"][0],
        )
    ]  # fmt: skip
    text = (ROOT / "docs" / "search.md").read_text(encoding="utf-8").split("Which setting")[1]
    assert re.findall(r"\d+ %", text)[: len(percents)] == percents


def test_search_cost_table_is_the_measurement():
    shown = {
        "kerasunsup": "this search",
        "keras_tuner.Hyperband": "`keras_tuner.Hyperband`",
        "kerasunsup, a model a trial": "this search, a model built for each trial",
    }
    assert set(shown) == set(COST)
    for name, rounds in COST.items():
        mean = {key: statistics.fmean(measured[key] for measured in rounds) for key in rounds[0]}
        assert row(shown[name]) == [
            f"{mean['seconds']:.0f}", f"{mean['most_bytes'] / 1e6:.1f}",
            f"{mean['bytes_left'] / 1e6:.1f}", f"{mean['best_mse']:.5f}",
        ]  # fmt: skip


def test_speed_table_is_the_measurement():
    for name, measured in SPEED.items():
        assert row(name) == [f"{measured['images_per_second']:,.0f}", f"{measured['ratio']:.2f}"]


def test_gan_table_is_the_reference_run():
    names = {
        "classifier_score": ".2f", "precision": ".2f", "recall": ".2f",
        "smallest_class_share": ".3f", "fid": ".2f", "kid": ".3f",
    }  # fmt: skip
    for start, run, prefix in (
        ("real validation images, against test images", "gan", "real/"),
        ("the GAN, 100 epochs", "gan", ""),
        ("its last weights, statistics settled", "gan", "last_weights/"),
        ("its last weights as trained", "gan", "running_statistics/"),
        ("`--preset study`, 100 epochs", "gan_study", ""),
    ):
        numbers = GAN[run]
        assert row(start) == [f"{numbers[prefix + name]:{form}}" for name, form in names.items()]
    assert f"ratio of medians {GAN['gan']['nearest/distance_ratio']:.2f}" in TEXT


def test_table_of_gan_settings_is_the_measurement():
    digits = {
        "fid": 1, "precision": 2, "recall": 2, "classifier_score": 2, "smallest_class_share": 3,
    }  # fmt: skip
    measured = measurement("gan_settings")
    assert len(measured["seeds"]) >= 3
    base = [result["classifier_score"] for result in measured["rows"]["as it is"]]
    for name, results in measured["rows"].items():
        columns = [([result[key] for result in results], form) for key, form in digits.items()]
        changes = [result["classifier_score"] - b for result, b in zip(results, base, strict=True)]
        if name != "as it is":
            columns.append((changes, 2))
        cells = [
            f"{statistics.fmean(values):.{form}f} ± {statistics.stdev(values):.{form}f}"
            for values, form in columns
        ]
        assert [cell for cell in row(name) if cell] == cells


def test_table_of_the_relativistic_game_is_the_measurement():
    found = measurement("gan_losses")
    for name, (numbers,) in found["rows"].items():
        assert row(f"ten epochs: {name}") == [
            f"{numbers['fid']:.1f}",
            *(f"{numbers[key]:.2f}" for key in ("precision", "recall", "classifier_score")),
        ]
    assert f"real images {found['real']:.2f}):" in TEXT
    longer = found["15 epochs, 32 filters"]
    measured = (f"{longer[name]:.2f}" for name in ("fid", "precision", "recall"))
    words = "to distance {}, precision {} and recall {}".format(*measured)
    assert words in " ".join(TEXT.split())
    longest = found["60 epochs, 32 filters"]
    keys = ("fid", "precision", "recall", "classifier_score")
    assert are_near(TEXT, "Sixty epochs", *(f"{longest[key]:.2f}" for key in keys))
    by_epoch = longest["distance to training images by epoch"]
    assert are_near(TEXT, f"{by_epoch['50']:.2f} at epoch 50", f"{by_epoch['60']:.2f}")
    assert are_near(TEXT, f"nothing copied ({100 * longest['nearest/closer_share']:.1f} %")


def test_table_of_wide_gans_is_the_measurement():
    found = measurement("gan_losses")["64 filters"]
    for name, numbers in found["rows"].items():
        assert row(name) == [
            f"{numbers['training_seconds'] / 60:.0f}", f"{numbers['fid']:.2f}",
            f"{numbers['kid']:.3f}",
            *(f"{numbers[key]:.2f}" for key in ("precision", "recall", "classifier_score")),
        ]  # fmt: skip
    *_, best = found["rows"].values()
    seeds = found["more seeds"]["rows"]
    for name, numbers in seeds.items():
        assert row(f"64 filters: the same, {name}")[1:] == [
            f"{numbers['fid']:.2f}", f"{numbers['kid']:.3f}",
            *(f"{numbers[key]:.2f}" for key in ("precision", "recall", "classifier_score")),
        ]  # fmt: skip
    distances = [best["fid"], *(numbers["fid"] for numbers in seeds.values())]
    mean, deviation = statistics.fmean(distances), statistics.stdev(distances)
    assert are_near(
        TEXT, f"commit {found['more seeds']['commit']}", f"{mean:.2f} ± {deviation:.2f}"
    )
    trial = found["a trial: the penalty falls with the learning rate"]
    one, two = trial["rows"].values()
    assert are_near(TEXT, f"seed 1 ended at {one['fid']:.2f}", f"seed 2 at {two['fid']:.2f}")
    assert are_near(TEXT, f"recall {one['recall']:.2f} and {two['recall']:.2f}", "training images")
    real = best["real"]["fid"]
    assert are_near(TEXT, f"is {best['fid'] - real:.2f} from what real", f"({real:.2f})")
    assert f"default is {GAN['gan']['fid'] - real:.2f} from it" in " ".join(TEXT.split())
    assert are_near(TEXT, "copied", f"({100 * best['nearest/closer_share']:.1f} % of its samples")
    assert are_near(TEXT, f"(recall {best['recall']:.2f} beside {best['real']['recall']:.2f})")
    assert are_near(TEXT, f"commit {found['commit']}", "gan_losses.json")


def test_rows_of_the_larger_denoisers_are_the_measurement():
    found = measurement("denoiser")
    wider = found["twice the filters"]
    names = [f"{kind}/gain_db" for kind in (
        "noise_0.1", "noise_0.2", "noise_0.4", "noise_0.6", "crop_8", "crop_12",
    )]  # fmt: skip
    shorter = float(row("`--skip --epochs 13 --schedule cosine`")[2])
    for of_run, numbers, more in (
        ("--epochs 26", found["numbers"], "Twice the epochs gain"),
        ("--filters 64 --epochs 13", wider["numbers"], "twice the filters"),
    ):
        assert row(f"`--skip {of_run} --schedule cosine`") == [
            *(f"{round(numbers[name], 1) + 0.0:.1f}" for name in names),
            f"{numbers['test/mse']:.5f}",
        ]
        gained = numbers["noise_0.4/gain_db"] - shorter
        assert are_near(TEXT, f"{more} {gained:.1f} dB", "training and validation error")
        commit = (wider if numbers is wider["numbers"] else found)["commit"]
        minutes = f"{numbers['training_seconds'] / 60:.1f} minutes of one core"
        assert are_near(TEXT, f"commit {commit}", minutes)
    errors = {f"{found['numbers'][f'{part}/mse']:.5f}" for part in ("training", "validation")}
    assert len(errors) == 1
    assert f"({errors.pop()}): longer trainings" in " ".join(TEXT.split())


def test_table_of_categories_is_the_measurement():
    found = measurement("gan_categories")
    for name, runs in found["rows"].items():
        columns = [
            ([run[key] for run in runs], digits)
            for key, digits in (
                ("fid", 1), ("precision", 2), ("recall", 2), ("classifier_score", 2),
            )
        ]  # fmt: skip
        assert row(f"twenty epochs: {name}") == [
            f"{statistics.fmean(values):.{digits}f} ± {statistics.stdev(values):.{digits}f}"
            for values, digits in columns
        ]
    hundred = (f"{GAN['gan']['fid']:.1f}", f"{GAN['gan']['recall']:.2f}")
    assert are_near(TEXT, "hundred epochs of 32 filters (distance {}, recall {})".format(*hundred))
    seconds = found["training_seconds"]["as it is"]
    assert 170 < min(seconds) <= max(seconds) < 260  # three to four minutes


def test_tables_of_apply_are_the_measurements():
    for name, found in measurement("filling")["rows"].items():
        assert row(f"{name} pixels") == [f"{value:.1f}" for value in found.values()]
    for verb, cost in measurement("apply")["rows"].items():
        assert row(f"`{verb}`") == [
            f"{cost['images_per_second_1']:,}", f"{cost['images_per_second_256']:,}",
            str(max(cost["megabytes_1"], cost["megabytes_256"])),
            str(cost["seconds_for_300_256"]),
        ]  # fmt: skip
    for name, found in measurement("near_duplicates")["rows"].items():
        assert row(name) == [f"{found['found']} of {found['copies']}"]


def test_table_of_the_contrastive_encoder_is_the_measurement():
    (run,) = measurement("contrastive")["runs"]
    numbers = run["numbers"]
    for title, usual, other in (
        ("linear probe", "linear_probe", "contrastive"),
        ("encoder fine-tuned", "finetuned", "contrastive_finetuned"),
        ("graph of codes", "graph", "contrastive_graph"),
    ):
        for size in (100, 10_000):
            keys = [f"labels_{size}/{method}_accuracy" for method in (usual, other)]
            assert row(f"{title}, {size:,} labels") == [
                f"{100 * numbers[key]:.1f} ± {100 * numbers[f'{key}_std']:.1f}" for key in keys
            ]
    for title, name in (
        ("ten groups of test images, no label", "groups"),
        ("ten groups of 20,000 training images", "groups_training"),
    ):
        keys = [f"{encoder}/{name}_accuracy" for encoder in ("encoder", "contrastive")]
        assert row(title) == [f"{100 * numbers[key]:.1f}" for key in keys]
    for name in ("encoder", "contrastive"):
        assert f"{numbers[f'{name}/seconds']:.0f} s" in TEXT
    varied = measurement("contrastive")["variations"]["rows"]
    usual = varied.pop("reconstruction, all 20 epochs")
    shares = {key: [found[key] for found in varied.values()] for key in usual}
    ends = [f"{100 * end(shares[key]):.1f}" for key in usual for end in (min, max)]
    probe, graph = (f"{100 * usual[key]:.1f}" for key in usual)
    text = " ".join(TEXT.split())
    assert f"right in {ends[0]} to {ends[1]} % of the validation images" in text
    assert f"in {ends[2]} to {ends[3]} % by the graph" in text
    assert f"where reconstruction has {probe} and {graph}" in text


def test_groups_of_more_codes_are_better():
    sizes = measurement("group_numbers")["sizes"]
    text = " ".join(TEXT.split())
    for size in ("20000", "30000", "40000"):
        least, most = (f"{100 * end(sizes[size]):.1f}" for end in (min, max))
        between = "codes are right in" if size == "20000" else "in"
        assert f"{int(size):,} {between} {least} to {most} %" in text
    assert f"of all 55,000 in {percent(sizes['55000'][0])}" in text


def test_the_student_is_as_right_as_was_measured():
    (seeds,) = measurement("student")["rows"].values()
    assert row("training images, graph of codes") == [f"{seed['groups']:.3f}" for seed in seeds]
    # Each network is measured when it is taught and after four epochs.
    for title, epoch in {
        "groups taught": 0, "first network": 4, "second network": 9, "third network": 14
    }.items():  # fmt: skip
        right = [f"{seed['epochs'][epoch]['accuracy']:.3f}" for seed in seeds]
        assert row(f"validation, {title}") == right
    assert row("test, third network") == [f"{seed['test_accuracy']:.3f}" for seed in seeds]
    seconds = [seed["groups_seconds"] + seed["epochs"][-1]["seconds"] for seed in seeds]
    assert row("seconds, groups included") == [f"{second:.0f}" for second in seconds]
    for least in (0.95, 0.97, 0.98):
        until = [
            seed["groups_seconds"]
            + min(one["seconds"] for one in seed["epochs"] if one["accuracy"] >= least)
            for seed in seeds
        ]
        assert row(f"seconds until validation {least}") == [f"{second:.0f}" for second in until]


def test_the_settings_of_a_student_were_tried():
    tried = measurement("student_trials")["rows"]
    first, second, third = (
        {name: f"{found['training']:.3f}" for name, found in tried[f"{which} round"].items()}
        for which in ("first", "second", "third")
    )
    usual, unbalanced, less, least = first.values()
    assert are_near(TEXT, f"{usual} with deformations of 1, {less} with 0.7, {least} with 0.5")
    assert are_near(TEXT, f"{unbalanced} without the pull")
    usual, less, more, holes, strict, fewer = second.values()
    assert usual == less
    assert are_near(TEXT, f"{usual} with 1 and 0.7, {more} with 1.4, {holes} with holes")
    assert are_near(TEXT, f"{strict} where only answers above", f"{fewer} where only 80 %")
    assert are_near(TEXT, f"a third network {third['epochs=4,deformation=0.7']}")


def test_tables_of_outlier_scores_are_the_report():
    fashion = REPORT["numbers"]["logs/novelty/report-fashion-mnist-novelty"]
    for start, found in (("", NOVELTY), ("Fashion-MNIST: ", fashion)):
        for score, title in OUTLIER_SCORES.items():
            areas = [found[f"{score}/auroc_{label}"] for label in ("mean", *range(10))]
            assert row(start + title) == [f"{100 * area:.1f}" for area in areas]


def test_table_of_outlier_scores_on_validation_images_is_the_measurement():
    rows = measurement("outlier_scores")["rows"]
    for score, title in (
        ("outliers", OUTLIER_SCORES["outliers"]),
        ("patches", OUTLIER_SCORES["patches"]),
        ("outliers, patches", "average rank of these two"),
    ):
        areas = [rows[str(label)][score] for label in range(10)]
        cells = [f"{100 * area:.1f}" for area in (sum(areas) / len(areas), *areas)]
        assert row(f"validation: {title}") == cells


def test_what_a_student_makes_of_labels_and_of_other_data():
    measured = measurement("student_labels")
    for title, name in (
        ("10 labels", "mnist_10"), ("100 labels", "mnist_100"), ("1,000 labels", "mnist_1000"),
        ("all 55,000 labels, one network of twelve epochs", "mnist_all"),
    ):  # fmt: skip
        runs = {run["seed"]: run["test_accuracy"] for run in measured[name]["rows"][""]}
        cells = [f"{100 * runs[seed]:.2f}" if seed in runs else "not run" for seed in range(3)]
        assert row(f"student: {title}") == cells
    until = {
        least: [
            min(one["seconds"] for one in run["epochs"] if one["accuracy"] >= least)
            for run in measured["mnist_all"]["rows"][""]
        ]
        for least in (0.98, 0.99)
    }
    text = " ".join(TEXT.split())
    first, second = (f"{min(times):.0f} to {max(times):.0f} s" for times in until.values())
    assert f"0.98 is reached after {first} and 0.99 after {second}" in text
    fashion, few = (measured[name]["rows"][""][0] for name in ("fashion", "fashion_100"))
    assert f"ten groups {fashion['test_accuracy']:.3f} of the test images" in text
    assert f"graph of codes {fashion['groups']:.3f} of the training images" in text
    assert f"100 labels {percent(few['test_accuracy'], 2)}" in text
    others = measurement("student")["other_encoders"]
    right = " and ".join(f"{run['test_accuracy']:.3f}" for run in others)
    assert f"student's too) {right} of the test images are right" in text


def test_numbers_of_the_variational_autoencoder_are_the_measurement():
    found = measurement("variational")
    tests = found["test"]
    for title, name in (
        ("reconstructions", "reconstructed"),
        ("standard normal", "normal"),
        ("one Gaussian", "gaussian"),
        ("mixture of 100", "mixture_100"),
    ):
        names = ("fid", "classifier_score", "precision", "recall")
        values = [tests[f"{name}/{key}"] for key in names]
        assert row(f"variational: {title}") == [
            f"{values[0]:.1f}", *(f"{value:.2f}" for value in values[1:])
        ]  # fmt: skip
    text = " ".join(TEXT.split())
    assert f"{AE['clean']['test/mse']:.5f} to {tests['test/mse']:.5f}" in text
    assert f"autoencoder's codes does ({AE['clean']['gaussian/fid']:.1f})" in text
    for name, value in AE["variational"].items():  # one run
        assert round(value, 3) == round(tests[name], 3)
    units = tests["variational/active_units"], tests["variational/kl_per_unit"]
    assert f"{units[0]:.0f} of the 32 units are active, and a unit has {units[1]:.2f} nats" in text
    for run, words in (
        (AE["clean"], "it is {} on straight walks and {} along"),
        (tests, "variational run below {} and {}"),
    ):
        walks = (percent(run[f"walks/{kind}_confidence"]) for kind in ("straight", "density"))
        assert words.format(*walks) in text
    trials = {trial["settings"]: trial for trial in found["trials"]["rows"]}
    assert f"beta 4 gives {trials['beta=4']['distance']:.1f}" in text
    assert f"10 numbers {trials['beta=1,latent_dim=10']['distance']:.1f}" in text
    best = trials["beta=2,latent_dim=10,hidden_units=512"]
    assert f"512 hidden units {best['distance']:.1f}" in text
    assert f"reconstructions alone have {best['reconstructed_distance']:.1f}" in text


def test_numbers_of_the_samplers_of_codes_are_the_measurement():
    found = measurement("flow")
    around = found["neighbors"]
    for title, measured in (
        ("reconstructions", found["test/reconstructed"]),
        ("mixture of 100", found["test/mixture_100"]),
        ("flow on this mixture", found["test/flow"]),
        ("around neighbors", around["test/neighbors"]),
    ):
        assert row(f"flow: {title}") == [
            f"{measured['fid']:.1f}",
            *(f"{measured[key]:.2f}" for key in ("classifier_score", "precision", "recall")),
        ]
    ours, mixture = (found[f"validation/{name}"]["fid"] for name in ("flow", "mixture_100"))
    text = " ".join(TEXT.split())
    assert f"distance of {ours:.1f} on validation images, the mixture {mixture:.1f}" in text
    assert f"{found['processor_seconds']:.0f} seconds of processor time" in text
    assert f"codes takes {around['processor_seconds']:.0f} seconds of processor time" in text
    assert f"commit {around['commit']}" in text
    nearest = around["nearest"]
    (ours, copied), (theirs, usual) = nearest["neighbors"], nearest["reconstructed test"]
    assert f"median of {ours:.2f} from the nearest training image" in text
    assert f"images {theirs:.2f}, and {percent(copied)} of the samples" in text
    assert f"({percent(usual)} of the reconstructions" in text
    trials = {tuple(trial[:3]): trial[3:] for trial in around["validation_trials"]["rows"]}
    for place, words in {
        (10, 0.5, 1.0): "comes to distance {} and recall {} on validation",
        (10, 1.0, 0.7): "around the code itself to {} and {}",
        (10, 0.5, 0.8): "the settings above: {} and {}",
    }.items():
        distance, _, _, recall = trials[place]
        assert words.format(f"{distance:.1f}", f"{recall:.2f}") in text


def test_table_of_copies_is_the_measurement():
    rows = measurement("duplicates")["rows"]
    tools = ("ours", "imagededup PHash", "imagededup DHash")
    columns = [rows[name]["different"][tool] for name in ("digits", "64", "256") for tool in tools]
    for name in rows["64"]["different"]["ours"]["found"]:
        edge = name.startswith("an edge of")
        shown = "an edge of 1 pixel (digits), 2 (64), 6 (256) cut off" if edge else name
        cells = []
        for measured in columns:
            found = {("edge" if n.startswith("an edge of") else n): count
                     for n, count in measured["found"].items()}  # fmt: skip
            key = "edge" if edge else name
            cells.append(f"{found[key]} of 200" if key in found else "")
        assert row(f"copy: {shown}") == cells
    assert row("false pairs") == [f"{measured['false_pairs']:,}" for measured in columns]
    assert [rows[name]["different"]["ours"]["false_pairs"] for name in rows] == [0, 0, 0]
    found = rows["64"]["different"]["ours"]["found"]
    said = "{JPEG, quality 50} of 200 copies as JPEG of quality 50 were found and {a watermark}"
    assert said.format_map(found) in " ".join(TEXT.split())
    assert f"among {rows['256']['different']['images']:,}, all that have detail" in TEXT
    shares = [
        f"{measured['in_false_pairs']:,}" for measured in columns if measured["false_pairs"] > 9
    ]
    assert are_near(TEXT, *shares)
    for name in ("digits", "64", "256"):
        for copies in ("50% copies", "99% copies"):
            assert rows[name][copies]["found"] == rows[name][copies]["copies"]
            assert rows[name][copies]["false"] == 0


def test_table_of_made_faults_is_the_measurement():
    measured = measurement("check")
    for kind, title in {
        "blurred": "blurred, by 2 % of the longer side", "dark": "dark, 0.15 of the brightness",
        "light": "light, 0.96 or more", "flat": "flat, one colour",
        "odd_size": "eight times the size", "odd_shape": "squeezed to an eighth",
        "grey": "made grey", "exact_copy": "stored again",
    }.items():  # fmt: skip
        assert row(f"fault: {title}") == [
            "{found}, {others_named}".format(**measured[folder][tool][kind])
            for folder in ("photographs-256", "stamps")
            for tool in ("apply check", "cleanvision")
        ]
    counts = [measured[folder]["as_they_were"] for folder in ("photographs-256", "stamps")]
    assert "({} and {}) are named".format(*counts) in " ".join(TEXT.split())


def test_table_of_two_folders_in_colour_is_the_measurement():
    measured = measurement("own_pictures")
    folders = [measured[folder] for folder in ("stamps", "units")]
    for name in folders[0]["rows"]:
        assert row(f"vectors: {name}") == [
            f"{folder['rows'][name][key]:.3f}"
            for folder in folders
            for key in ("neighbours", "accuracy")
        ]
    by_chance = " and ".join(f"{folder['chance']:.3f}" for folder in folders)
    assert f"chance {by_chance} of the neighbours" in " ".join(TEXT.split())


def test_what_is_said_of_restored_photographs_is_the_measurement():
    measured = measurement("own_pictures")["restored_photographs"]
    text = " ".join(TEXT.split())
    for noise, named in (("0.1", "each gains, "), ("0.25", "")):
        found = measured["rows"][f"noise {noise}"]
        assert (
            f"with noise of {noise} from {found['noisy']:.1f} to {found['restored']:.1f} dB "
            f"({named}{found['least_gain']:.1f} to {found['largest_gain']:.1f} dB)" in text
        )
    assert f"{measured['training_seconds']} s on one core" in text


def test_what_is_said_of_deformed_stamps_is_the_measurement():
    found = measurement("own_pictures")["deformed_stamps"]
    errors = [f"{one['test']:.3f}" for one in found["rows"] if one["hidden_units"] == 512]
    said = f"a test error of {errors[0]} with it and {errors[1]} without"
    assert are_near(TEXT, said, f"{found['pca']['test']:.3f}: of a few hundred")


def test_table_of_maps_is_the_measurement():
    found: dict[tuple[str, str], list[dict]] = {}
    for measured in measurement("oddity_maps")["rows"]:
        found.setdefault((measured["patches"], measured["way"]), []).append(measured)
    contaminated = "maps, 5% of the known have a square"
    for title, key in (
        ("squares of other photographs", ("of other photographs", "maps")),
        ("the same, 5 % of the known images have such a square",
         ("of other photographs", contaminated)),
        ("squares of the same photographs", ("of the same photographs", "maps")),
        ("the same, 5 % of the known images have a square",
         ("of the same photographs", contaminated)),
    ):  # fmt: skip
        areas, overlaps, inside = (
            [one[name] for one in found[key]]
            for name in ("pixel_auroc", "box_overlap", "hottest_inside")
        )
        assert row(title) == [
            f"{statistics.fmean(areas):.3f} ({', '.join(f'{area:.3f}' for area in areas)})",
            f"{statistics.fmean(overlaps):.2f}",
            f"{100 * statistics.fmean(inside):.0f} %",
        ]


def test_what_each_part_of_a_student_gives():
    rows = measurement("student_ablation")["rows"]
    last = {name: [f"{run['validation'][-1]:.3f}" for run in runs] for name, runs in rows.items()}
    text = " ".join(TEXT.split())
    for name, words in (
        ("rounds=1", "with all"),
        ("rounds=1,deformation=0.0", "without deformation"),
        ("rounds=1,threshold=0.000001", "unsure,"),
        ("rounds=1,averaging=0.000001", "not an average,"),
    ):
        *most, end = last[name]
        assert f"{words} {', '.join(most)} and {end}" in text


def test_speed_of_the_adversarial_step_is_the_measurement():
    rows = measurement("adversarial_speed")["rows"]
    ours, guide = rows["kerasunsup"], rows["Keras's guide"]
    steps = ours["ratio"] / guide["ratio"]
    speed = f"{ours['images_per_second']:,.0f} images/s"
    assert are_near(TEXT, speed, f"{ours['ratio']:.2f} times", f"{steps:.2f} times")
    rows = measurement("adversarial_speed_bfloat16")["rows"]
    share = rows["kerasunsup, bfloat16"]["ratio"] / rows["kerasunsup"]["ratio"]
    assert are_near(TEXT, "bfloat16", f"{share:.2f}")


def test_the_readme_says_the_speeds_of_both_kinds_of_processor():
    for name in ("training_speed", "adversarial_speed"):
        on_one, on_other = (measurement(name + end)["rows"] for end in ("_with_bfloat16", ""))
        ours = on_one["kerasunsup, bfloat16"]["ratio"], on_other["kerasunsup"]["ratio"]
        assert are_near(README, *(f"{ratio:.2f}" for ratio in ours))


def test_speed_with_bfloat16_instructions_is_the_measurement():
    for name in ("training_speed", "adversarial_speed"):
        measured = measurement(f"{name}_with_bfloat16")["rows"]
        for contender in ("kerasunsup", "kerasunsup, bfloat16"):
            found = measured[contender]
            assert f"{found['images_per_second']:,.0f}" in TEXT
            assert f"{found['least_ratio']:.2f} to {found['most_ratio']:.2f}" in TEXT
    rows = measurement("training_speed_with_bfloat16")["rows"]
    for name, contender in (("ours, float32", "kerasunsup"), ("PyTorch, float32", "PyTorch")):
        assert row(name)[:2] == [
            f"{rows[contender]['images_per_second']:,.0f}", f"{rows[contender]['ratio']:.2f}"
        ]  # fmt: skip


def test_table_of_both_arithmetics_is_the_measurement():
    quality = measurement("precision")["quality"]
    shown = {
        "autoencoder, 8 epochs: squared error": ("autoencoder", "validation_mse", 1, 5, ""),
        "labels that the nearest code has right": (
            "autoencoder", "neighbor_accuracy", 100, 2, " %",
        ),
        "1,000 labels, encoder fine-tuned": ("autoencoder", "finetuned_accuracy", 100, 2, " %"),
        "1,000 labels, convolutional network": (
            "autoencoder", "convolutional_accuracy", 100, 2, " %",
        ),
        "GAN, 6 epochs: distance to training images": ("gan", "fid", 1, 1, ""),
        "its classifier score": ("gan", "classifier_score", 1, 2, ""),
    }  # fmt: skip
    for name, (part, key, times, digits, unit) in shown.items():
        cells = []
        for arithmetic in ("float32", "mixed_bfloat16"):
            values = [times * one[key] for one in quality[part][arithmetic]]
            mean, spread = statistics.fmean(values), statistics.stdev(values)
            cells.append(f"{mean:.{digits}f} ± {spread:.{digits}f}{unit}")
        assert row(name) == cells


def test_supervised_table_and_its_sentences_are_the_reference_run():
    numbers = SUPERVISED
    sizes = ("10", "100", "1000", "10000", "all")
    for arm in SupervisedSettings().arms:
        expected = []
        for size in sizes:
            name = f"labels_{size}/{arm}_accuracy"
            digits = 2 if size == "all" else 1
            expected.append(
                f"{100 * numbers[name]:.{digits}f} ± {100 * numbers[f'{name}_std']:.{digits}f}"
                if name in numbers else ""
            )  # fmt: skip
        assert row(METHOD_NAMES[arm]) == expected
    for size in sizes[1:]:
        mean = numbers[f"labels_{size}/finetuned_minus_scratch"]
        assert f"{100 * mean:+.2f}" in TEXT
    for end in ("low", "high"):
        assert f"{100 * numbers[f'labels_all/finetuned_minus_scratch_{end}']:+.2f}" in TEXT
    assert numbers["labels_100/graph_accuracy"] >= 0.96


def test_table_of_optimizers_is_the_measurement():
    for title, rows in measurement("optimizers")["rows"].items():
        for name, numbers in rows.items():
            chosen, *cells = row(f"{title.split(', ', 1)[1]}: {name}")
            assert chosen.endswith("the grid's end") == bool(numbers.get("is_at_an_end"))
            for part, cell in zip(("training", "validation", "test"), cells, strict=True):
                errors = numbers[f"{part}_error"]
                mean, deviation = statistics.fmean(errors), statistics.stdev(errors)
                assert cell == f"{1000 * mean:.2f} ± {1000 * deviation:.2f}"


def test_what_is_said_of_deformed_images_is_the_measurement():
    few, many = (
        {
            name: statistics.fmean(numbers["validation_error"])
            for name, numbers in measurement("optimizers")["rows"][f"regularization, {n}"].items()
        }
        for n in ("1,000 images", "20,000 images")
    )
    assert are_near(TEXT, "almost half of the error", f"({few['deformation']:.4f})")
    assert 0.4 < 1.0 - few["deformation"] / few["nothing"] < 0.5
    assert f"noise on the input follows ({few['noise']:.4f})" in " ".join(TEXT.split())
    gain = 1.0 - many["deformation"] / many["nothing"]
    assert f"only deformed images help, by {100 * gain:.0f} %" in TEXT
    assert min(many, key=lambda name: many[name]) == "deformation"


def test_table_of_times_is_the_report():
    whole = 0.0
    for title, address in (
        ("autoencoder", "logs/ae/report-clean"),
        ("autoencoder that learns to remove noise", "logs/ae/report-noise"),
        ("autoencoder that learns to fill holes", "logs/ae/report-crop"),
        ("search for settings", "tuning/new/ae"),
        ("autoencoder with the settings found, student", "logs/ae/report-tuned"),
        ("variational autoencoder", "logs/ae/report-variational"),
        ("from unsupervised to supervised", "logs/supervised/report-supervised"),
        ("outliers, ten classes", "logs/novelty/report-novelty"),
        ("GAN", "logs/gan/report-gan"),
        ("GAN, the study's own game", "logs/gan/report-gan_study"),
    ):
        run = ONE_COMMAND["runs"][address]
        whole += run["whole_seconds"]
        seconds = (run["seconds"], run["whole_seconds"])
        assert row(f"minutes: {title}") == [f"{each / 60:.1f}" if each else "" for each in seconds]
    assert f"That is {whole / 60:.0f} minutes of one core." in TEXT
    began = [
        datetime.datetime.fromisoformat(run["started"]) for run in ONE_COMMAND["runs"].values()
    ]
    ends = [
        start + datetime.timedelta(seconds=run["whole_seconds"])
        for start, run in zip(began, ONE_COMMAND["runs"].values(), strict=True)
    ]
    minutes = f"{(max(ends) - min(began)).total_seconds() / 60:.0f} minutes"
    (commit,) = {run["git_commit"][:7] for run in ONE_COMMAND["runs"].values()}
    assert are_near(TEXT, f"clone of commit {commit}", "the whole of MNIST in", minutes)
    assert f"{minutes} with `--at-once 2`" in TEXT


def test_the_report_made_by_one_command_has_the_numbers_of_the_report():
    assert len(ONE_COMMAND["numbers"]) == 10
    for address, numbers in ONE_COMMAND["numbers"].items():
        before = REPORT["numbers"][address.replace("tuning/new", "tuning")]
        assert numbers | {"seconds": None} == {name: before[name] for name in numbers} | {
            "seconds": None
        }


def test_table_of_two_data_sets_is_the_report():
    for place, data in enumerate(("", "fashion-mnist-")):
        ae, noise, crop, tuned, variational, gan, game, novelty, supervised = (
            REPORT["numbers"][f"logs/{name.format(data)}"]
            for name in (
                "ae/report-{}clean", "ae/report-{}noise", "ae/report-{}crop", "ae/report-{}tuned",
                "ae/report-{}variational", "gan/report-{}gan", "gan/report-{}gan_study",
                "novelty/report-{}novelty", "supervised/report-{}supervised",
            )
        )  # fmt: skip
        outliers = [novelty[f"{score}/auroc_mean"] for score in ("outliers", "ranks")]
        few = [supervised[f"labels_100/{a}_accuracy"] for a in ("finetuned", "scratch", "graph")]
        arms = ("finetuned", "scratch", "convolutional")
        every = [supervised[f"labels_all/{arm}_accuracy"] for arm in arms]
        for title, cell in {
            "reconstruction error (MSE), usual settings": f"{ae['test/mse']:.5f}",
            "PCA of that size": f"{ae['pca/mse']:.5f}",
            "noise of 0.4 removed, gain of PSNR, dB": f"{noise['noise_0.4/gain_db']:.1f}",
            "holes of 8 px filled, gain of PSNR, dB": f"{crop['crop_8/gain_db']:.1f}",
            "settings found: error (MSE)": f"{tuned['test/mse']:.5f}",
            "settings found: samples around neighbors: distance, recall": (
                f"{tuned['neighbors/fid']:.1f}, {tuned['neighbors/recall']:.2f}"
            ),
            "settings found: ten groups, student, %": (
                f"{100 * tuned['latent/student_accuracy']:.1f}"
            ),
            "variational: error (MSE), distance of normal codes, mixture of 100": (
                f"{variational['test/mse']:.5f}, {variational['normal/fid']:.1f}, "
                f"{variational['mixture_100/fid']:.1f}"
            ),
            "distance of samples: random integers, mixture of 100": (
                f"{ae['integers/fid']:.1f}, {ae['mixture_100/fid']:.1f}"
            ),
            "GAN: distance, precision, recall": (
                ", ".join(f"{gan[name]:.2f}" for name in ("fid", "precision", "recall"))
            ),
            "the study's game: distance, precision, recall": (
                ", ".join(f"{game[name]:.2f}" for name in ("fid", "precision", "recall"))
            ),
            "outliers, error and density; rank average, %": (
                ", ".join(f"{100 * area:.1f}" for area in outliers)
            ),
            "ten groups, graph of codes, %": f"{100 * ae['latent/graph_accuracy']:.1f}",
            "100 labels: fine-tuned, scratch, graph of codes, %": (
                ", ".join(f"{100 * share:.1f}" for share in few)
            ),
            "all labels: fine-tuned, scratch, convolutional, %": (
                ", ".join(f"{100 * share:.2f}" for share in every)
            ),
        }.items():
            assert row(f"both: {title}")[place] == cell
    errors, gains, farther = [], [], []
    for data in ("", "fashion-mnist-"):
        samples = REPORT["numbers"][f"logs/ae/report-{data}tuned"]["neighbors/fid"]
        farther.append(f"{samples / REPORT['numbers'][f'logs/gan/report-{data}gan']['fid']:.1f}")
        ae = REPORT["numbers"][f"logs/ae/report-{data}clean"]
        every = REPORT["numbers"][f"logs/supervised/report-{data}supervised"]
        errors.append(f"{ae['test/mse'] / ae['pca/mse']:.2f}")
        gains.append(f"{100 * every['labels_all/finetuned_minus_scratch']:.1f}")
    whole = sum(
        run["whole_seconds"] for name, run in REPORT["runs"].items() if "fashion-mnist" in name
    )
    assert are_near(TEXT, "two at a time; ", f"{whole / 60:.0f} minutes of one core")
    best = REPORT["runs"]["tuning/fashion-mnist/ae"]
    assert best["git_commit"] == REPORT["runs"]["tuning/ae"]["git_commit"]
    assert are_near(TEXT, f"{farther[1]} times as far from real ones", f"{farther[0]} times")
    assert are_near(TEXT, f"{errors[1]} times as wrong", errors[0])
    assert are_near(TEXT, f"Fine-tuning is {gains[1]} points", f"all labels, {gains[0]} on")
