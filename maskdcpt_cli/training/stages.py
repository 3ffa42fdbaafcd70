"""The stages of a run on one rank, and whether they fit into its memory."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

from maskdcpt_cli.data.order import BatchStage
from maskdcpt_cli.errors import MaskDCPTError, words_of
from maskdcpt_cli.out_of_memory import is_out_of_memory
from maskdcpt_cli.presets.training import Run, Stage
from maskdcpt_cli.training.distributed import DistributedContext, physical_memory

BYTES_PER_PIXEL = 2 * 3 * 4  # of a crop: lq and gt, RGB, float32


@contextmanager
def memory_errors(purpose: str, remedy: str) -> Iterator[None]:
    """Turn errors within that say that memory ran out into a sentence of what takes less memory.

    Args:
        purpose: What memory is needed for, as "validate on crops of 256".
        remedy: What to type, as "--set a smaller validation.crop_size".
    """
    try:
        yield
    except MaskDCPTError:
        raise
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        reason = words_of(error).splitlines()[0].partition(". ")[0]
        raise MaskDCPTError(
            f"There is not enough memory to {purpose} ({reason}): {remedy}."
        ) from error


def training_memory(run: Run) -> AbstractContextManager[None]:
    """Return `memory_errors` of the iterations of a run."""
    batches = ", ".join(f"{one.batch} crops of {one.crop_size}" for one in run.training.stages)
    return memory_errors(
        f"train on batches of {batches}",
        "give --micro-batch, or --set a smaller training.stages.0.batch or .crop_size; --dry-run "
        "estimates the memory",
    )


def batch_stages(run: Run, distributed: DistributedContext) -> list[BatchStage]:
    """Return the stages of a run.

    Raises:
        MaskDCPTError: where the crops of a process alone do not fit into the memory of this
            machine.
    """
    memory = physical_memory()
    for number, stage in enumerate(run.training.stages):
        batch = largest_local_batch(stage.batch, distributed)
        needed = BYTES_PER_PIXEL * stage.crop_size**2 * batch
        if needed > memory > 0:
            raise MaskDCPTError(
                f"A batch of {batch} crops of {stage.crop_size} pixels takes "
                f"{needed / 1e9:.0f} GB before the first layer, and this machine has "
                f"{memory / 1e9:.0f} GB: --set a smaller training.stages.{number}.batch or "
                ".crop_size."
            )
    return [
        BatchStage(stage.batch, stage.crop_size, stage.iterations) for stage in run.training.stages
    ]


def largest_local_batch(batch: int, distributed: DistributedContext) -> int:
    """Return how many samples of a batch a process has at most."""
    return -(-batch // distributed.world_size)


def stage_index(stages: Sequence[BatchStage | Stage], iteration: int) -> int:
    """Return the index of the stage of an iteration; the last one, after the run's end."""
    end = 0
    for index, stage in enumerate(stages):
        end += stage.iterations or 0
        if iteration < end:
            return index
    return len(stages) - 1
