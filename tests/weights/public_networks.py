"""The networks as their authors define and name them, each as a formula, after their papers.

A layer draws its random weights when it runs first.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


class Weights(dict[str, Tensor]):
    """Random weights by the names of the authors."""

    def __init__(self) -> None:
        super().__init__()
        self.generator = torch.Generator().manual_seed(0)

    def tensor(self, name: str, *shape: int, mean: float = 0, scale: float = 0.1) -> Tensor:
        if name not in self:
            self[name] = mean + scale * torch.randn(shape, generator=self.generator)
        assert self[name].shape == shape, name
        return self[name]

    def conv(
        self,
        x: Tensor,
        name: str,
        channels: int,
        size: int = 1,
        *,
        stride: int = 1,
        groups: int = 1,
        bias: bool = True,
    ) -> Tensor:
        fan_in = x.shape[1] // groups
        weight = self.tensor(
            f"{name}.weight", channels, fan_in, size, size, scale=(fan_in * size**2) ** -0.5
        )
        offset = self.tensor(f"{name}.bias", channels) if bias else None
        return F.conv2d(x, weight, offset, stride=stride, padding=(size - 1) // 2, groups=groups)

    def linear(self, x: Tensor, name: str, channels: int) -> Tensor:
        weight = self.tensor(f"{name}.weight", channels, x.shape[-1], scale=x.shape[-1] ** -0.5)
        return x @ weight.T + self.tensor(f"{name}.bias", channels)

    def norm(self, x: Tensor, name: str, *, eps: float = 1e-5, bias_free: bool = False) -> Tensor:
        channels = x.shape[1]
        scale = self.tensor(f"{name}.weight", channels, mean=1)[:, None, None]
        mean = x.mean(dim=1, keepdim=True)
        deviation = (((x - mean) ** 2).mean(dim=1, keepdim=True) + eps) ** 0.5
        if bias_free:
            return x / deviation * scale
        return (x - mean) / deviation * scale + self.tensor(f"{name}.bias", channels)[:, None, None]


def nafnet(
    net: Weights,
    lq: Tensor,
    *,
    width: int,
    encoders: Sequence[int],
    middle: int,
    decoders: Sequence[int],
) -> Tensor:
    """NAFNet (Chen et al., 2022), with zeros at the bottom and right of odd sizes."""
    height, columns = lq.shape[-2:]
    multiple = 2 ** len(encoders)
    padded = F.pad(lq, (0, -columns % multiple, 0, -height % multiple))
    x, skips = net.conv(padded, "intro", width, 3), []
    for i, blocks in enumerate(encoders):
        for j in range(blocks):
            x = _naf_block(net, x, f"encoders.{i}.{j}")
        skips.append(x)
        x = net.conv(x, f"downs.{i}", 2 * x.shape[1], 2, stride=2)
    for j in range(middle):
        x = _naf_block(net, x, f"middle_blks.{j}")
    for i, blocks in enumerate(decoders):
        x = net.conv(x, f"ups.{i}.0", 2 * x.shape[1], bias=False)
        x = F.pixel_shuffle(x, 2) + skips.pop()
        for j in range(blocks):
            x = _naf_block(net, x, f"decoders.{i}.{j}")
    return (padded + net.conv(x, "ending", 3, 3))[..., :height, :columns]


def _naf_block(net: Weights, x: Tensor, name: str) -> Tensor:
    channels = x.shape[1]
    y = net.norm(x, f"{name}.norm1", eps=1e-6)
    y = net.conv(y, f"{name}.conv1", 2 * channels)
    y = net.conv(y, f"{name}.conv2", 2 * channels, 3, groups=2 * channels)
    y = y[:, :channels] * y[:, channels:]
    y = y * net.conv(y.mean(dim=(2, 3), keepdim=True), f"{name}.sca.1", channels)
    y = net.conv(y, f"{name}.conv3", channels)
    x = x + y * net.tensor(f"{name}.beta", 1, channels, 1, 1, scale=0.5)
    y = net.conv(net.norm(x, f"{name}.norm2", eps=1e-6), f"{name}.conv4", 2 * channels)
    y = net.conv(y[:, :channels] * y[:, channels:], f"{name}.conv5", channels)
    return x + y * net.tensor(f"{name}.gamma", 1, channels, 1, 1, scale=0.5)


HEADS = (1, 2, 4, 8)  # of Restormer and PromptIR, by level


def restormer(
    net: Weights,
    lq: Tensor,
    *,
    dim: int,
    blocks: Sequence[int],
    refinement: int,
    bias_free: bool = False,
    prompts: bool = False,
) -> Tensor:
    """Restormer (Zamir et al., 2022), or PromptIR (Potlapalli et al., 2023), of dim 48.

    Odd sizes are reflected, as the authors' scripts do.
    """

    def stage(x: Tensor, name: str, count: int, heads: int) -> Tensor:
        for i in range(count):
            x = _transformer(net, x, f"{name}.{i}", heads=heads, bias_free=bias_free)
        return x

    def prompted(x: Tensor, level: int, channels: int) -> Tensor:
        if not prompts:
            return x
        x = torch.cat([x, _prompt(net, x, level)], dim=1)
        x = _transformer(net, x, f"noise_level{level}", heads=HEADS[2], bias_free=bias_free)
        return net.conv(x, f"reduce_noise_level{level}", channels, bias=False)

    height, columns = lq.shape[-2:]
    padded = F.pad(lq, (0, -columns % 8, 0, -height % 8), "reflect")
    x, skips = net.conv(padded, "patch_embed.proj", dim, 3, bias=False), []
    for i, down in enumerate(("down1_2", "down2_3", "down3_4")):
        x = stage(x, f"encoder_level{i + 1}", blocks[i], HEADS[i])
        skips.append(x)
        x = F.pixel_unshuffle(net.conv(x, f"{down}.body.0", x.shape[1] // 2, 3, bias=False), 2)
    x = stage(x, "latent", blocks[3], HEADS[3])
    for level, up, channels in ((3, "up4_3", 192), (2, "up3_2", 192), (1, "up2_1", 96)):
        x = prompted(x, level, channels)
        x = F.pixel_shuffle(net.conv(x, f"{up}.body.0", 2 * x.shape[1], 3, bias=False), 2)
        x = torch.cat([x, skips.pop()], dim=1)
        if level > 1:
            x = net.conv(x, f"reduce_chan_level{level}", dim * 2 ** (level - 1), bias=False)
        x = stage(x, f"decoder_level{level}", blocks[level - 1], HEADS[level - 1])
    x = stage(x, "refinement", refinement, HEADS[0])
    restored = padded + net.conv(x, "output", 3, 3, bias=False)
    return restored[..., :height, :columns]


def _transformer(net: Weights, x: Tensor, name: str, *, heads: int, bias_free: bool) -> Tensor:
    channels = x.shape[1]
    y = net.norm(x, f"{name}.norm1.body", bias_free=bias_free)
    y = net.conv(y, f"{name}.attn.qkv", 3 * channels, bias=False)
    y = net.conv(y, f"{name}.attn.qkv_dwconv", 3 * channels, 3, groups=3 * channels, bias=False)
    q, k, v = y.flatten(2).unflatten(1, (3, heads, -1)).unbind(dim=1)
    q, k = (z / z.norm(dim=-1, keepdim=True) for z in (q, k))
    temperature = net.tensor(f"{name}.attn.temperature", heads, 1, 1, mean=1)
    y = (q @ k.mT * temperature).softmax(dim=-1) @ v
    x = x + net.conv(y.reshape(x.shape), f"{name}.attn.project_out", channels, bias=False)
    hidden = int(channels * 2.66)
    y = net.norm(x, f"{name}.norm2.body", bias_free=bias_free)
    y = net.conv(y, f"{name}.ffn.project_in", 2 * hidden, bias=False)
    y = net.conv(y, f"{name}.ffn.dwconv", 2 * hidden, 3, groups=2 * hidden, bias=False)
    y = F.gelu(y[:, :hidden]) * y[:, hidden:]
    return x + net.conv(y, f"{name}.ffn.project_out", channels, bias=False)


def _prompt(net: Weights, x: Tensor, level: int) -> Tensor:
    channels, size = {1: (64, 64), 2: (128, 32), 3: (320, 16)}[level]
    shares = net.linear(x.mean(dim=(2, 3)), f"prompt{level}.linear_layer", 5).softmax(dim=-1)
    components = net.tensor(f"prompt{level}.prompt_param", 1, 5, channels, size, size, scale=0.5)
    prompt = torch.einsum("bn,bnchw->bchw", shares, components.expand(len(x), -1, -1, -1, -1))
    prompt = F.interpolate(prompt, x.shape[2:], mode="bilinear")
    return net.conv(prompt, f"prompt{level}.conv3x3", channels, 3, bias=False)


def add_unused_layers(net: Weights) -> None:
    """Add the layers of PromptIR that its forward pass leaves out."""
    for level, (prompt, reduced, dim) in enumerate(
        ((64, 64, 48), (128, 128, 96), (320, 256, 192)), start=1
    ):
        net.tensor(f"chnl_reduce{level}.weight", reduced, prompt, 1, 1)
        net.tensor(f"reduce_noise_channel_{level}.weight", dim, dim + reduced, 1, 1)


def swinir(
    net: Weights,
    lq: Tensor,
    *,
    dim: int,
    depths: Sequence[int],
    heads: int,
    window: int = 8,
    pixel_range: float = 1,
) -> Tensor:
    """SwinIR (Liang et al., 2021) for denoising and JPEG; odd sizes are reflected."""
    height, columns = lq.shape[-2:]
    padded = F.pad(lq, (0, -columns % window, 0, -height % window), "reflect")
    mean = torch.tensor([0.4488, 0.4371, 0.4040])[:, None, None]
    pixels = (padded - mean) * pixel_range
    shallow = net.conv(pixels, "conv_first", dim, 3)
    x = net.norm(shallow, "patch_embed.norm")
    for i, depth in enumerate(depths):
        y = x
        for j in range(depth):
            shift = j % 2 * (window // 2)
            name = f"layers.{i}.residual_group.blocks.{j}"
            y = _swin_block(net, y, name, heads=heads, window=window, shift=shift)
        x = x + net.conv(y, f"layers.{i}.conv", dim, 3)
    x = shallow + net.conv(net.norm(x, "norm"), "conv_after_body", dim, 3)
    restored = (pixels + net.conv(x, "conv_last", 3, 3)) / pixel_range + mean
    return restored[..., :height, :columns]


def _swin_block(
    net: Weights, x: Tensor, name: str, *, heads: int, window: int, shift: int
) -> Tensor:
    """Attention among the positions of the whole map, but for pairs in different windows."""
    dim, height, width = x.shape[1:]
    tokens = net.norm(x, f"{name}.norm1").flatten(2).mT
    qkv = net.linear(tokens, f"{name}.attn.qkv", 3 * dim)
    q, k, v = qkv.unflatten(-1, (3, heads, -1)).permute(2, 0, 3, 1, 4)
    position = torch.cartesian_prod(torch.arange(height), torch.arange(width))
    difference = position[:, None] - position
    windows = (position - shift) // window  # -1 and the last one are parts of one on a torus
    near = (windows[:, None] == windows).all(dim=-1)
    index = (difference + window - 1).clamp(0, 2 * window - 2)
    table = net.tensor(f"{name}.attn.relative_position_bias_table", (2 * window - 1) ** 2, heads)
    bias = table[index[..., 0] * (2 * window - 1) + index[..., 1]].permute(2, 0, 1)
    logits = q @ k.mT * (dim // heads) ** -0.5 + bias
    y = logits.masked_fill(~near, -torch.inf).softmax(dim=-1) @ v
    y = net.linear(y.transpose(1, 2).flatten(2), f"{name}.attn.proj", dim)
    x = x + y.mT.reshape(x.shape)
    y = net.linear(net.norm(x, f"{name}.norm2").movedim(1, -1), f"{name}.mlp.fc1", 2 * dim)
    return x + net.linear(F.gelu(y), f"{name}.mlp.fc2", dim).movedim(-1, 1)


def add_buffers(net: Weights, *, window: int) -> None:
    """Add what SwinIR's files hold besides weights, of a network for crops of 2 x 2 windows."""
    for name in list(net):
        if name.endswith("relative_position_bias_table"):
            attention, positions = name.rpartition(".")[0], window**2
            net[f"{attention}.relative_position_index"] = torch.zeros(positions, positions).long()
            if ".blocks.1." in name:
                net[attention.removesuffix("attn") + "attn_mask"] = torch.zeros(
                    4, positions, positions
                )
