"""`python -m kerasunsup.apply`: use a trained model on images of one's own.

Open `experiment` first. It starts a verb; each verb has a file of its own (`restore`, `encode`,
`similar`, `outliers`, `cluster`, `select`, `generate`, `duplicates`, `check`, `browse`), reads an
`image_stream` and writes into an `output_folder`. Large collections are made in `parts`, by many
processes or `on_ray`.
"""
