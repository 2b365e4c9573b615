"""The one exception that means: the caller can mend this."""


class InputError(ValueError):
    """Bad input, said in one line: the value, what is allowed, and the way out.

    The command line prints it without a traceback and exits with status 2.
    """
