"""The search for settings with KerasTuner, on one machine or on several that share it.

What `python -m kerasunsup.ae --tune` finds on MNIST, and how long it takes, stands in
docs/search.md.

Open `runner` first, the loop over the trials. `session` holds one search, `oracles` choose the
settings that are tried next, `trials` train them, `record` is what a search leaves behind.
"""
