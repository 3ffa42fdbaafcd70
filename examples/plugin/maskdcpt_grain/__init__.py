"""An example plugin of maskdcpt: film grain, and a small network against it.

What is text is imported when it is used, so that `maskdcpt` starts as quickly as without.
"""

from maskdcpt_cli.degradations import Degradation
from maskdcpt_cli.scoring.metrics import Metric

BACKBONES = {"plain-cnn": "maskdcpt_grain.network:PlainCNN"}
DEGRADATIONS = {"FG": Degradation("film grain", "film-grain", "noise")}
SYNTHESIS = {"FG": "maskdcpt_grain.synthesis:FILM_GRAIN"}
SETTINGS = {"grain": ("FG", "J")}
LOSSES = {"charbonnier": "maskdcpt_grain.losses:charbonnier"}
METRICS = {"gradient_mae": Metric(True, False, 4, function="maskdcpt_grain.metrics:gradient_mae")}
SOURCES = {"csv-pairs": "maskdcpt_grain.sources:csv_pairs"}
