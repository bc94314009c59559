"""What a search prints."""

from __future__ import annotations

from search_problems import command, problem

from kerasunsup.search import runner


def test_the_plan_a_line_a_trial_and_a_table_are_printed(tmp_path, fake, capsys):
    given = command(tmp_path)
    runner.run_search(given, problem(given))
    output = capsys.readouterr().out
    assert "bracket 2: 9 trials to epoch 1, then the best 3" in output
    assert "then the best of each latent_dim that stopped before epoch 9" in output
    assert "at most 25 trials, 93 epochs in all, about 0:01" in output
    lines = [line for line in output.splitlines() if line.startswith("trial ")]
    assert len(lines) == 23
    assert all(word in lines[0] for word in ("learning_rate", "MSE", "score", "best", "left"))
    assert "latent_dim  validation MSE" in output
