"""Errors a person can act on, and the exit code each one gives the command line.

Conventions:
    0 done, 2 configuration, 3 data, 4 resume refused, 5 diverged, 6 environment, 75 stopped but resumable.
"""


class MusicsslError(Exception):
    """An error whose message names the thing, its value, what is allowed and the remedy."""

    exit_code = 1


class ConfigError(MusicsslError, ValueError):
    """A setting is unknown, of the wrong type, out of range or impossible beside another one."""

    exit_code = 2


class DataError(MusicsslError, ValueError):
    """An input is missing, damaged or does not belong with another one."""

    exit_code = 3


class NotThereError(DataError):
    """What was looked for is not there at all, as a data set that was never downloaded."""


class ResumeRefusedError(MusicsslError):
    """What is on disk was made with other settings or inputs; going on would mix the two."""

    exit_code = 4


class DivergedError(MusicsslError):
    """Training left the range in which its result means anything."""

    exit_code = 5


class EnvironmentFaultError(MusicsslError):
    """The machine lacks something: disk, memory, a port, a package, or the directory is in use."""

    exit_code = 6


class StoppedError(MusicsslError):
    """Stopped on request; the same command goes on from the last checkpoint."""

    exit_code = 75
