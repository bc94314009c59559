"""The networks, the adversarial game and the optimizers; export and loading of models.

Open `networks` first: plain values in, a named functional `keras.Model` out.
"""
