"""What a user did wrong, and a stop that can go on: one line each."""

from __future__ import annotations


class InputError(ValueError):
    """Wrong use or bad input: its text is the one line that the user sees (exit status 2).

    The text says what was wrong, what was received and what to do about it.
    """


class Interrupted(KeyboardInterrupt):
    """Stopped by the user with the state saved; its text is the line that goes on with the run."""
