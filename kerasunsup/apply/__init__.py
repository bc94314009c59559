"""`python -m kerasunsup.apply`: use a trained model on images of one's own.

Open `verbs` first; each verb reads an `image_stream` and writes an `output_folder`.
"""
