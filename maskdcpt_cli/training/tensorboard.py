"""Events for TensorBoard, where it is installed."""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from maskdcpt_cli.training.events import Event, Step, Validated

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class Board:
    """Writes curves; a run that goes on hides what it had written after that iteration."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._writer: SummaryWriter | None = None

    def keep(self, event: Event) -> None:
        if isinstance(event, Step):
            self._write(event.iteration, _of_step(event))
        elif isinstance(event, Validated):
            self._write(
                event.iteration,
                {
                    f"{metric}/{degradation}": score
                    for degradation, scores in event.scores.items()
                    for metric, score in scores.items()
                },
            )

    def close(self) -> None:
        if self._writer:
            self._writer.close()

    def _write(self, iteration: int, curves: dict[str, float]) -> None:
        if not self._writer:
            from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415  # slow; optional

            self._writer = SummaryWriter(str(self.folder), purge_step=iteration)
        for name, value in curves.items():
            self._writer.add_scalar(name, value, iteration)


def open_board(folder: Path) -> Board | None:
    """The board in a folder; None where TensorBoard is not installed."""
    return Board(folder) if find_spec("tensorboard") else None


def _of_step(step: Step) -> dict[str, float]:
    curves = {f"loss/{name}": loss for name, loss in step.losses.items()}
    curves |= {"training/rate": step.rate, "training/images per second": step.images_per_second}
    return curves if step.accuracy is None else {**curves, "training/accuracy": step.accuracy}
