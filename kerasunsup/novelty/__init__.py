"""`python -m kerasunsup.novelty`: which score finds outliers, one class against the rest.

Open `experiment` first: it trains an autoencoder a class and scores all test images by it.
"""
