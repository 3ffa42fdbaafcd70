"""The schema of a training run: the files of presets/pretrain/ and presets/finetune/.

Defaults are the paper's, with their source in it; "ours" marks what the paper leaves open. The
source is kept with the field, so that `maskdcpt presets show` prints it beside the value.
"""

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Annotated, Any, Literal, TypeVar, overload

from pydantic import (
    AfterValidator,
    Field,
    ModelWrapValidatorHandler,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveInt,
    PrivateAttr,
    ValidationError,
    model_validator,
)

from maskdcpt_cli.errors import MaskDCPTError, unknown
from maskdcpt_cli.presets.data import Fraction, Schema, Seed
from maskdcpt_cli.presets.load import load
from maskdcpt_cli.presets.optimizer import LRSchedule, LRSegment, Optimizer, paper
from maskdcpt_cli.presets.overrides import around_scaling

AnyRun = TypeVar("AnyRun", bound="Run")

LONGEST_RUN = 10**9  # iterations


def at_most(limit: int, reason: str) -> AfterValidator:
    """Return a bound of whole numbers whose refusal says the reason."""

    def check(number: int) -> int:
        if number > limit:
            raise ValueError(f"{number} is more than {limit}: {reason}")
        return number

    return AfterValidator(check)


Iterations = Annotated[PositiveInt, at_most(LONGEST_RUN, "no run takes longer")]
CropSize = Annotated[PositiveInt, at_most(4096, "a crop and its maps are held in memory")]
Batch = Annotated[PositiveInt, at_most(65_536, "a batch is held in memory")]
Workers = Annotated[NonNegativeInt, at_most(256, "each is a process with its own memory")]
Width = Annotated[PositiveInt, at_most(8192, "the decoder would not fit into memory")]


class Mask(Schema):
    """The mask of the input."""

    method: Literal["random", "square", "block-wise"] = paper("random", "Table IX")
    ratio: Annotated[float, Field(ge=0, lt=1)] = paper(0.5, "Table VII")
    patch_size: PositiveInt = paper(16, "Table VIII")


class Heads(Schema):
    """The decoders of pre-training and the weights of their losses."""

    reconstruction: Fraction = paper(1.0, "Eq. 5, lambda; 0 for none")
    classification: Fraction = paper(1.0, "Eq. 5; 0 for none")
    focal_gamma: NonNegativeFloat = paper(2.0, "ours: of Lin et al., 2017")
    multi_label: bool = paper(False, "ours: a sigmoid for each type, so that several are found")
    random_labels: bool = paper(False, "ours: a control, labels that say nothing of the image")
    classifier_dims: tuple[Width, Width, Width, Width] = paper(
        (64, 128, 256, 512), "Sec. IV-A: ResNet-18's"
    )
    reconstruction_dims: tuple[Width, Width, Width, Width] = paper(
        (32, 64, 96, 128), "ours, as all of that decoder"
    )
    clean_pass: bool = paper(False, "DCPT: a second pass that reconstructs clean images")

    @model_validator(mode="after")
    def _check_weights(self) -> "Heads":
        if not self.reconstruction and not self.classification:
            raise ValueError("reconstruction and classification are both 0: nothing is learnt")
        if self.random_labels and self.multi_label:
            raise ValueError("random_labels is for a classifier of one label, not for multi_label")
        return self


class Stage(Schema):
    """A part of the run with one crop size."""

    iterations: Iterations
    crop_size: CropSize
    batch: Batch  # samples of an iteration, over all processes
    data: str | None = paper(None, "ours: of this stage, in place of the run's")
    lr: LRSchedule | None = paper(None, "ours: from this stage on, in place of the optimizer's")


class Validation(Schema):
    """How often a run is validated, and on which images."""

    every: PositiveInt = paper(5000, "ours")
    images: PositiveInt = paper(20, "ours: of each degradation")
    crop_size: Annotated[CropSize, Field(ge=11)] = paper(256, "ours")  # SSIM's window is 11


class Training(Schema):
    """The stages, precision and bookkeeping of a run."""

    stages: tuple[Stage, ...] = Field(min_length=1)
    precision: Literal["fp32", "bf16", "fp16"] = paper("fp32", "ours")
    ema: Fraction | None = paper(None, "ours: the average of the weights; None: none")
    channels_last: bool = paper(True, "ours: faster, same numbers")
    compile: bool = paper(False, "ours")
    deterministic: bool = paper(False, "ours: on a GPU, the same bits again, slower")
    checkpointing: bool = paper(False, "ours: recompute activations, less memory")
    workers: Workers = paper(4, "ours: loading data, of each process")
    save_every: PositiveInt = paper(5000, "ours")
    keep_every: PositiveInt | None = paper(None, "ours: weights kept besides; None: none")
    seed: Seed = paper(0, "ours")

    @property
    def iterations(self) -> int:
        return sum(stage.iterations for stage in self.stages)


class Run(Schema):
    """The settings that pre-training and fine-tuning share."""

    data: str  # a preset of presets/data, or a file
    backbone: str = paper("nafnet", "Sec. V-A")
    sizes: dict[str, dict[str, Any]] = paper({}, "of backbones; the others are as released")
    load_loss: Fraction = paper(0.01, "ours, as in MoCE-IR: weight of the load loss of experts")
    training: Training
    optimizer: Optimizer
    validation: Validation = Validation()
    initialise_from: str | None = paper(None, "a file of weights; None: random weights")
    _name: str | None = PrivateAttr(None)

    @property
    def name(self) -> str | None:
        """The name or the file of the preset; None for one that was built in Python."""
        return self._name

    @property
    def options(self) -> Mapping[str, Any]:
        """The options of the backbone; those left out are as released."""
        return self.sizes.get(self.backbone, {})

    def override_of(self, architecture: str) -> str:
        """Return the override of a preset that gives its backbone this architecture."""
        return f"sizes.{self.backbone}.architecture={architecture}"

    @property
    def lr_segments(self) -> tuple[LRSegment, ...]:
        """The backbone's schedules, one after another: each holds until a stage has another."""
        begins, schedules, begin = [0], [self.optimizer.lr], 0
        for stage in self.training.stages:
            if stage.lr:
                begins.append(begin)
                schedules.append(stage.lr)
            begin += stage.iterations
        segments = map(LRSegment, begins, [*begins[1:], begin], schedules)
        return tuple(segment for segment in segments if segment.begin < segment.end)

    @property
    def decoder_lr_segments(self) -> tuple[LRSegment, ...]:
        """The schedules of the decoders of pre-training, likewise; one of their own never ends."""
        schedule = self.optimizer.decoder_lr
        if schedule is None:
            return self.lr_segments
        return (LRSegment(0, self.training.iterations, schedule),)

    def with_iterations(self: AnyRun, iterations: int) -> AnyRun:
        """Return the run in so many iterations: its stages and cosines are scaled alike."""
        stages, total = self.training.stages, self.training.iterations
        ends = [round(end * iterations / total) for end in accumulate(s.iterations for s in stages)]

        def scaled(schedule: LRSchedule | None) -> LRSchedule | None:
            if schedule is None:
                return None
            lengths = {"after": schedule.after, "warm_up": schedule.warm_up}
            scale = iterations / total
            return schedule.model_copy(update={k: round(v * scale) for k, v in lengths.items()})

        kept: list[Stage] = []
        latest: LRSchedule | None = None  # of the stages since the last one that was kept
        for stage, begin, end in zip(stages, [0, *ends], ends, strict=False):
            latest = stage.lr or latest
            if end > begin:
                update = {"iterations": end - begin, "lr": scaled(latest)}
                kept.append(stage.model_copy(update=update))
                latest = None
        lrs = {"lr": scaled(self.optimizer.lr), "decoder_lr": scaled(self.optimizer.decoder_lr)}
        return self.model_copy(
            update={
                "training": self.training.model_copy(update={"stages": tuple(kept)}),
                "optimizer": self.optimizer.model_copy(update=lrs),
            }
        )

    @model_validator(mode="wrap")
    @classmethod
    def _accept_iterations(
        cls: type[AnyRun], given: Any, validate: ModelWrapValidatorHandler[AnyRun]
    ) -> AnyRun:
        """Accept `training.iterations`, which is not a field: it sets the length of the stages."""
        training = given.get("training") if isinstance(given, Mapping) else None
        if not isinstance(training, Mapping) or "iterations" not in training:
            return validate(given)
        rest = dict(training)
        iterations = rest.pop("iterations")
        run = validate({**given, "training": rest})
        if not _is_whole(iterations) or not 1 <= iterations <= LONGEST_RUN:
            raise ValueError(
                f"training.iterations is {iterations!r}; valid are whole numbers from 1 to "
                f"{LONGEST_RUN}"
            )
        return run.with_iterations(int(iterations))

    @model_validator(mode="after")
    def _check_cosines(self) -> "Run":
        for begin, end, schedule in (*self.lr_segments, *self.decoder_lr_segments):
            if schedule.final and schedule.after >= end - begin:
                raise ValueError(
                    f"the cosine of {self._key_path(schedule)} begins after {schedule.after} "
                    f"iterations, but the schedule holds for only {end - begin}"
                )
            if schedule.warm_up > end - begin:
                raise ValueError(
                    f"the warm-up of {self._key_path(schedule)} takes {schedule.warm_up} "
                    f"iterations, but the schedule holds for only {end - begin}"
                )
        return self

    def _key_path(self, schedule: LRSchedule) -> str:
        for number, stage in enumerate(self.training.stages):
            if stage.lr is schedule:
                return f"training.stages.{number}.lr"
        return "optimizer.lr" if schedule is self.optimizer.lr else "optimizer.decoder_lr"


class Pretrain(Run):
    """Masked degradation classification pre-training (Sec. IV)."""

    mask: Mask = Mask()
    heads: Heads = Heads()

    @model_validator(mode="after")
    def _check_mask(self) -> "Pretrain":
        side, ratio = self.mask.patch_size, self.mask.ratio
        sizes = [stage.crop_size for stage in self.training.stages] + [self.validation.crop_size]
        for size in sizes if ratio else ():
            if size % side:
                raise ValueError(
                    f"mask.patch_size is {side}, which does not divide the crop_size {size}"
                )
            patches = (size // side) ** 2
            if not round(patches * (1 - ratio)):
                raise ValueError(
                    f"mask.ratio is {ratio:g}, which hides the whole crop of {size} pixels, of "
                    f"{patches} patches: take a lower one, or a smaller mask.patch_size"
                )
        return self


class Conductance(Schema):
    """The layers that are fine-tuned, by mask attribute conductance (RAM, Qin et al., 2024)."""

    fraction: Annotated[float, Field(gt=0, le=1)] = paper(
        0.3, "RAM's options for PromptIR; SwinIR 0.1"
    )
    mask_ratio: Annotated[float, Field(gt=0, le=1)] = paper(0.5, "RAM's options: where paths begin")
    steps: PositiveInt = paper(200, "RAM's options: of a path to the whole image")
    images: PositiveInt = paper(10, "RAM's options: of each degradation, on average")


class Finetune(Run):
    """Fine-tuning for restoration (Sec. V)."""

    loss: str = paper(
        "l1", "ours, as all LOSSES; relative to the input's for short runs on many types"
    )
    conductance: Conductance | None = paper(None, "RAM: train some layers alone; None: all")


SCHEMAS: dict[str, type[Pretrain] | type[Finetune]] = {"pretrain": Pretrain, "finetune": Finetune}


@overload
def load_preset(
    kind: Literal["pretrain"], name: str, *, overrides: Sequence[str] = ()
) -> Pretrain: ...
@overload
def load_preset(
    kind: Literal["finetune"], name: str, *, overrides: Sequence[str] = ()
) -> Finetune: ...
@overload
def load_preset(kind: str, name: str, *, overrides: Sequence[str] = ()) -> Pretrain | Finetune: ...
def load_preset(kind: str, name: str, *, overrides: Sequence[str] = ()) -> Pretrain | Finetune:
    """Load the preset of a training run.

    Args:
        kind: "pretrain" or "finetune".
        name: as `maskdcpt presets` lists it, or a YAML file of that form.
        overrides: as "training.iterations=2000": the key path of a value, and the value in YAML.
            A number of iterations scales the stages and schedules but for what others set.

    Returns:
        The settings of the run; values that the file leaves out are the paper's.

    Raises:
        MaskDCPTError: for a kind or a name that does not exist, and for values that are not valid,
            with their key path.
    """
    if kind not in SCHEMAS:
        raise MaskDCPTError(unknown("kind of preset", kind, SCHEMAS))
    earlier, later = around_scaling(overrides)
    preset = load(name, SCHEMAS[kind], kind=kind, overrides=[*earlier, _scaled, *later])
    preset._name = name
    return preset


def _is_whole(number: object) -> bool:
    return isinstance(number, int) or (isinstance(number, float) and number.is_integer())


def _scaled(content: Any) -> Any:
    """Return the content of a preset with its stages and schedules scaled to its iterations."""
    try:
        training, optimizer = dict(content["training"]), content["optimizer"]
        iterations = training.pop("iterations")
        if not _is_whole(iterations) or not 1 <= iterations <= LONGEST_RUN:
            return content
        run = Run.model_construct(
            training=Training.model_validate(training),
            optimizer=Optimizer.model_validate(optimizer),
        )
        scaled = run.with_iterations(int(iterations))
    except (ValidationError, LookupError, TypeError):  # which is reported of the whole preset
        return content
    return {**content, **scaled.model_dump(mode="json", exclude_unset=True)}
