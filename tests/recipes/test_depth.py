"""Blocks left out and split, at toy size."""

import pytest
import torch
from click.testing import CliRunner

from maskdcpt_cli import load_model
from maskdcpt_cli.models import build_backbone
from maskdcpt_cli.weights.checkpoint import Checkpoint, save_checkpoint
from recipes.tiny import depth

OPTIONS = {"width": 4, "enc_blk_nums": (2,), "middle_blk_num": 3, "dec_blk_nums": (1,)}


@pytest.fixture
def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = build_backbone("nafnet", **OPTIONS)
        for parameter in network.parameters():
            parameter.data.normal_(0, 0.1)
    return network.eval()


def changed(network, folder, *options):
    given, out = folder / "given.safetensors", folder / "out.safetensors"
    save_checkpoint(Checkpoint("nafnet", OPTIONS, network.state_dict()), given)
    result = CliRunner().invoke(depth.main, [str(given), str(out), *options])
    assert result.exit_code == 0, result.output
    return load_model(out)


def test_leaving_out_a_block_that_does_nothing_changes_nothing(network, tmp_path):
    for gate in depth.GATES:
        getattr(network.middle_blks.blocks[1], gate).data.zero_()
    shallower = changed(network, tmp_path, "--drop", "middle_blks.blocks.1")
    lq = torch.rand(1, 3, 16, 16)
    assert shallower.middle_blk_num == 2
    assert torch.equal(shallower(lq), network(lq))


def test_a_split_block_does_nearly_the_same_in_two_steps(network, tmp_path):
    deeper = changed(network, tmp_path, "--split", "encoders.0.blocks.1")
    removed = changed(network, tmp_path, "--drop", "encoders.0.blocks.1")
    lq = torch.rand(1, 3, 16, 16)
    assert tuple(deeper.enc_blk_nums) == (3,)
    assert (deeper(lq) - network(lq)).std() < 0.2 * (removed(lq) - network(lq)).std()


def test_a_block_that_is_not_there_is_refused_by_its_name(network, tmp_path):
    given = tmp_path / "given.safetensors"
    save_checkpoint(Checkpoint("nafnet", OPTIONS, network.state_dict()), given)
    arguments = [str(given), str(tmp_path / "out.safetensors"), "--drop", "middle_blks.blocks.3"]
    result = CliRunner().invoke(depth.main, arguments)
    assert result.exit_code == 2
    assert "Unknown block 'middle_blks.blocks.3'" in result.output
