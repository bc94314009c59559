"""The search for settings with KerasTuner, on one machine or on several that share it.

`python -m kerasunsup.ae --tune` takes about 44 minutes on two processor cores for MNIST and finds
a validation error of about 0.0038 at code size 32 (docs/search.md).

Open `runner` first, the loop over the trials. `session` holds one search, `oracles` choose the
settings that are tried next, `trials` train them, `record` is what a search leaves behind.
"""
