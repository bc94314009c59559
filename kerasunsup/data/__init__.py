"""Images in: from what `--data` names to training, validation and test images, batch by batch.

Open `splits` first: `load` is where every command begins. One module reads each kind of source
(`from_folder`, `from_arrays`, `from_tfds`). `images` holds the contracts about ranges, shapes and
channels that the whole package keeps; `corruption` and `augmentation` change images.
"""
