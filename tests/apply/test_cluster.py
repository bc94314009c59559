"""`apply cluster`, with a small untrained model."""

import functools

import keras
import numpy as np
import pytest
from apply_command import complaint, files, run, table

from kerasunsup.evaluation import clustering, sure_groups
from kerasunsup.models import optimizers
from kerasunsup.training import precision, self_labelling


def test_cluster_names_a_group_for_every_image_and_compares_with_labels(
    model, folder, tmp_path, capsys
):
    output = tmp_path / "out"
    assert run("cluster", model, folder, "--clusters", 2, "--output", output) == 0
    assert {row["cluster"] for row in table(output / "clusters.csv")} == {"0", "1"}
    assert {"cluster_000_sheet.png", "cluster_001_sheet.png"} < files(output)
    assert "accuracy by labels" in capsys.readouterr().out


@pytest.fixture
def short_students(monkeypatch):
    short = functools.partial(
        self_labelling.StudentSettings,
        taught_steps=3,
        epochs=1,
        rounds=1,
        filters=(4,),
        hidden_units=8,
    )
    monkeypatch.setattr(self_labelling, "StudentSettings", short)
    monkeypatch.setattr(self_labelling, "_LEAST_STEPS", 2)
    monkeypatch.setattr(optimizers, "FusedAdam", optimizers.AveragingAdam)


def test_a_student_says_how_probable_each_group_is_and_what_it_assumes(
    model, folder, tmp_path, capsys, short_students
):
    output = tmp_path / "out"
    arguments = ("cluster", model, folder, "--clusters", 2, "--student", "--output", output)
    assert run(*arguments) == 0
    rows = table(output / "clusters.csv")
    assert len(rows) == 40
    assert {row["cluster"] for row in rows} <= {"0", "1"}
    assert all(0.5 <= float(row["probability"]) <= 1.0 for row in rows)
    out = capsys.readouterr().out
    assert "turned by 14 degrees, scaled and sheared by 10% and shifted by 8%" in out
    assert "accuracy by labels" in out


def test_a_student_learns_in_the_faster_arithmetic(
    model, folder, tmp_path, short_students, monkeypatch
):
    def fastest(build, step, num_steps):
        build().train_on_batch(*step)
        assert (step[0].shape, num_steps) == ((40, 16, 16, 1), 1)
        return "mixed_bfloat16"

    train, policies = self_labelling.train, []

    def watched(*arguments, **options):
        policies.append(keras.config.dtype_policy().name)
        return train(*arguments, **options)

    monkeypatch.setattr(precision, "fastest", fastest)
    monkeypatch.setattr(self_labelling, "train", watched)
    arguments = ("cluster", model, folder, "--clusters", 2, "--student", "--output", tmp_path / "o")
    assert run(*arguments) == 0
    assert policies == ["mixed_bfloat16"]
    assert keras.config.dtype_policy().name == "float32"


@pytest.mark.parametrize(("deformation", "strength"), [(0.2, 0.2), (2.0, 0.5), (0.0, None)])
def test_a_student_without_clusters_counts_groups_by_mildly_deformed_images(
    model, folder, tmp_path, capsys, short_students, monkeypatch, deformation, strength
):
    counted = []

    def number(codes, seen, deformed, strength, seed):
        counted.append(strength)
        assert len(codes) == len(seen) == len(deformed) == 40
        assert codes.shape == deformed.shape
        assert not np.allclose(codes, deformed)
        return 2

    monkeypatch.setattr(sure_groups, "number_when_deformed", number)
    arguments = ("cluster", model, folder, "--student", "--deformation", deformation)
    assert run(*arguments, "--output", tmp_path / "out") == 0
    assert counted == ([] if strength is None else [strength])
    if counted:
        assert {row["cluster"] for row in table(tmp_path / "out" / "clusters.csv")} <= {"0", "1"}
        assert "2 groups whose images do not change into each other" in capsys.readouterr().out


def test_a_student_of_one_group_is_refused_with_what_to_do(
    model, folder, tmp_path, capsys, monkeypatch
):
    one = np.zeros(40, np.int64)
    monkeypatch.setattr(clustering, "of_graph", lambda *_, **__: (np.arange(40), one))
    line = complaint(capsys, "cluster", model, folder, "--student", "--output", tmp_path / "out")
    assert "all images are one group: give --clusters N" in line
    assert not (tmp_path / "out" / "clusters.csv").exists()
