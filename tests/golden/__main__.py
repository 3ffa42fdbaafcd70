"""Write the golden case of a backbone whose architecture was not released: its own figures.

python -m tests.golden NAME
"""

import json
import sys
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from maskdcpt_cli.models import build_backbone
from tests.golden import fill_with_golden_weights, golden_image

HEIGHT, WIDTH = 64, 48
SAMPLES = [[0, i % 3, 5 * i, 4 * i] for i in range(12)]


def case(name: str) -> dict[str, object]:
    backbone = build_backbone(name)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        backbone(torch.rand(1, 3, 256, 256))
    fill_with_golden_weights(backbone)
    with torch.inference_mode():
        restored = backbone(golden_image(HEIGHT, WIDTH))
    return {
        "config": {option: getattr(backbone, option) for option in backbone.options},
        "parameters": sum(parameter.numel() for parameter in backbone.parameters()),
        "macs": counter.get_total_flops() / 2e9,
        "input": {"recipe": "image(h,w,b)", "h": HEIGHT, "w": WIDTH, "b": 1},
        "keys": {key: list(tensor.shape) for key, tensor in backbone.state_dict().items()},
        "output": {
            "shape": list(restored.shape),
            **{word: getattr(restored, word)().item() for word in ("mean", "std", "min", "max")},
            "samples": [{"at": at, "value": restored[tuple(at)].item()} for at in SAMPLES],
        },
    }


def main() -> None:
    (name,) = sys.argv[1:]
    path = Path(__file__).with_name(f"{name}.json")
    path.write_text(json.dumps({name: case(name)}) + "\n")
    print(f"Written: {path}")


if __name__ == "__main__":
    main()
