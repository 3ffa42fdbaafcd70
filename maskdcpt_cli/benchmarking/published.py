"""Result tables of the paper in one form: rows of methods, columns of test sets."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import yaml

from maskdcpt_cli.presets.load import folder

FULL = ("psnr", "ssim", "lpips", "fid")
FIDELITY = ("psnr", "ssim")
BLIND = ("piqe", "brisque")
SPECIALISTS = "best single-task"  # the row of another network for each column
TEXT = "Sec. V-A"  # heading of the averages over the test sets that the text names
METHOD = "MaskDCPT"  # is in the names of the rows of the paper's own method

MetricValues = Mapping[str, float]  # by metric


class SetInfo(NamedTuple):
    """Name, degradation and level, which identify a test set."""

    name: str  # of the source in its preset
    degradation: str | None  # abbreviation
    level: float | None = None  # of a synthetic degradation


class Column(NamedTuple):
    """Column of a table: for each metric, one figure, the mean over these test sets.

    It is the mean over degradations of the mean over the test sets of each.
    """

    title: str
    metrics: tuple[str, ...]
    degradation: str | None = None  # of the sets; None: any, or those of `degradations`
    names: tuple[str, ...] = ()  # of the sets; (): all of the degradation
    level: float | None = None
    group: str = ""  # heading above several columns
    preset: str | None = None  # the data preset whose test sets these are; None: any
    degradations: tuple[str, ...] = ()  # of the sets, where they are of several; (): any

    @property
    def key(self) -> str:
        """Unique name in its table."""
        return f"{self.group} {self.title}".lstrip()

    def covers(self, info: SetInfo) -> bool:
        """Return whether the test set counts in this column."""
        return (
            self.degradation in (None, info.degradation)
            and (not self.degradations or info.degradation in self.degradations)
            and (not self.names or info.name in self.names)
            and self.level in (None, info.level)
        )


@dataclass(frozen=True)
class PaperTable:
    """Published table of the paper."""

    title: str  # as "Table I"
    caption: str
    columns: tuple[Column, ...]
    rows: Mapping[str, Mapping[str, MetricValues]]  # by method, by key of a column
    note: str = ""

    def restricted_to(self, preset: str, sets: Sequence[SetInfo]) -> "PaperTable":
        """Return the table with only those columns that these test sets of a preset count in."""
        columns = (
            c
            for c in self.columns
            if c.preset in (None, preset) and any(c.covers(info) for info in sets)
        )
        return replace(self, columns=tuple(columns))


Cell = tuple[str, str, Sequence[float | None]]  # method, key of a column, figures


class TableLayout(NamedTuple):
    """Layout of a table in the file of published results."""

    title: str
    caption: str
    columns: tuple[Column, ...]
    cells: Callable[[Any, Sequence[Column]], Iterator[Cell]]


def _by_method_in_order(content: Any, columns: Sequence[Column]) -> Iterator[Cell]:
    for method, cells in content["rows"].items():
        for column, figures in zip(columns, cells, strict=True):
            yield method, column.key, figures


def _by_method_and_group(content: Any, columns: Sequence[Column]) -> Iterator[Cell]:
    for method, groups in content.items():
        for group, figures in groups.items():
            keys = (column.key for column in columns if column.group == group)
            for key, figure in zip(keys, figures, strict=True):
                yield method, key, [figure]


def _by_method(content: Any, columns: Sequence[Column]) -> Iterator[Cell]:
    for method, cells in content.items():
        for column in columns:
            yield method, column.key, cells[_word(column)]


def _by_column(content: Any, columns: Sequence[Column]) -> Iterator[Cell]:
    for column in columns:
        for method, figures in content[_word(column)].items():
            if isinstance(figures, Mapping):
                yield SPECIALISTS, column.key, figures["scores"]
            else:
                yield method, column.key, figures


def _by_column_and_training(content: Any, columns: Sequence[Column]) -> Iterator[Cell]:
    for column in columns:
        for method, (from_scratch, pre_trained) in content[column.title].items():
            yield method, column.key, from_scratch
            yield f"{method}+{METHOD}", column.key, pre_trained


def _word(column: Column) -> str:
    """Return the column's name in the file, which has `low_light` for low light."""
    return column.title.replace(" ", "_")


def _noise(names: Sequence[str]) -> tuple[Column, ...]:
    return tuple(
        Column(f"\N{GREEK SMALL LETTER SIGMA} {level}", ("psnr",), "GN", (name,), level, group=name)
        for name in names
        for level in (15, 25, 50, 60, 75)
    )


def _mixed(name: str, *, source: str = "") -> Column:
    return Column(name, FULL, names=(source or name,))


TABLE_2_TYPES = ("RS", "H", "S", "RD", "LL", "MB", "DB", "J", "RN", "GB", "MS", "MR")
SYNTHETIC_RAIN = ("Rain100L", "Rain100H", "Test100", "Test1200", "Test2800", "SynRain-13k")

LAYOUTS: dict[str, TableLayout] = {
    "table_1_5d": TableLayout(
        "Table I", "one network for five degradations",
        (
            Column("dehazing", FULL, "H", ("SOTS",)),
            Column("deraining", FULL, "RS", ("Rain100L",)),
            Column("denoising", FULL, "GN", ("CBSD68",), 25),
            Column("deblurring", FULL, "MB", ("GoPro",)),
            Column("low light", FULL, "LL", ("LOL-v1",)),
        ),
        _by_method_in_order,
    ),
    "table_2_12d": TableLayout(
        "Table II",
        "one network for twelve degradations, the mean over the test sets of each: all of the "
        f"released options, and under {TEXT} those that the text names",
        (
            Column("deraining", FULL, "RS"),
            Column("dehazing", FULL, "H"),
            Column("desnowing", FULL, "S"),
            Column("raindrop", FULL, "RD"),
            Column("low light", FULL, "LL"),
            Column("motion deblurring", FULL, "MB"),
            Column("defocus deblurring", FULL, "DB"),
            Column("jpeg", FULL, "J"),
            Column("real denoising", FULL, "RN"),
            Column("gaussian deblurring", FULL, "GB"),
            Column("demosaicing", FULL, "MS"),
            Column("demoireing", FULL, "MR"),
            # The text counts six sets of rain; ours: those that are not of Table IV.
            Column("deraining", FULL, "RS", SYNTHETIC_RAIN, group=TEXT),
            Column("desnowing", FULL, "S", ("Snow100K-L",), group=TEXT),
            Column("motion deblurring", FULL, "MB", ("GoPro", "HIDE", "REDS"), group=TEXT),
            Column("defocus deblurring", FULL, "DB", ("DPDD",), group=TEXT),
        ),
        _by_column,
    ),
    "table_3_gaussian_denoising": TableLayout(
        "Table III", "Gaussian noise, trained on up to 50",
        _noise(("Urban100", "Kodak24", "CBSD68")), _by_method_and_group,
    ),
    "table_4_real_world": TableLayout(
        "Table IV", "the real world, trained on none of it",
        (
            Column("motion blur", FULL, "MB", ("RealBlur-R",)),
            Column("rain", FULL, "RS", ("RealRain-1k-L", "RealRain-1k-H")),
            Column("defocus blur", BLIND, "DB"),
            Column("snow", BLIND, "S"),
            Column("haze", BLIND, "H"),
            Column("low light", BLIND, "LL"),
        ),
        _by_method,
    ),
    "table_5_single_task_finetuning": TableLayout(
        "Table V", "Restormer fine-tuned for a single task",
        (
            Column("GoPro", FIDELITY, "MB", ("GoPro",)),
            Column("HIDE", FIDELITY, "MB", ("HIDE",)),
            Column("Test100", FIDELITY, "RS", ("Test100",)),
        ),
        _by_column,
    ),
    "table_6_mixed": TableLayout(
        "Table VI", "mixed degradations",
        (
            _mixed("low_haze_rain"),
            _mixed("low_haze_snow"),
            _mixed("low_blur_noise", source="LOL-Blur with noise"),
        ),
        _by_column,
    ),
    "table_11_degradation_aware_architectures": TableLayout(
        "Table XI", "degradation-aware architectures, the mean over all degradations",
        tuple(
            Column(preset.upper(), ("psnr", "lpips"), preset=preset, degradations=degradations)
            for preset, degradations in (("5d", ()), ("9d", ()), ("12d", TABLE_2_TYPES))
        ),
        _by_column_and_training,
    ),
}  # fmt: skip

# The tables that contain the test sets of a preset.
TABLES: dict[str, tuple[str, ...]] = {
    "5d": ("table_1_5d", "table_11_degradation_aware_architectures"),
    "9d": ("table_11_degradation_aware_architectures",),
    "12d": (
        "table_2_12d",
        "table_3_gaussian_denoising",
        "table_11_degradation_aware_architectures",
    ),
    "denoise": ("table_3_gaussian_denoising",),
    "real-world": ("table_4_real_world",),
    "derain": ("table_5_single_task_finetuning",),
    "motion-deblur": ("table_5_single_task_finetuning",),
    "mixed": ("table_6_mixed",),
}

# The published rows of the released weights, by table.
ROWS: dict[str, dict[str, str]] = {
    "nafnet-5d": {"Table I": "NAFNet+MaskDCPT", "Table III": "NAFNet-5D+MaskDCPT"},
    "restormer-5d": {
        "Table I": "Restormer+MaskDCPT",
        "Table III": "Restormer-5D+MaskDCPT",
        "Table XI": "Restormer+MaskDCPT",
    },
    "promptir-5d": {"Table I": "PromptIR+MaskDCPT", "Table III": "PromptIR-5D+MaskDCPT"},
    "swinir-5d": {"Table I": "SwinIR+MaskDCPT", "Table III": "SwinIR-5D+MaskDCPT"},
    "nafnet-12d": {
        "Table II": "MaskDCPT",
        "Table III": "NAFNet-12D+MaskDCPT",
        "Table IV": "MaskDCPT-NAFNet",
    },
    "nafnet-mixed": {"Table VI": "MaskDCPT-NAFNet"},
}


def paper_results() -> Any:
    """Read the figures printed in the paper, table by table."""
    path = folder() / "reference" / "paper_results.yaml"
    return yaml.safe_load(path.read_bytes())


def tables(preset: str, sets: Sequence[SetInfo]) -> list[PaperTable]:
    """Return the published tables of a preset, with the columns of its test sets.

    Presets without a published table give an empty list.
    """
    names = TABLES.get(preset, ())
    content = paper_results() if names else {}
    return [_read(LAYOUTS[name], content[name]).restricted_to(preset, sets) for name in names]


def _read(layout: TableLayout, content: Any) -> PaperTable:
    rows: dict[str, dict[str, MetricValues]] = defaultdict(dict)
    metrics = {column.key: column.metrics for column in layout.columns}
    for method, key, figures in layout.cells(content, layout.columns):
        pairs = zip(metrics[key], figures, strict=True)
        rows[method][key] = {metric: figure for metric, figure in pairs if figure is not None}
    note = _specialists(content, layout.columns) if SPECIALISTS in rows else ""
    return PaperTable(layout.title, layout.caption, layout.columns, dict(rows), note)


def _specialists(content: Any, columns: Sequence[Column]) -> str:
    named = dict.fromkeys(
        f"{content[_word(c)]['best_task_specific']['method']} ({c.title})" for c in columns
    )
    return f"{SPECIALISTS.capitalize()}: {', '.join(named)}."
