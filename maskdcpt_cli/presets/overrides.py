"""The order of the overrides of a run whose stages are scaled to a number of iterations."""

import re
from collections.abc import Sequence

# Key paths whose values are set before the stages are scaled to a number of iterations.
SCALED = re.compile(r"training(\.stages(\.\d+\.(iterations|crop_size|batch|data))?|\.iterations)?")
STAGE = re.compile(r"training\.stages\.\d+")


def around_scaling(overrides: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return what is set before the stages are scaled, and after it.

    Schedules and whole stages stay as they were typed; a list of stages is in place of what was
    set in it before.
    """
    earlier, later, whole = list[str](), list[str](), set[str]()
    for override in overrides:
        key_path = override.partition("=")[0]
        stage = STAGE.match(key_path)
        if key_path in ("training", "training.stages"):
            earlier, later = (
                [one for one in some if not one.startswith(f"{key_path}.")]
                for some in (earlier, later)
            )
            whole.clear()
        elif stage and stage[0] == key_path:
            whole.add(key_path)
        of_whole = stage is not None and stage[0] in whole
        (earlier if SCALED.fullmatch(key_path) and not of_whole else later).append(override)
    return earlier, later
