"""`python -m kerasunsup.export`: a trained model as files for other runtimes.

Open `experiment` first. It takes a model's `parts` (encoder, decoder, ...), converts each by
`formats` or, for `--int8`, by `quantization`, and compares the file in its own runtime with the
Keras model on the images that `run_images` finds. A small model takes about ten seconds; expect
differences of 1e-7 to 8e-6 (docs/export.md has those of the study's autoencoder).
"""
