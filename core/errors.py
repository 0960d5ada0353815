"""The one exception type that users are meant to see."""


class DummyForcingError(ValueError):
    """Bad input: the message says in one line what is wrong, what was expected and what to do.

    The CLI prints it and exits with code 2; nodes hand it to the host as is.
    """
