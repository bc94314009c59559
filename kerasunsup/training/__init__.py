"""One training loop for every experiment, with its run folder, resuming and TensorBoard.

Open `loop` first (`fit` is where training happens); `run_folder` is what a run leaves behind.
"""
