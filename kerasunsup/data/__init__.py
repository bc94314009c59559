"""Images in: from what `--data` names to training, validation and test images, batch by batch.

Open `splits` first (`load` is where every command begins); `images` holds the three contracts about
ranges, shapes and channels that the whole package keeps.
"""
