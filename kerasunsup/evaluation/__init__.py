"""Arrays in, numbers out: every number that a command writes to metrics.json is computed here.

Open `image_metrics` first (how close two images are); `generative_metrics` compares two sets of
images, `classifier_metrics` judges predictions. `latent_space`, `neighbors`, `clustering`,
`selection`, `probes` (with `label_spreading`) and `outlier_detector` work on codes.
`picture_quality` measures single pictures, `copied_pictures` compares two, `copy_candidates` finds
which to compare, and `moved_pictures` spares most of the work. Nothing here reads files or draws.
"""
