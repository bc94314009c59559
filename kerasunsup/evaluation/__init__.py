"""Arrays in, numbers out: errors, distances between sets, codes, groups, outliers.

Open `image_metrics` first. Nothing here reads files, trains a network or draws.
"""
