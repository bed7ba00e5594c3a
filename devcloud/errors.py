"""The one error of this package: something a person at the terminal can act on."""


class DevcloudError(Exception):
    """A service cannot be started or has ended; the message is one line that says what and why."""
