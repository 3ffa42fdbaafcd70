"""Feed changed files to the readers: `python -m tests.fuzz --inputs 10000 --keep DIR`.

Each input gives a result or one sentence, within its time and memory; what does not is printed as
a line of JSON, and kept. An input is a function of (target, number), so a finding can be repeated:
`--target image --first 1234 --inputs 1`.
"""

import argparse
import faulthandler
import json
import re
import resource
import sys
import tempfile
import traceback
import zlib
from collections import Counter
from pathlib import Path

from numpy.random import default_rng

from maskdcpt_cli.errors import MaskDCPTError
from tests.fuzz.mutation import mutate
from tests.fuzz.targets import TARGETS, Seeds, Target

SECONDS = 60  # of one input, before the process ends with a traceback
MEMORY = 512 << 10  # KiB that one input may add to the peak of the process
FOREIGN = re.compile(  # words of an interpreter or a library, not of a file
    r"\bb'|decoder error|unknown pixel mode|index out of range|NoneType|object has no attribute"
    r"|unsupported operand|not subscriptable|unpack requires|Traceback|<class|invalid literal"
)


def fault_of(error: MaskDCPTError) -> str | None:
    """What is wrong with an error as a user reads it."""
    text = str(error)
    if not text.strip().endswith((".", "!", "?")):
        return "no sentence"
    if any((ord(letter) < 32 and letter != "\n") or ord(letter) == 127 for letter in text):
        return "control characters"
    if len(text) > 2000:
        return "too long"
    found = FOREIGN.search(text)
    return f"foreign words: {found.group()}" if found else None


def run_input(
    target: Target, seeds: Seeds, folder: Path, number: int, salt: int
) -> tuple[str, str]:
    """Return the name of the changed file, and what is wrong ("" for nothing, "refused")."""
    rng = default_rng((salt, number))
    name = sorted(seeds)[rng.integers(len(seeds))]
    for other, data in seeds.items():
        (folder / other).write_bytes(data)
    path = folder / name
    path.write_bytes(mutate(seeds[name], rng))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        target.use(path)
        wrong = ""
    except MaskDCPTError as error:
        wrong = fault_of(error) or "refused"
        if wrong != "refused":
            wrong += f": {error}"
    except Exception:
        wrong = traceback.format_exc(limit=-4)
    if resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before > MEMORY:
        wrong = "memory"
    return name, wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target", choices=TARGETS, action="append")
    parser.add_argument("--inputs", type=int, default=1000, help="of all targets together")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="folder for the files that were found")
    options = parser.parse_args()
    names = options.target or list(TARGETS)
    counts: Counter[str] = Counter()
    for name in names:
        with tempfile.TemporaryDirectory() as scratch:
            (Path(scratch) / "seeds").mkdir()
            seeds = TARGETS[name].seeds(Path(scratch) / "seeds")
        for number in range(options.first, options.first + options.inputs // len(names)):
            with tempfile.TemporaryDirectory() as folder:
                faulthandler.dump_traceback_later(SECONDS, exit=True)
                salt = zlib.crc32(name.encode())
                file, wrong = run_input(TARGETS[name], seeds, Path(folder), number, salt)
                faulthandler.cancel_dump_traceback_later()
                counts[wrong if wrong in ("", "refused") else "wrong"] += 1
                if wrong not in ("", "refused"):
                    print(
                        json.dumps({"target": name, "number": number, "file": file, "why": wrong})
                    )
                    if options.keep:
                        options.keep.mkdir(parents=True, exist_ok=True)
                        kept = options.keep / f"{name}-{number}-{file}"
                        kept.write_bytes((Path(folder) / file).read_bytes())
    print(f"{counts['']} read, {counts['refused']} refused, {counts['wrong']} wrong")
    return 1 if counts["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
