"""`python -m kerasunsup.apply`: use what was trained on images of one's own.

Open `verbs` first; each verb reads an `image_stream` and writes an `output_folder`.
"""
