"""The metadata of a file of weights: strings by name in the header of safetensors."""

import json
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    Json,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from maskdcpt_cli.degradations import CLEAN


def frozen(value: Any) -> Any:
    """Return a value with tuples in place of lists, at all levels: JSON has no tuples."""
    if isinstance(value, (list, tuple)):
        return tuple(map(frozen, value))
    if isinstance(value, dict):
        return {name: frozen(one) for name, one in value.items()}
    return value


OMITTED = {"restores": True, "multi_label": False, "thresholds": {}}  # as in earlier files
Probability = Annotated[float, Field(ge=0, le=1)]
ModuleName = Annotated[str, Field(pattern=r"^[\w.]{1,100}$")]
Label = Annotated[str, Field(pattern=r"^[\w+-]{1,40}$")]  # printable


class CheckpointMetadata(BaseModel):
    """What maskdcpt records about weights; other entries of a file are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    backbone: str | None = None
    options: Annotated[Json[dict[str, Any]], AfterValidator(frozen)] = Field(default_factory=dict)
    degradations: Json[tuple[Label, ...]] = ()  # abbreviations in label order
    preset: str | None = None
    licence: str | None = None
    temperature: Annotated[FiniteFloat, Field(ge=1e-6)] | None = None  # of the classifier's logits
    multi_label: bool = False
    thresholds: Json[dict[Label, Probability]] = Field(default_factory=dict)  # by label
    crop_size: Annotated[int, Field(ge=1, le=9999)] | None = None  # pixels a side
    restores: bool = True
    version: str | None = None  # of the maskdcpt that wrote the file
    plugins: Json[tuple[ModuleName, ...]] | None = None  # modules of those that it needs

    @field_validator("multi_label")
    @classmethod
    def _clean_is_no_label(cls, multi_label: bool, known: ValidationInfo) -> bool:
        if multi_label and CLEAN in known.data.get("degradations", ()):
            raise ValueError("a clean image has none of the labels")
        return multi_label

    @field_validator("thresholds")
    @classmethod
    def _of_labels(cls, thresholds: dict[str, float], known: ValidationInfo) -> dict[str, float]:
        labels = known.data.get("degradations", ()) if known.data.get("multi_label") else ()
        if not thresholds.keys() <= set(labels):
            raise ValueError("thresholds are of the labels of a multi-label classifier")
        return thresholds


def parse_metadata(header: Mapping[str, str]) -> CheckpointMetadata:
    """Parse the metadata of a file; ValueError with the first entry that is not valid."""
    try:
        return CheckpointMetadata.model_validate(header)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        value = " ".join(header[name].split())
        raise ValueError(
            f"has metadata that maskdcpt did not write: {name} {value[:60]}"
        ) from error


def format_metadata(metadata: CheckpointMetadata) -> dict[str, str]:
    """Return the metadata as strings; entries that are unknown, and those OMITTED, left out."""
    return {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in metadata.model_dump().items()
        if value is not None and OMITTED.get(name) != value
    }
