"""Properties of the metrics; the metrics are pyiqa's, under its own names."""

from collections.abc import Sequence
from typing import NamedTuple

from maskdcpt_cli.errors import MaskDCPTError, unknown
from maskdcpt_cli.plugins import Registry


class Metric(NamedTuple):
    """Properties of a metric."""

    reference: bool  # compares with a ground truth
    higher_is_better: bool
    digits: int  # after the point, as in papers
    unit: str = ""
    over_set: bool = False  # one value for the whole set, none for each image
    weights: str = ""  # that pyiqa downloads at first use; "" for none
    function: str = ""  # of a plugin, as "package.module:name"; "": pyiqa's of this name

    def shown(self, value: float) -> str:
        """Format a value with its unit."""
        return f"{value:.{self.digits}f}{f' {self.unit}' if self.unit else ''}"

    def goodness(self, value: float) -> float:
        """Return a number that is larger for better values."""
        return value if self.higher_is_better else -value


METRICS: Registry[Metric] = Registry(
    "METRICS",
    {
        "psnr": Metric(True, True, 2, "dB"),
        "ssim": Metric(True, True, 4),
        "ms_ssim": Metric(True, True, 4),
        "lpips": Metric(True, False, 4, weights="AlexNet and LPIPS v0.1"),
        "dists": Metric(True, False, 4, weights="VGG16 and DISTS"),
        "fid": Metric(True, False, 2, over_set=True, weights="Inception v3 for FID"),
        "piqe": Metric(False, False, 2),
        "brisque": Metric(False, False, 2, weights="BRISQUE's support vectors"),
        "niqe": Metric(False, False, 3, weights="NIQE's parameters"),
        "musiq": Metric(False, True, 2, weights="MUSIQ trained on KonIQ-10k"),
    },
)
WITH_GT = ("psnr", "ssim")
WITHOUT_GT = ("piqe",)
OVER_SET = ("sfid", "fid_dinov2")  # beside those of METRICS
UNSUPPORTED = ("inception_score", "clipscore")  # no single value, or need a caption


def find_metric(name: str) -> Metric:
    """Return the properties of a metric, from the table or from pyiqa's registry.

    Raises:
        MaskDCPTError: For a name that pyiqa does not know.
    """
    if name in METRICS:
        return METRICS[name]
    from pyiqa.default_model_configs import DEFAULT_CONFIGS  # noqa: PLC0415  # takes seconds

    facts = DEFAULT_CONFIGS.get(name)
    if facts is None or name in UNSUPPORTED:
        known = [other for other in DEFAULT_CONFIGS if other not in UNSUPPORTED]
        raise MaskDCPTError(_shortened(unknown("metric", name, known)))
    over_set = name in OVER_SET
    reference = over_set or facts.get("metric_mode") == "FR"
    return Metric(reference, not facts.get("lower_better", False), 4, over_set=over_set)


def default_metrics(*, with_gt: bool) -> tuple[str, ...]:
    """Return the default metrics, which need no download of weights."""
    return WITH_GT if with_gt else WITHOUT_GT


def find_metrics(names: Sequence[str] | None, *, with_gt: bool) -> dict[str, Metric]:
    """Return the properties of metrics, in the order given; None takes the default ones.

    Raises:
        MaskDCPTError: For an unknown name, and for a metric with reference if there is no ground
            truth.
    """
    found = {name: find_metric(name) for name in names or default_metrics(with_gt=with_gt)}
    with_reference = [name for name, metric in found.items() if metric.reference]
    if with_reference and not with_gt:
        rest = [name for name in found if name not in with_reference] or list(WITHOUT_GT)
        raise MaskDCPTError(
            f"{' and '.join(with_reference)} need{'s' if len(with_reference) == 1 else ''} a "
            "ground truth: give its folder as second argument, as `maskdcpt score PRED GT`, or "
            f"type --metrics {','.join(rest)}."
        )
    return found


def _shortened(sentence: str) -> str:
    """Replace the hundred names of pyiqa by those of the table."""
    head, _, _ = sentence.partition(" Choose from: ")
    return f"{head} Common ones: {', '.join(METRICS)}; for all, run `pyiqa --list_models`."
