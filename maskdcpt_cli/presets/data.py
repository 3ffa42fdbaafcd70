"""Presets: one YAML file, one setting of the paper; the schema of those of data."""

import difflib
import re
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    PlainValidator,
    Tag,
    model_validator,
)
from pydantic_core import PydanticCustomError

from maskdcpt_cli.degradations import LABELS, SETTINGS, Range
from maskdcpt_cli.errors import unknown

WORD = re.compile(r"\{(\w+)\}")  # in a template


class Schema(BaseModel):
    """Settings that cannot be changed, nor misspelt."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _known(cls, given: Any) -> Any:
        for key in given if isinstance(given, Mapping) else ():
            if key not in cls.model_fields:
                close = difflib.get_close_matches(str(key), cls.model_fields, n=1, cutoff=0.7)
                choices = f"choose from: {', '.join(cls.model_fields)}"
                hint = f"did you mean '{close[0]}'?" if close else choices
                raise PydanticCustomError(
                    "unknown_key", "unknown key; {hint}", {"key": key, "hint": hint}
                )
        return given


Model = TypeVar("Model", bound=Schema)
Given = TypeVar("Given")


def _below(text: str) -> str:
    """Refuse a path that could leave the data root."""
    parts = text.split("/")
    if text.startswith("/") or ".." in parts or "\\" in text or re.match("[A-Za-z]:", text):
        raise ValueError(
            f"'{text}' must lie below the data root: no absolute path, no '..', no '\\'"
        )
    return text


def _template(text: str) -> str:
    if re.search(r"[{}]", WORD.sub("", text)):
        raise ValueError(f"in '{text}' a brace is no part of a word such as {{scene}} or {{path}}")
    return _below(text)


def _levels(given: object) -> tuple[float, ...] | Range:
    try:
        if isinstance(given, Mapping) and given.keys() == {"from", "to"}:
            return Range(float(given["from"]), float(given["to"]))
        if isinstance(given, (list, tuple)) and given:
            return given if isinstance(given, Range) else tuple(float(level) for level in given)
    except (TypeError, ValueError):
        pass
    raise ValueError("valid are a list, as [15, 25, 50], and a range, as {from: 5, to: 50}")


def _some(sources: Given) -> Given:
    if not sources:
        raise ValueError("give at least one")
    return sources


def _known_in(kind: str, table: Mapping[str, object]) -> AfterValidator:
    def check(word: str) -> str:
        if word not in table:
            raise ValueError(unknown(kind, word, table).rstrip("."))
        return word

    return AfterValidator(check)


Place = Annotated[str, AfterValidator(_below)]  # of a file or folder, below the data root
Template = Annotated[str, AfterValidator(_template)]
Levels = Annotated[tuple[float, ...] | Range, PlainValidator(_levels)]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Abbreviation = Annotated[str, _known_in("degradation", LABELS)]


class Synthesis(Schema):
    """How clean pictures are degraded; what is left out is drawn, as in `maskdcpt degrade`."""

    kind: str | None = None
    levels: Levels | None = None


class SeededSynthesis(Synthesis):
    """How those of a test set are degraded, the same every time."""

    seed: int = 0


class Recipe(Synthesis):
    """How clean pictures become those that are trained on."""

    toned: Share = 0  # how many are first given other tones
    enlarged: Share = 0  # how many are first made as soft as enlarged photos
    saved: Share = 0  # how many are at last saved as JPEG files, as people have them


class Named(Schema):
    """What every source has."""

    name: str
    pairs: Count | None = None  # that there should be, where it is known


class Folders(Named):
    """Image files by the shape of their paths: `{scene}` stands for anything within a name, and
    `{path}` for folders, too.

    An lq belongs to the gt that has the same words; lq may have more of them: of
    `hazy/{scene}_{airlight}` and `clear/{scene}`, many belong to one. Without lq the gt are
    degraded when they are read. The suffix may be that of any image, unless it is given.
    """

    gt: Template
    lq: Template | None = None

    @model_validator(mode="after")
    def _joined(self) -> "Folders":
        words = set(WORD.findall(self.gt)), set(WORD.findall(self.lq or self.gt))
        if missing := words[0] - words[1]:
            raise ValueError(f"'{{{min(missing)}}}' is in gt, but not in lq: they cannot be joined")
        return self


class Unpaired(Named):
    """Degraded pictures of which no clean ones exist, by the shape of their paths."""

    lq: Template


class TextList(Named):
    """A text file, a line `gt lq` each, or `gt` for clean pictures."""

    list: Place
    root: Place = ""  # the folder that its names start from


class Manifest(Named):
    """What `maskdcpt degrade` wrote; the degradations are those of its lines."""

    manifest: Place


class Shards(Named):
    """What `maskdcpt data pack` wrote."""

    shards: Place  # its index.json
    clean: bool = False  # the clean crops, to be degraded; else the pairs


LAYOUTS = {
    "gt": Folders,
    "list": TextList,
    "manifest": Manifest,
    "shards": Shards,
    "lq": Unpaired,  # alone; beside gt it is of Folders
}


def _layout(given: object) -> str:
    """The layout of a source, told by its keys; in brackets, to be known in places of errors."""
    keys = given if isinstance(given, Mapping) else getattr(given, "model_fields_set", ())
    return f"<{next((key for key in LAYOUTS if key in keys), 'gt')}>"


Source = Annotated[
    Annotated[Folders, Tag("<gt>")]
    | Annotated[TextList, Tag("<list>")]
    | Annotated[Manifest, Tag("<manifest>")]
    | Annotated[Shards, Tag("<shards>")]
    | Annotated[Unpaired, Tag("<lq>")],
    Discriminator(_layout),
]


class Part(Schema):
    """Pictures of one degradation."""

    degradation: Abbreviation | None = None  # None: a manifest's or shards' own; or none of ours
    synthesis: Synthesis = Synthesis()  # of sources that are clean
    sources: Annotated[tuple[Source, ...], AfterValidator(_some)]


class EvalPart(Part):
    """Test sets of one degradation."""

    synthesis: SeededSynthesis = SeededSynthesis()


class TrainPart(Part):
    """What is trained on, of one degradation."""

    synthesis: Recipe = Recipe()
    pairs: Count | None = None  # as the paper counts them
    variants: Count = 1  # how many pairs the paper counts for each clean picture
    repeat: Count = 1  # how often the pairs are visited while those of repeat 1 are visited once

    @model_validator(mode="after")
    def _labelled(self) -> "TrainPart":
        if self.degradation is None and any(
            isinstance(source, (Folders, TextList)) for source in self.sources
        ):
            raise ValueError(
                "the degradation is missing; only a manifest and shards know their own"
            )
        return self

    @model_validator(mode="after")
    def _with_gt(self) -> "TrainPart":
        for source in self.sources:
            if isinstance(source, Unpaired):
                raise ValueError(f"'{source.name}' has no gt; only test sets can do without")
        return self


class Data(Schema):
    """The data of one setting."""

    setting: Annotated[str, _known_in("setting", SETTINGS)]  # hence the order of the labels
    train: tuple[TrainPart, ...] = ()
    test: tuple[EvalPart, ...] = ()

    @model_validator(mode="after")
    def _of_the_setting(self) -> "Data":
        labels = SETTINGS[self.setting]
        for part in self.train:
            if part.degradation not in (None, *labels):
                raise ValueError(
                    f"'{part.degradation}' is not among the labels of '{self.setting}': "
                    f"{' '.join(labels)}"
                )
        return self
