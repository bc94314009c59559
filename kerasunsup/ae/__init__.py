"""`python -m kerasunsup.ae`: the study's autoencoder, trained without labels; and its search.

Open `experiment` first: `build` makes the compiled model, `run` goes from the data to the export.
"""
