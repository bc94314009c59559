"""The search for settings with KerasTuner, one trial after another, on one machine or several.

Open `runner` first; `oracles` chooses the settings and `record` is what a search leaves behind.
"""
