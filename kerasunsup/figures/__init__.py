"""Arrays in, `matplotlib.figure.Figure` out: every picture that a command or the report shows.

Open `curves` first; `style` says how all of them look. Nothing here trains or measures.
"""
