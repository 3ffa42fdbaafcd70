"""Models by name: those inside the package, and the weights published for the paper.

The published files are downloaded by huggingface_hub into its cache; HF_HOME, HF_ENDPOINT and
HF_HUB_OFFLINE apply.
"""

import hashlib
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from maskdcpt_cli.degradations import SETTINGS
from maskdcpt_cli.errors import CheckpointError, DownloadError, MaskDCPTError, unknown
from maskdcpt_cli.files import expanded

if TYPE_CHECKING:
    from maskdcpt_cli.models import Backbone
    from maskdcpt_cli.weights.building import DegradationClassifier
    from maskdcpt_cli.weights.checkpoint import Checkpoint

EMBEDDED = Path(__file__).parents[1] / "_models"
PUBLISHED = "Jiakui/MaskDCPT"
DEFAULT = "tiny-asked"
DEFAULT_OF_ALL = "tiny"  # where all is to be removed: it removes more, but is not asked
DEFAULT_CLASSIFIER = "tiny-classifier"

Use = Literal["restores", "classifies"]


@dataclass(frozen=True)
class Model:
    """A named file of weights; no hash is published for those in a repository."""

    name: str
    backbone: str
    parameters: int
    degradations: tuple[str, ...]  # abbreviations in label order
    filename: str
    summary: str
    licence: str | None = None  # None: none is stated
    repo: str | None = PUBLISHED  # on the Hugging Face Hub; None: inside the package
    use: Use = "restores"

    @property
    def is_default(self) -> bool:
        """Return whether it is the default model of a command."""
        return self.name in (DEFAULT, DEFAULT_CLASSIFIER)


ZOO: dict[str, Model] = {
    model.name: model
    for model in (
        Model(
            name="tiny-asked",
            backbone="nafnet",
            parameters=2_443_628,
            degradations=SETTINGS["12d+clean"],
            filename="tiny-asked.safetensors",
            summary="Removes what is found or named, and nothing else; needs no download.",
            licence="Apache-2.0",
            repo=None,
        ),
        Model(
            name="tiny",
            backbone="nafnet",
            parameters=2_923_628,
            degradations=SETTINGS["12d+clean"],
            filename="tiny.safetensors",
            summary="Removes more, and changes good photos, too; needs no download.",
            licence="Apache-2.0",
            repo=None,
        ),
        Model(
            name="tiny-classifier",
            backbone="nafnet",
            parameters=3_331_676,
            degradations=SETTINGS["12d"],
            filename="tiny-classifier.safetensors",
            summary="Finds the degradations of a photo, or none; needs no download.",
            licence="Apache-2.0",
            repo=None,
            use="classifies",
        ),
        Model(
            name="nafnet-5d",
            backbone="nafnet",
            parameters=67_888_835,
            degradations=SETTINGS["5d"],
            filename="nafnet_maskdcpt_5d.pth",
            summary="NAFNet for the five degradations of Table I.",
        ),
        Model(
            name="nafnet-12d",
            backbone="nafnet",
            parameters=67_888_835,
            degradations=SETTINGS["12d"],
            filename="nafnet_maskdcpt_12d.pth",
            summary="NAFNet for the twelve degradations of Table II.",
        ),
        Model(
            name="nafnet-mixed",
            backbone="nafnet",
            parameters=67_888_835,
            degradations=SETTINGS["mixed"],
            filename="nafnet_maskdcpt_mixed.pth",
            summary="NAFNet for the mixed degradations of Table VI.",
        ),
        Model(
            name="restormer-5d",
            backbone="restormer",
            parameters=26_126_644,
            degradations=SETTINGS["5d"],
            filename="restormer_maskdcpt_5d.pth",
            summary="Restormer for the five degradations of Table I.",
        ),
        Model(
            name="promptir-5d",
            backbone="promptir",
            parameters=35_539_290,
            degradations=SETTINGS["5d"],
            filename="promptir_maskdcpt_5d.pth",
            summary="PromptIR for the five degradations of Table I.",
        ),
        Model(
            name="swinir-5d",
            backbone="swinir",
            parameters=11_455_563,
            degradations=SETTINGS["5d"],
            filename="swinir_maskdcpt_5d.pth",
            summary="SwinIR for the five degradations of Table I.",
        ),
    )
}


def load_model(name_or_path: str | Path = DEFAULT) -> "Backbone":
    """Load a restoration network.

    Args:
        name_or_path: A name that `maskdcpt models` lists, downloaded on first use, or the path of
            a file of weights.

    Returns:
        The network, float32 on the CPU in evaluation mode: called with RGB (B, 3, H, W), float32 in
        [0, 1] of any size, it returns the restored images, of the same size and not clipped. A
        request-conditioned one, as the default, removes all that it knows where it gets no request;
        `restore` asks it for what is found.

    Raises:
        MaskDCPTError: The name is unknown.
        CheckpointError: The file cannot be used, or its network is only pre-trained.
        DownloadError: The file cannot be downloaded.
    """
    from maskdcpt_cli.weights.building import build

    checkpoint = read_model(name_or_path)
    if not checkpoint.restores:
        raise CheckpointError(
            f"{name_or_path} is only pre-trained and cannot restore: its restoration head has "
            "its initial weights. Fine-tune it (maskdcpt finetune --init-from "
            f"{checkpoint.source}), and restore with the result."
        )
    return build(checkpoint)


def load_classifier(name_or_path: str | Path = DEFAULT_CLASSIFIER) -> "DegradationClassifier":
    """Load a network that classifies degradations.

    Args:
        name_or_path: A name that `maskdcpt models` lists, downloaded on first use, or the path of
            a file of weights.

    Returns:
        The network, float32 on the CPU in evaluation mode, with its labels, for `classify`.

    Raises:
        MaskDCPTError: The name is unknown.
        CheckpointError: The file cannot be used, or holds no classifier.
        DownloadError: The file cannot be downloaded.
    """
    from maskdcpt_cli.weights.building import build_classifier

    named = ZOO.get(name_or_path) if isinstance(name_or_path, str) else None
    if named and named.use != "classifies":  # checked before the download
        raise CheckpointError(
            f"The model {named.name} restores, and holds no classifier of degradations: take "
            f"{DEFAULT_CLASSIFIER}, or a file that `maskdcpt pretrain` writes."
        )
    return build_classifier(read_model(name_or_path))


def read_model(name_or_path: str | Path) -> "Checkpoint":
    """Read the checkpoint of a name of ZOO, with the metadata of ZOO, or of a path."""
    from maskdcpt_cli.weights.checkpoint import read_checkpoint

    path = expanded(name_or_path)
    if isinstance(name_or_path, Path) or (name_or_path not in ZOO and _is_path(path)):
        return read_checkpoint(path)
    model = find(name_or_path)
    checkpoint = read_checkpoint(locate(model.name))
    return replace(checkpoint, degradations=model.degradations, licence=model.licence)


def _is_path(path: Path) -> bool:
    return path.exists() or path.suffix != "" or len(path.parts) > 1


def find(name: str) -> Model:
    """Return the model of a name; MaskDCPTError where there is none."""
    if name not in ZOO:
        raise MaskDCPTError(unknown("model", name, ZOO))
    return ZOO[name]


def label_of(name_or_file: str) -> str:
    """Return what a model is called in names of files and in tables: a file without its suffix."""
    return name_or_file if name_or_file in ZOO else Path(name_or_file).stem


def card(name: str) -> str | None:
    """Return the model card as Markdown; None for models outside the package."""
    path = EMBEDDED / f"{find(name).name}.md"
    return path.read_text(encoding="utf-8") if path.exists() else None


def on_disk(name: str) -> Path | None:
    """Return the path of the file of a model, None if not downloaded; works offline."""
    model = find(name)
    if model.repo is None:
        return EMBEDDED / model.filename
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(model.repo, model.filename)
    return Path(cached) if isinstance(cached, str) else None


def address(name: str) -> str | None:
    """Return the URL of the file of a model, None for one inside the package."""
    model = find(name)
    if model.repo is None:
        return None
    from huggingface_hub import hf_hub_url

    return hf_hub_url(model.repo, model.filename)


def locate(name: str) -> Path:
    """Return the path of the file of a model, downloaded first if necessary.

    A bar shows the progress on a terminal, unless HF_HUB_DISABLE_PROGRESS_BARS is set. An
    interrupted download is resumed by the next call. Raises DownloadError.
    """
    path = on_disk(name)
    return path if path is not None else _fetch(find(name))


def _fetch(model: Model) -> Path:
    from huggingface_hub import constants, hf_hub_download

    assert model.repo is not None
    try:
        _complete_blob(model.repo, model.filename)
        return Path(hf_hub_download(model.repo, model.filename))  # links the blob under its name
    # The library beneath is requests, httpx or httpx2, by the version of huggingface_hub; their
    # errors share no base but this one.
    except Exception as error:
        url = address(model.name)
        raise DownloadError(
            f"Model '{model.name}' is not on disk and {url} could not be fetched into "
            f"{constants.HF_HUB_CACHE}: {_reason(error)}. Fetch {model.filename} by other means, "
            f"and give its path instead of the name: --model PATH/{model.filename}."
        ) from error


def _complete_blob(repo: str, filename: str) -> None:
    """Download a file to the path that huggingface_hub checks before it downloads.

    Its own download loses the partial file when the process ends; these files take minutes.
    """
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url
    from huggingface_hub.file_download import http_get, repo_folder_name
    from huggingface_hub.utils import (  # type: ignore[attr-defined]  # documented, not re-exported
        WeakFileLock,
        build_hf_headers,
    )

    remote = get_hf_file_metadata(hf_hub_url(repo, filename))
    if remote.etag is None or remote.commit_hash is None:
        raise OSError("the server does not speak for the Hugging Face Hub")
    folder = repo_folder_name(repo_id=repo, repo_type="model")
    blob = Path(constants.HF_HUB_CACHE, folder, "blobs", remote.etag)
    lock = Path(constants.HF_HUB_CACHE, ".locks", folder, f"{remote.etag}.lock")
    for parent in (blob.parent, lock.parent):
        parent.mkdir(parents=True, exist_ok=True)
    with WeakFileLock(lock):  # under torchrun one process downloads, the others wait
        if blob.exists():
            return
        partial = blob.with_name(f"{remote.etag}.incomplete")
        if remote.size is not None and partial.exists() and partial.stat().st_size > remote.size:
            partial.unlink()  # as written by two machines, where a lock is of one alone
        with partial.open("ab") as file:
            http_get(
                hf_hub_url(repo, filename, revision=remote.commit_hash),
                file,
                resume_size=file.tell(),
                headers=build_hf_headers(),
                expected_size=remote.size,
                displayed_filename=filename,
            )
        _check(partial, remote.etag)
        partial.replace(blob)


def _check(path: Path, etag: str) -> None:
    """Compare the SHA-256 with the name that the server gives a large file; remove others."""
    if not re.fullmatch("[0-9a-f]{64}", etag):
        return
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    if digest.hexdigest() != etag:
        path.unlink()
        raise OSError("it arrived damaged and was removed")


def _reason(error: Exception) -> str:
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    if isinstance(error, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE forbids the network"
    if isinstance(error, HfHubHTTPError) and error.response is not None:
        return f"the server answers {error.response.status_code}"
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
