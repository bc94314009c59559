"""`python -m kerasunsup.supervised`: what an encoder that never saw a label is worth with labels.

Open `experiment` first; `methods` holds the ways of making a classifier that are compared.
"""
