"""One fit for every experiment: its loop, its run folder, its stop and go on, its TensorBoard.

Open `loop` first (`fit` is where training happens); `run_folder` is what a run leaves behind.
"""
