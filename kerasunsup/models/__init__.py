"""The networks, the adversarial game and the optimizers; how models leave and how they come back.

Open `networks` first: plain values in, a named functional `keras.Model` out.
"""
