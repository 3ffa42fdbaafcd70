"""What the network makes of some images, written at every validation."""

from pathlib import Path

from PIL import Image

from maskdcpt_cli.files import replacing
from maskdcpt_cli.images.contact_sheets import grid
from maskdcpt_cli.training.events import Event, Picture, Validated

COLUMNS = ("Input", "Made of it", "Ground truth")


class Pictures:
    """Writes a sheet into a folder: a row for each degradation."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def keep(self, event: Event) -> None:
        if isinstance(event, Validated) and event.pictures:
            self.folder.mkdir(exist_ok=True)
            with replacing(self.folder / f"{event.iteration:07}.jpg") as file:
                _sheet(event.pictures).save(file, format="JPEG", quality=90)

    def close(self) -> None:
        """Every sheet is whole when it is written."""


def _sheet(pictures: tuple[Picture, ...]) -> Image.Image:
    rows = [(picture.lq, picture.made, picture.gt) for picture in pictures]
    titles = [picture.degradation for picture in pictures]
    return Image.fromarray(grid(rows, column_titles=COLUMNS, row_titles=titles))
