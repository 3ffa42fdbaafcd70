"""A run in several processes of which one fails; a program, to be started for each of them."""

import sys
import time
from pathlib import Path

from maskdcpt_cli.data.mixture import Mixture, Sample
from maskdcpt_cli.data.order import SampleKey
from maskdcpt_cli.errors import MaskDCPTError
from maskdcpt_cli.training import failures
from maskdcpt_cli.training.events import Step
from maskdcpt_cli.training.launcher import launched
from tests.training.runs import ENTRIES, LABELS, finetuning, started


class Failing(Mixture):
    """Samples that the second process cannot read from the third iteration on."""

    def __getitem__(self, key: SampleKey) -> Sample:
        if launched().rank == 1 and key.number >= 8:
            raise MaskDCPTError("The disk of this machine is gone.")
        return super().__getitem__(key)


def main(run_dir: Path, *, stuck: bool) -> None:
    """Train; the first process may be stuck where nothing can interrupt it, as on a GPU."""
    failures.GRACE = 2.0
    data = Failing(ENTRIES, labels=LABELS, seed=3)
    try:
        for event in started(finetuning(), run_dir, data=data):
            if stuck and launched().rank == 0 and isinstance(event, Step) and event.iteration == 2:
                time.sleep(60)
    except MaskDCPTError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main(Path(sys.argv[1]), stuck=sys.argv[2] == "stuck")
