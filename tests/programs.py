"""Programs that tests start."""

import os


def unmeasured() -> dict[str, str]:
    """The environment of a program that is interrupted, which coverage does not measure.

    Where Ctrl-C meets its collector, a lock stays taken and the program hangs (coverage 7).
    """
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
