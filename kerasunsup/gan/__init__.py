"""`python -m kerasunsup.gan`: the study's GAN, measured while it trains.

Open `experiment` first: `build` makes the two networks and their game, `run` trains them.
"""
