"""The model card of an exported file: model, training data and results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from slowfast.inference.exportable import facts
from slowfast.inference.loaded_model import LoadedModel
from slowfast.models.registry import model_spec
from slowfast.utils.reading import reading

_NOT_STATED = "not stated"
_CARD = """\
# {name}

Model card of `{file}`, exported from `{checkpoint}`.

| | |
|---|---|
| Model | {model}, {parameters:.2f} M parameters |
| Input | {frames} RGB frames, a step of {step} video frames, {size} x {size} pixels, uint8 |
| Output | {outputs} |
| Training data | {data} |
| Licence of the weights | {licence} |
| Licence of the data | {data_licence} |
| Intended use | {intended_use} |

## Results

{results}

## Config

```yaml
{config}
```
"""


def model_card(
    loaded: LoadedModel, checkpoint: Path, file: Path, licence: str = "", data_licence: str = ""
) -> str:
    """The card in Markdown.

    Results come from the `results.json` of the checkpoint's run, if it exists.
    licence, data_licence: of the weights and of the training data; empty: `not stated`.
    """
    known = facts(loaded)
    outputs = [f"{o['head']} ({len(o['classes'])} classes)" for o in known["outputs"]]
    return _CARD.format(
        name=file.stem,
        file=file.name,
        checkpoint=checkpoint,
        model=known["model"],
        parameters=sum(p.numel() for p in loaded.model.parameters()) / 1e6,
        outputs="probabilities of " + ", ".join(outputs),
        data=_data(loaded),
        licence=licence or _NOT_STATED,
        data_licence=data_licence or _NOT_STATED,
        intended_use=_NOT_STATED,
        results=_results(checkpoint),
        config=loaded.cfg.dump().strip(),
        **{key: known["input"][key] for key in ("frames", "step", "size")},
    )


def _data(loaded: LoadedModel) -> str:
    cfg = loaded.cfg
    if not model_spec(cfg).is_dual:
        return f"{cfg.TRAIN.DATASET}, list {cfg.TRAIN.TRAIN_DATA_LIST}"
    return f"{cfg.EGO.DATASET} (ego) and {cfg.EXO.DATASET} (exo, unpaired)"


def _results(checkpoint: Path) -> str:
    """The numbers of the run's own test as a table."""
    path = checkpoint.parent.parent / "results.json"
    if not path.is_file():
        return "No `results.json` next to the checkpoint: test it, then export again."
    with reading(path, "the results of a test"):
        results: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        tested = results.get("checkpoint", "")
        numbers = {k: v for k, v in results.items() if isinstance(v, (int, float))}
    lines = [f"| {name} | {value:.2f} |" for name, value in numbers.items()]
    note = "" if Path(str(tested)).name == checkpoint.name else f"\nThey are of `{tested}`."
    return "\n".join(["| metric | value |", "|---|---|", *lines]) + note
