"""The exception for mistakes that the user can fix."""


class UserError(Exception):
    """A mistake in the user's input: file, key or value, and how to fix it, in one line.

    The commands print it without a traceback and exit with status 2.
    """
