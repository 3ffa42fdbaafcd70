"""The taxonomy of UIR-2.5M: 19 degradation types and the settings of the paper (Sec. IV-D)."""

from typing import NamedTuple


class Degradation(NamedTuple):
    name: str
    group: str  # noise, blur, compression, weather, others, mixed


DEGRADATIONS: dict[str, Degradation] = {
    "GN": Degradation("Gaussian, Poisson, salt & pepper noise", "noise"),
    "RN": Degradation("real captured noise", "noise"),
    "MB": Degradation("motion blur", "blur"),
    "DB": Degradation("defocus blur", "blur"),
    "GB": Degradation("Gaussian & sinc blur", "blur"),
    "J": Degradation("JPEG", "compression"),
    "H": Degradation("haze", "weather"),
    "RS": Degradation("rain streak", "weather"),
    "RD": Degradation("raindrop", "weather"),
    "RSD": Degradation("rain streak + raindrop", "weather"),
    "S": Degradation("snow", "weather"),
    "MS": Degradation("mosaic", "others"),
    "LL": Degradation("low light", "others"),
    "MR": Degradation("moire", "others"),
    "MB+J": Degradation("blur + JPEG", "mixed"),
    "MB+RS": Degradation("blur + rain", "mixed"),
    "MB+LL+GN": Degradation("blur + low light + noise", "mixed"),
    "LL+H+RS+S": Degradation("low light + haze + rain + snow", "mixed"),
    "DS+GN+GB+J": Degradation("downsample + noise + blur + JPEG", "mixed"),
}

# Label order of a setting's classifier; 5D's is the paper's.
SETTINGS: dict[str, tuple[str, ...]] = {
    "5d": ("H", "RS", "GN", "MB", "LL"),
    "12d": ("GN", "RN", "MB", "DB", "GB", "J", "H", "RS", "RD", "S", "MS", "LL", "MR"),
    "mixed": ("MB+J", "MB+RS", "MB+LL+GN", "LL+H+RS+S", "DS+GN+GB+J"),
}
