"""The search for settings with KerasTuner: which are tried next, one trial after another, machines.

Open `runner` first; `oracles` chooses the settings and `record` is what a search leaves behind.
"""
