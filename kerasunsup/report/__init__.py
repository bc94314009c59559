"""`python -m kerasunsup.report`: the whole study in one command and on one page.

Open `steps` first (what is run, and which runs are used). `study` and `extras` make the page's
sections from `sources` (the runs' numbers and figures) and `sentences`; `page` renders them by
`page.html.j2`.
"""
