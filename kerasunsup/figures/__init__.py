"""Arrays in, `matplotlib.figure.Figure` out: every picture that a command or the report shows.

Open `curves` first. `scatter_plots` draws codes, `image_grids` rows of images, `classifiers` and
`confusion` what classifiers are worth; `style` says how all of them look. Nothing here trains.
"""
