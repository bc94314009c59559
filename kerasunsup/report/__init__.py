"""`python -m kerasunsup.report`: the whole study in one command and on one page.

Open `steps` first (what is run, and when it stands); `study` and `extras` write the page.
"""
