"""`python -m kerasunsup.novelty`: which score finds outliers, one class against the rest.

Open `experiment` first: it trains an autoencoder for each class. `results` scores all test images
by it and draws the figures; `views` trains a network that tells turned and shifted images apart.
"""
