"""The optimizer of a training run and its learning rates; see `presets.training`."""

from typing import Annotated, Any, NamedTuple

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat

from maskdcpt_cli.presets.data import Fraction, Schema

Beta = Annotated[float, Field(ge=0, lt=1)]


def paper(default: Any, source: str) -> Any:
    """Return a field with its default and the default's source in the paper, or "ours"."""
    return Field(default, json_schema_extra={"source": source})


class LRSchedule(Schema):
    """A learning rate over a run or some of its stages: constant, then half a cosine.

    The cosine begins after `after` iterations and ends at `final`.
    """

    initial: PositiveFloat
    final: PositiveFloat | None = paper(None, "constant to the end")
    after: NonNegativeInt = paper(0, "iterations before the cosine")
    warm_up: NonNegativeInt = paper(0, "ours: iterations in which the rate rises to the schedule's")


class LRSegment(NamedTuple):
    """The iterations of one learning rate schedule."""

    begin: int
    end: int  # exclusive
    schedule: LRSchedule


class Optimizer(Schema):
    """AdamW."""

    lr: LRSchedule
    decoder_lr: LRSchedule | None = paper(None, "of both decoders of pre-training: as the encoder")
    weight_decay: NonNegativeFloat = paper(0.0, "Sec. V-A of pre-training; ours of fine-tuning")
    betas: tuple[Beta, Beta] = paper((0.9, 0.999), "ours: AdamW's own, and Restormer's")
    clip: PositiveFloat | None = paper(None, "ours: gradient norm; Restormer's recipe has 0.01")
    layer_decay: Fraction = paper(1.0, "ours: lr of a stage relative to the one after it")
    freeze: tuple[str, ...] = paper((), "ours: prefixes of parameter names")
