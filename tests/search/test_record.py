"""What a search keeps, and which search may go on with it."""

from __future__ import annotations

import dataclasses

import pytest
from search_problems import SETTINGS, command, outcome, pixels, problem, splits

from kerasunsup.data import pixel_storage
from kerasunsup.data.image_set import ImageSet
from kerasunsup.errors import InputError
from kerasunsup.search import record, runner
from kerasunsup.training import files


def test_states_that_no_rung_needs_are_deleted(tmp_path, fake):
    given = command(tmp_path)
    kept = []
    write = record.SearchFolder.prune

    def prune(self, needed):
        write(self, needed)
        kept.append(len(list(self.path.glob("states/*.npz"))))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(record.SearchFolder, "prune", prune)
        found = runner.run_search(given, problem(given))
    assert max(kept) <= 4  # three to be promoted, and one that is being promoted
    assert kept[-1] == 0
    disk = found["disk"]
    assert disk["state_bytes_left"] == 0
    assert disk["state_bytes_at_most"] > 0
    assert disk["state_bytes_if_all_were_kept"] == 1000 * 23


def changed_limit(given):
    pool = ImageSet(pixel_storage.MemoryStore(pixels()))
    return problem(given, splits=dataclasses.replace(splits(), train=pool.subset(range(70))))


def changed_space(given):
    def other(hp, settings):
        return dataclasses.replace(settings, latent_dim=hp.Choice("latent_dim", [4, 8, 16]))

    return problem(given, space=other)


@pytest.mark.parametrize(
    ("options", "settings", "make_problem", "text"),
    [
        ({"max_epochs": 5}, {}, problem, "--max-epochs 9, received 5"),
        ({}, {"batch_size": 8}, problem, "--batch-size 16, received 8"),
        ({}, {"seed": 1}, problem, "--seed 0, received 1"),
        ({}, {}, changed_limit, "--data"),
        ({}, {}, changed_space, "space latent_dim"),
    ],
)
def test_a_changed_search_is_refused_and_overwrite_starts_anew(
    tmp_path, fake, options, settings, make_problem, text
):
    given = command(tmp_path)
    runner.run_search(given, problem(given))
    changed = command(tmp_path, settings=dataclasses.replace(SETTINGS, **settings), **options)
    with pytest.raises(InputError, match=text) as caught:
        runner.run_search(changed, make_problem(changed))
    assert "--overwrite" in str(caught.value)
    fake.ran = 0
    changed = dataclasses.replace(
        changed, search=dataclasses.replace(changed.search, overwrite=True)
    )
    runner.run_search(changed, make_problem(changed))
    assert fake.ran > 1


@pytest.mark.parametrize("first", [0.5, 0.0])
def test_a_setting_that_one_of_two_searches_does_not_use_is_named(tmp_path, fake, first):
    def deformed(given, strength):
        irrelevant = () if strength else ("deformation",)
        return dataclasses.replace(problem(given), irrelevant=irrelevant)

    def searched(strength):
        settings = dataclasses.replace(SETTINGS, deformation=strength)
        given = command(tmp_path, settings=settings)
        return runner.run_search(given, deformed(given, strength))

    searched(first)
    before, now = (0.5, "not used") if first else ("not used", 0.5)
    with pytest.raises(InputError, match=f"has --deformation {before}, received {now}: give the"):
        searched(0.5 - first)


def test_a_search_with_seeds_by_number_is_read_where_it_is_over_and_else_refused(tmp_path, fake):
    given = command(tmp_path)
    found = runner.run_search(given, problem(given))
    path = tmp_path / "tuning" / "ae" / "hyperband" / "fingerprint.json"
    before = files.read_json(path)
    del before["trial_seeds"]
    files.write_json(path, before)
    with pytest.raises(InputError, match=r"seeds of trials by number.*received by settings"):
        runner.run_search(given, problem(given))
    files.write_json(path.with_name("record.json"), found)
    fake.ran = 0
    again = runner.run_search(given, problem(given))
    assert fake.ran == 0
    assert outcome(again) == outcome(found)
    assert "trial_seeds" not in again["fingerprint"]


def test_settings_that_no_trial_depends_on_may_change(tmp_path, fake):
    given = command(tmp_path)
    runner.run_search(given, problem(given))
    longer = dataclasses.replace(SETTINGS, epochs=7, num_codes=20, latent_dim=8)
    given = command(tmp_path, settings=longer)
    count = fake.ran
    runner.run_search(given, problem(given))
    assert fake.ran == count


def test_two_searches_in_one_folder_are_refused(tmp_path, fake):
    folder = record.SearchFolder(tmp_path / "tuning" / "ae" / "hyperband")
    folder.lock()
    given = command(tmp_path)
    with pytest.raises(InputError, match="in use by another search"):
        runner.run_search(given, problem(given))
    folder.close()
    runner.run_search(given, problem(given))


def test_best_so_far_counts_all_cost_and_the_errors_that_fit():
    results = [
        {"trained_epochs": 2, "clock": 1.0, "score": 1.0, "validation_mse": e, "settings": {"d": d}}
        for e, d in ((0.5, 8), (0.1, 64), (0.7, 8), (0.4, 8))
    ]
    results.insert(2, {"trained_epochs": 0, "clock": 1.0, "score": None, "settings": {"d": 8}})
    assert record.best_so_far(results, d=8)[::2] == ([2, 4, 4, 6, 8], [0.5, 0.5, 0.5, 0.5, 0.4])
