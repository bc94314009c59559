"""`python -m kerasunsup.report`: the whole study in one command and on one page.

Open `steps` first: it says what is run and when it is up to date.
"""
