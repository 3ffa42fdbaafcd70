"""The files of a run: weights for use, and the states that it resumes from."""

import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from maskdcpt_cli.data.mixture import Sample
from maskdcpt_cli.errors import CheckpointError
from maskdcpt_cli.files import open_regular, replacing, shown
from maskdcpt_cli.out_of_memory import is_out_of_memory
from maskdcpt_cli.weights.checkpoint import Checkpoint, save_checkpoint

State = Mapping[str, Any]  # of tensors, numbers and texts, by names and numbers
SKIPPED = "skipped"  # the folder of the batches of skipped iterations
KEPT = "kept"  # the folder of the weights of training.keep_every


@dataclass
class RunProgress:
    """The counters of a run; its state holds them under these names."""

    iteration: int = 0  # how many are done
    skipped: int = 0  # of them
    skipped_in_a_row: int = 0  # for NaN or infinity
    best: float | None = None  # mean score of a validation
    validated_at: int = 0  # iteration
    temperature: float | None = None  # of the classifier, from the last validation
    thresholds: dict[str, float] = field(default_factory=dict)  # likewise, by label

    def counters(self) -> dict[str, Any]:
        """Return what a state holds, by name; no thresholds where there are none, as before."""
        return {name: value for name, value in asdict(self).items() if value != {}}


@dataclass(frozen=True)
class CheckpointFolder:
    """The files of a run.

    `last` and `best` are each a .state and a .safetensors file; `final` is weights alone, as are
    those kept in the folder `kept`, by iteration.
    """

    path: Path

    def state(self, which: str) -> Path:
        return self.path / f"{which}.state"

    def weights(self, which: str) -> Path:
        return self.path / f"{which}.safetensors"

    def save(self, which: str, state: State, checkpoint: Checkpoint) -> Path:
        """Write both files, each completely or not at all; a run resumes from the state alone.

        Raises:
            CheckpointError: when the disk is full, or not writable.
        """
        path = self.state(which)
        try:
            with replacing(path) as file:
                torch.save(dict(state), file)
        except (OSError, RuntimeError) as error:  # torch raises the latter for a full disk
            raise CheckpointError(_not_written(path, error)) from error
        save_checkpoint(checkpoint, self.weights(which))
        return self.weights(which)

    def kept(self, iteration: int) -> Path:
        return self.path / KEPT / f"{iteration:07}.safetensors"

    def save_kept(self, iteration: int, checkpoint: Checkpoint) -> Path:
        """Write the weights of an iteration, which are not replaced by later ones."""
        path = self.kept(iteration)
        path.parent.mkdir(exist_ok=True)
        save_checkpoint(checkpoint, path)
        return path

    def save_final(self, checkpoint: Checkpoint) -> Path:
        """Write the weights that are the result of the run."""
        path = self.weights("final")
        save_checkpoint(checkpoint, path)
        return path

    def keep_final(self, iteration: int) -> None:
        """Keep the result of a run that is extended, under its last iteration."""
        kept = self.kept(iteration)
        kept.parent.mkdir(exist_ok=True)
        self.weights("final").replace(kept)

    def save_batch(self, batch: Sample, name: str) -> Path:
        """Write the batch of a skipped iteration."""
        path = self.path / SKIPPED / f"{name}.pt"
        path.parent.mkdir(exist_ok=True)
        with replacing(path) as file:
            torch.save({"lq": batch.lq, "gt": batch.gt, "number": batch.number}, file)
        return path

    def read(self, which: str) -> State | None:
        """Read a state, onto the CPU; None where there is none. Nothing in the file is executed.

        Raises:
            CheckpointError: for a file that is damaged.
        """
        path = self.state(which)
        if not path.exists():
            return None
        try:
            with open_regular(path) as file:
                return dict(torch.load(file, map_location="cpu", weights_only=True))
        except Exception as error:  # on damaged bytes the restricted unpickler raises almost any
            if is_out_of_memory(error):
                raise
            raise CheckpointError(
                f"{shown(path)} is damaged, and training cannot resume from it. The weights alone, "
                f"{shown(self.weights(which))}, can begin another run: --init-from."
            ) from error

    def check_space(self, state_bytes: int, *, kept_bytes: int = 0) -> None:
        """Check that the states of a run, of `state_bytes` each, and kept weights fit on the disk.

        There are `last`, `best`, and the next one while the one before it is kept; the weights for
        use take less than a third of each.

        Raises:
            CheckpointError: when they do not fit.
        """
        present = sum(file.stat().st_size for file in self.path.rglob("*.s*"))
        free, needed = shutil.disk_usage(self.path).free, 4 * state_bytes + kept_bytes - present
        if free < needed:
            raise CheckpointError(
                f"'{shown(self.path)}' has {free / 1e9:.1f} GB left, and the checkpoints of this "
                f"run take {needed / 1e9:.1f} GB; make room, or take another --run-dir."
            )


def how_to_go_on(folder: CheckpointFolder) -> str:
    """Return what to type to train further than a finished run."""
    return (
        f"To train further, begin another run with its weights: --init-from "
        f"'{shown(folder.weights('final'))}', and another --run-dir. Or extend it: --resume, and "
        "--set 'training.stages.N={iterations: ..., crop_size: ..., batch: ..., "
        "lr: {initial: ...}}', where N is how many stages it has."
    )


def _not_written(path: Path, error: Exception) -> str:
    reason = error.strerror if isinstance(error, OSError) else "the disk may be full"
    return (
        f"{shown(path)} cannot be written: {reason}. The checkpoint before it is complete: "
        "make room and resume with --resume."
    )
