"""Trials as points of the space that was searched."""

import copy

import numpy as np
import pytest
from search_problems import SETTINGS, command, problem, splits

from kerasunsup.ae import search
from kerasunsup.search import runner, session, trial_points


def test_choices_are_numbered_and_ranges_lie_along_their_logarithm(tmp_path, fake):
    given = command(tmp_path)
    found = runner.run_search(given, problem(given))
    points = trial_points.of_record(found)
    assert points.names == ("latent_dim", "learning_rate", "weight_decay")
    best = min(found["trials"], key=lambda result: result["score"])
    settings = best["settings"]
    np.testing.assert_allclose(
        points.points[0],
        [[4, 8].index(settings["latent_dim"]), np.log10(settings["learning_rate"]) + 3.0,
         [0.0, 1e-3, 1e-2].index(settings["weight_decay"]), best["last_epoch"]],
    )  # fmt: skip
    assert [None if one is None else one.tolist() for one in points.values] == [
        [0.0, 1.0], None, [0.0, 1.0, 2.0], [9.0],
    ]  # fmt: skip
    # A trial and what it was continued to are one combination.
    assert len(set(points.groups)) == trial_points.num_combinations(found) < len(found["trials"])
    assert len(points.groups) == len(found["trials"])


def test_every_value_of_the_wide_spaces_has_its_place(tmp_path):
    for kind in ("tune", "grid"):
        given = command(tmp_path, kind=kind, wide=True)
        made = session.Search(given, search.problem(given, splits()))
        trial = made.oracle.create_trial("local")
        settings = made.settings_of(trial)
        result = {
            "settings": {
                name: list(value) if isinstance(value := getattr(settings, name), tuple) else value
                for name in made.names
            },
            "last_epoch": 3, "score": 0.5, "validation_mse": 0.01,
        }  # fmt: skip
        whole = {"fingerprint": made.fingerprint(), "trials": [result]}
        points = trial_points.of_record(whole)
        assert set(points.names) == set(made.names)
        assert np.isfinite(points.points).all()


def test_a_trial_worse_than_the_reference_counts_as_the_reference(tmp_path, fake):
    given = command(tmp_path, settings=SETTINGS)
    found = copy.deepcopy(runner.run_search(given, problem(given)))
    for result in found["trials"][:2]:
        result |= {"score": 50.0, "validation_mse": 2.0}
    found["trials"][2] |= {"score": None}  # it failed
    points = trial_points.of_record(found)
    assert len(points.scores) == len(found["trials"]) - 1
    assert points.scores[-2:] == pytest.approx([1.0, 1.0])
    assert points.errors[-2:] == pytest.approx([0.04, 0.04])
