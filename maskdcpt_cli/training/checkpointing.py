"""What lies in the folder of a run: weights for use, and all that it takes to go on training."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from maskdcpt_cli.errors import CheckpointError
from maskdcpt_cli.files import replacing
from maskdcpt_cli.weights.checkpoint import Checkpoint, save_checkpoint

State = Mapping[str, Any]  # of tensors, numbers and texts, by names and numbers


@dataclass(frozen=True)
class Folder:
    """The files of a run: `last` and `best`, each as .state and .safetensors, and the end's."""

    path: Path

    def state(self, which: str) -> Path:
        return self.path / f"{which}.state"

    def weights(self, which: str) -> Path:
        return self.path / f"{which}.safetensors"

    def save(self, which: str, state: State, checkpoint: Checkpoint) -> Path:
        """Write both files, each whole or not at all; a run goes on from the state alone.

        Raises CheckpointError when the disk is full, or not to be written to.
        """
        path = self.state(which)
        try:
            with replacing(path) as file:
                torch.save(dict(state), file)
        except (OSError, RuntimeError) as error:  # the latter is how torch tells of a full disk
            raise CheckpointError(_not_written(path, error)) from error
        save_checkpoint(checkpoint, self.weights(which))
        return self.weights(which)

    def finish(self, checkpoint: Checkpoint) -> Path:
        """Write the weights that are the outcome of the run."""
        path = self.weights("final")
        save_checkpoint(checkpoint, path)
        return path

    def read(self, which: str) -> State | None:
        """A state, on the CPU; None where there is none. Nothing in the file is executed.

        Raises CheckpointError for a file that is damaged.
        """
        path = self.state(which)
        if not path.exists():
            return None
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # on damaged bytes the restricted unpickler raises almost any
            raise CheckpointError(
                f"{path} is damaged, and training cannot go on from it. Of the weights alone "
                f"{self.weights(which)} can begin another run: --init-from."
            ) from error
        return dict(state)

    def check_space(self, one: int) -> None:
        """Raise CheckpointError unless the states of a run, of `one` bytes each, fit on the disk.

        There are `last`, `best`, and the next one while the one before it is kept; the weights for
        use take less than a third of each.
        """
        there = sum(file.stat().st_size for file in self.path.glob("*.s*"))
        free, needed = shutil.disk_usage(self.path).free, 4 * one - there
        if free < needed:
            raise CheckpointError(
                f"'{self.path}' has {free / 1e9:.1f} GB left, and the checkpoints of this run take "
                f"{needed / 1e9:.1f} GB; make room, or take another --run-dir."
            )


def _not_written(path: Path, error: Exception) -> str:
    reason = error.strerror if isinstance(error, OSError) else "the disk may be full"
    return (
        f"{path} cannot be written: {reason}. The checkpoint before it is whole: "
        "mend this and go on with --resume."
    )
