"""`python -m kerasunsup.novelty`: which score finds outliers, one class against the rest.

Open `experiment` first: it trains one autoencoder for each class and scores all test images by it.
"""
