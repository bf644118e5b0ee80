"""The exception for mistakes that the user can fix."""


def printable(text: object) -> str:
    """`text` on one line without control characters, for names and values that come from a file.

    A terminal obeys escape sequences, and a line break would make one error look like several.
    """
    words = " ".join(str(text).split())
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "replace").decode()
        for char in words
    )


class UserError(Exception):
    """A mistake in the user's input: file, key or value, and how to fix it, in one line.

    The commands print it without a traceback and exit with status 2. Control characters of the
    text are escaped, see `printable`.
    """

    def __init__(self, text: object) -> None:
        super().__init__(printable(text))
