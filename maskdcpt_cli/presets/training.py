"""The schema of a training run: what presets/pretrain/ and presets/finetune/ hold.

Defaults are the paper's, with their place in it; "ours" marks what the paper leaves open. The
place is kept with the field, so that `maskdcpt presets show` prints it beside the value.
"""

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

from pydantic import Field, ModelWrapValidatorHandler, PrivateAttr, model_validator

from maskdcpt_cli.errors import MaskDCPTError, unknown
from maskdcpt_cli.presets.data import Fraction, Schema
from maskdcpt_cli.presets.load import load

Whole = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
RATES = ("rate", "decoder_rate")
AnyRun = TypeVar("AnyRun", bound="Run")


def paper(default: Any, place: str) -> Any:
    """A field with its default and where the paper says so, or "ours"."""
    return Field(default, json_schema_extra={"source": place})


class Mask(Schema):
    """Which part of the input is hidden."""

    method: Literal["random", "square", "block-wise"] = paper("random", "Table IX")
    ratio: Annotated[float, Field(ge=0, lt=1)] = paper(0.5, "Table VII")
    patch_size: Whole = paper(16, "Table VIII")


class Heads(Schema):
    """What is asked of the features, and how much each counts."""

    reconstruction: Fraction = paper(1.0, "Eq. 5, lambda; 0 for none")
    classification: Fraction = paper(1.0, "Eq. 5; 0 for none")
    focal_gamma: Annotated[float, Field(ge=0)] = paper(2.0, "Sec. IV-B")
    classifier_dims: tuple[Whole, Whole, Whole, Whole] = paper(
        (64, 128, 256, 512), "Sec. IV-A: ResNet-18's"
    )
    reconstruction_dims: tuple[Whole, Whole, Whole, Whole] = paper(
        (32, 64, 96, 128), "ours, as all of that decoder"
    )
    clean_pass: bool = paper(False, "DCPT: a second pass that reconstructs clean images")

    @model_validator(mode="after")
    def _something(self) -> "Heads":
        if not self.reconstruction and not self.classification:
            raise ValueError("reconstruction and classification are both 0: nothing is learnt")
        return self


class Rate(Schema):
    """A learning rate over a run or some stages of it: constant, then from `after` on a cosine
    down to `final`.
    """

    initial: Positive
    final: Positive | None = paper(None, "constant to the end")
    after: Annotated[int, Field(ge=0)] = paper(0, "iterations before the cosine")


class Optimiser(Schema):
    """AdamW."""

    rate: Rate
    decoder_rate: Rate | None = paper(None, "of both decoders of pre-training: as the encoder")
    weight_decay: Annotated[float, Field(ge=0)] = paper(0.0, "Sec. V-A")
    betas: tuple[Fraction, Fraction] = paper((0.9, 0.999), "ours: AdamW's own, and Restormer's")
    clip: Positive | None = paper(None, "ours: gradient norm; Restormer's recipe has 0.01")
    layer_decay: Fraction = paper(1.0, "ours: rate of a stage relative to the one after it")
    freeze: tuple[str, ...] = paper((), "ours: beginnings of parameter names")


class Stage(Schema):
    """A part of the run with one crop size."""

    iterations: Whole
    crop_size: Whole
    batch: Whole  # samples of an iteration, over all processes
    data: str | None = paper(None, "ours: of this stage, in place of the run's")
    rate: Rate | None = paper(None, "ours: from this stage on, in place of the optimiser's")


class Phase(NamedTuple):
    """Iterations over which one rate takes its course."""

    begin: int
    end: int
    rate: Rate


class Validation(Schema):
    """What is measured during the run, and how often."""

    every: Whole = paper(5000, "ours")
    images: Whole = paper(20, "ours: of each degradation")
    crop_size: Whole = paper(256, "ours")


class Training(Schema):
    """How long and at which size; the batch is that of all processes together."""

    stages: tuple[Stage, ...] = Field(min_length=1)
    precision: Literal["fp32", "bf16", "fp16"] = paper("fp32", "ours")
    ema: Fraction | None = paper(None, "Sec. V-C has 0.999 for fine-tuning")
    channels_last: bool = paper(True, "ours: faster, same numbers")
    compile: bool = paper(False, "ours")
    checkpointing: bool = paper(False, "ours: recompute activations, less memory")
    workers: Annotated[int, Field(ge=0)] = paper(4, "ours: loading data, of each process")
    save_every: Whole = paper(5000, "ours")
    seed: Annotated[int, Field(ge=0)] = paper(0, "ours")

    @property
    def iterations(self) -> int:
        return sum(stage.iterations for stage in self.stages)


class Run(Schema):
    """What pre-training and fine-tuning share."""

    data: str  # a preset of presets/data, or a file
    backbone: str = paper("nafnet", "Sec. V-A")
    sizes: dict[str, dict[str, Any]] = paper({}, "of backbones; the others are as released")
    training: Training
    optimiser: Optimiser
    validation: Validation = Validation()
    initialise_from: str | None = paper(None, "a file of weights; None: drawn at random")
    _name: str | None = PrivateAttr(None)

    @property
    def name(self) -> str | None:
        """The name or the file that the preset was loaded by; None for one made in Python."""
        return self._name

    @property
    def options(self) -> Mapping[str, Any]:
        """Of the backbone; those left out are as released."""
        return self.sizes.get(self.backbone, {})

    @property
    def phases(self) -> tuple[Phase, ...]:
        """The backbone's rates, one after another: each holds until a stage brings another."""
        begins, rates, begin = [0], [self.optimiser.rate], 0
        for stage in self.training.stages:
            if stage.rate:
                begins.append(begin)
                rates.append(stage.rate)
            begin += stage.iterations
        ends = [*begins[1:], begin]
        return tuple(
            Phase(*one) for one in zip(begins, ends, rates, strict=True) if one[0] < one[1]
        )

    @property
    def decoder_phases(self) -> tuple[Phase, ...]:
        """The rates of the decoders of pre-training, likewise."""
        rate = self.optimiser.decoder_rate
        return (Phase(0, self.training.iterations, rate),) if rate else self.phases

    def lasting(self: AnyRun, iterations: int) -> AnyRun:
        """The run in so many iterations: each stage and the cosine begin at their share of it."""
        stages, total = self.training.stages, self.training.iterations
        ends = [round(end * iterations / total) for end in accumulate(s.iterations for s in stages)]

        def shortened(rate: Rate | None) -> Rate | None:
            after = round(rate.after * iterations / total) if rate else 0
            return rate and rate.model_copy(update={"after": after})

        kept: list[Stage] = []
        brought: Rate | None = None
        for stage, begin, end in zip(stages, [0, *ends], ends, strict=False):
            brought = stage.rate or brought
            if end > begin:
                lasts = {"iterations": end - begin, "rate": shortened(brought)}
                kept.append(stage.model_copy(update=lasts))
                brought = None
        rates = {name: shortened(getattr(self.optimiser, name)) for name in RATES}
        return self.model_copy(
            update={
                "training": self.training.model_copy(update={"stages": tuple(kept)}),
                "optimiser": self.optimiser.model_copy(update=rates),
            }
        )

    @model_validator(mode="wrap")
    @classmethod
    def _lasting(
        cls: type[AnyRun], given: Any, validate: ModelWrapValidatorHandler[AnyRun]
    ) -> AnyRun:
        """Take `training.iterations`, too, which is no field but says how long the stages last."""
        training = given.get("training") if isinstance(given, Mapping) else None
        if not isinstance(training, Mapping) or "iterations" not in training:
            return validate(given)
        rest = dict(training)
        iterations = rest.pop("iterations")
        run = validate({**given, "training": rest})
        if not isinstance(iterations, int) or iterations < 1:
            raise ValueError(
                f"training.iterations is {iterations!r}; valid are whole numbers from 1"
            )
        return run.lasting(iterations)

    @model_validator(mode="after")
    def _timely(self) -> "Run":
        for begin, end, rate in (*self.phases, *self.decoder_phases):
            if rate.final and rate.after >= end - begin:
                raise ValueError(
                    f"the cosine of {self._place(rate)} begins after {rate.after} iterations, but "
                    f"the rate holds for only {end - begin}"
                )
        return self

    def _place(self, rate: Rate) -> str:
        for number, stage in enumerate(self.training.stages):
            if stage.rate is rate:
                return f"training.stages.{number}.rate"
        return "optimiser.rate" if rate is self.optimiser.rate else "optimiser.decoder_rate"


class Pretrain(Run):
    """Masked degradation classification pre-training (Sec. IV)."""

    mask: Mask = Mask()
    heads: Heads = Heads()

    @model_validator(mode="after")
    def _whole_patches(self) -> "Pretrain":
        sizes = [stage.crop_size for stage in self.training.stages] + [self.validation.crop_size]
        for size in sizes:
            if self.mask.ratio and size % self.mask.patch_size:
                raise ValueError(
                    f"mask.patch_size is {self.mask.patch_size}, which does not divide the "
                    f"crop_size {size}"
                )
        return self


class Finetune(Run):
    """Fine-tuning for restoration (Sec. V)."""

    loss: Literal["l1", "relative-l1", "relative-rmse"] = paper(
        "l1", "Sec. V-A; relative to the input's it is ours, for short runs on many types"
    )


SCHEMAS: dict[str, type[Pretrain] | type[Finetune]] = {"pretrain": Pretrain, "finetune": Finetune}


def load_preset(kind: str, name: str, *, overrides: Sequence[str] = ()) -> Pretrain | Finetune:
    """Load the preset of a training run.

    Args:
        kind: "pretrain" or "finetune".
        name: as `maskdcpt presets` lists it, or a YAML file of that form.
        overrides: as "training.iterations=2000": the key path of a value, and the value in YAML.

    Returns:
        The settings of the run; values that the file leaves out are the paper's.

    Raises:
        MaskDCPTError: for a kind or a name that does not exist, and for values that are not valid,
            with their key path.
    """
    if kind not in SCHEMAS:
        raise MaskDCPTError(unknown("kind of preset", kind, SCHEMAS))
    preset = load(name, SCHEMAS[kind], kind=kind, overrides=overrides)
    preset._name = name
    return preset
