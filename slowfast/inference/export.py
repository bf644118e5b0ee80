"""Export a loaded model to one file, read it back, and compare its scores with the model's.

Formats: safetensors (weights for `load_model`), torch_export (a torch.export program) and onnx.
The two graphs take uint8 RGB frames and include the preprocessing, see `ExportableClassifier`.
"""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from slowfast.inference.exportable import FACTS, exportable, facts, random_frames
from slowfast.inference.loaded_model import LoadedModel, load_model
from slowfast.models.published_names import published_state_dict
from slowfast.utils.errors import UserError

# Largest difference of a probability between the model and the file that was written.
TOLERANCE = 1e-4
# Batch sizes of the comparison; they differ from the batch that is traced.
_CHECKED_BATCHES = (1, 3)
_TRACED_BATCH = 2


class Format(Protocol):
    """A file format: writes a model, and runs a written file."""

    suffix: str

    def write(self, loaded: LoadedModel, path: Path) -> None: ...

    def run(self, path: Path, frames: Tensor) -> Sequence[Tensor]:
        """Probabilities (N, K) per head of frames (N, T, S, S, 3) uint8 RGB."""
        ...


class Export(NamedTuple):
    """A written file and the largest difference of its probabilities from the model's."""

    path: Path
    difference: float


class SafeTensors:
    """The weights under their published names, with config, class names and facts."""

    suffix = ".safetensors"

    def write(self, loaded: LoadedModel, path: Path) -> None:
        from safetensors.torch import save

        weights = published_state_dict(loaded.model)
        metadata = {
            "cfg": loaded.cfg.dump(),
            "class_names": json.dumps(loaded.names),
            FACTS: json.dumps(facts(loaded)),
        }
        path.write_bytes(save({name: x.contiguous() for name, x in weights.items()}, metadata))

    def run(self, path: Path, frames: Tensor) -> Sequence[Tensor]:
        with torch.inference_mode():
            return list(exportable(load_model(path))(frames))


class TorchExport:
    """A torch.export program, with the facts as the extra file `suml`."""

    suffix = ".pt2"

    def write(self, loaded: LoadedModel, path: Path) -> None:
        program = _traced(loaded)
        torch.export.save(program, path, extra_files={FACTS: json.dumps(facts(loaded))})

    def run(self, path: Path, frames: Tensor) -> Sequence[Tensor]:
        with torch.inference_mode():
            return list(torch.export.load(path).module()(frames))


class Onnx:
    """An ONNX graph, with the facts as the metadata entry `suml`."""

    suffix = ".onnx"

    def write(self, loaded: LoadedModel, path: Path) -> None:
        onnx = _module("onnx", "onnxscript")
        # It warns about every torchvision operator if torchvision is not installed.
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        names = [f"{head.name}_probabilities" for head in loaded.heads]
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            graph = Path(folder) / "graph.onnx"
            torch.onnx.export(
                _traced(loaded),
                f=graph,
                input_names=["frames"],
                output_names=names,
                dynamo=True,
                external_data=False,
                verbose=False,
            )
            model = onnx.load(graph)
        onnx.helper.set_model_props(model, {FACTS: json.dumps(facts(loaded))})
        onnx.save(model, path)

    def run(self, path: Path, frames: Tensor) -> Sequence[Tensor]:
        session = _module("onnxruntime").InferenceSession(path, providers=["CPUExecutionProvider"])
        return [torch.from_numpy(x) for x in session.run(None, {"frames": frames.numpy()})]


FORMATS: dict[str, Format] = {
    "safetensors": SafeTensors(),
    "torch_export": TorchExport(),
    "onnx": Onnx(),
}


def export(loaded: LoadedModel, name: str, path: Path) -> Export:
    """Write the model in the format called `name`, and check what was written.

    The file gets its name only once its probabilities agree with the model's within TOLERANCE, for
    batches of 1 and 3 clips.

    Raises: UserError for a suffix that is not the format's, for a package that is not installed,
        and for a file that does not agree.
    """
    form = FORMATS[name]
    if path.suffix != form.suffix:
        raise UserError(f"{path}: the name of a {name} file must end in {form.suffix}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".export-") as folder:
        written = Path(folder) / path.name
        form.write(loaded, written)
        difference = max(_difference(loaded, form, written, clips) for clips in _CHECKED_BATCHES)
        if not difference <= TOLERANCE:
            raise UserError(
                f"{path} was not written: its probabilities differ from the model's by "
                f"{difference:.2g}, more than {TOLERANCE}; choose another --format"
            )
        written.replace(path)
    return Export(path, difference)


def _difference(loaded: LoadedModel, form: Format, path: Path, clips: int) -> float:
    frames = random_frames(loaded, clips)
    with torch.inference_mode():
        wanted = loaded.model(loaded.transform.settings.transform(frames.flip(-1)))
    found = form.run(path, frames)
    pairs = zip(wanted, found, strict=True)
    return max(float((a - b).abs().max()) for a, b in pairs)


def _traced(loaded: LoadedModel) -> torch.export.ExportedProgram:
    frames = random_frames(loaded, _TRACED_BATCH)
    batch = torch.export.Dim("clips")
    return torch.export.export(exportable(loaded), (frames,), dynamic_shapes=({0: batch},))


def _module(name: str, *also: str):  # type: ignore[no-untyped-def]
    """A module of the `onnx` extra. Raises: UserError if one is not installed."""
    import importlib

    try:
        for other in also:
            importlib.import_module(other)
        return importlib.import_module(name)
    except ImportError as error:
        raise UserError(
            f"--format onnx needs {error.name}; pip install onnx onnxscript onnxruntime"
        ) from error
