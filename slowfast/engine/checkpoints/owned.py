"""Record of the checkpoints in a folder that belong to its current run.

OUTPUT_DIR may hold checkpoints of an earlier run too. The record is a small file in it, so that it
survives interruptions and moves with the folder.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path

from slowfast.engine.checkpoints.files import BEST, checkpoint_path
from slowfast.utils.errors import UserError
from slowfast.utils.files import write_text
from slowfast.utils.reading import reading, require_file

logger = logging.getLogger(__name__)

RECORD_NAME = ".checkpoints.json"


class OwnedCheckpoints:
    """The numbered checkpoints in OUTPUT_DIR that this training run has written.

    resumed: the checkpoint that the run resumes from; None for a new run.
    """

    def __init__(self, output_dir: str | Path, resumed: Path | None = None) -> None:
        self._path = Path(output_dir) / RECORD_NAME
        self._names: set[str] = set()
        if resumed is not None and resumed.parent == checkpoint_path(output_dir, BEST).parent:
            # Without a record (older versions), only this file is known to belong to the run.
            recorded = self._read()
            self._names = recorded if resumed.name in recorded else {resumed.name}

    def __contains__(self, path: Path) -> bool:
        return path.name in self._names

    def add(self, path: Path) -> None:
        """Record a checkpoint. Raises: OSError."""
        self._names.add(path.name)
        self._write()

    def discard(self, path: Path) -> None:
        """Forget a checkpoint that was removed. Raises: OSError."""
        self._names.discard(path.name)
        self._write()

    def _write(self) -> None:
        record = {"checkpoints of this training": sorted(self._names)}
        write_text(self._path, json.dumps(record, indent=1) + "\n")

    def _read(self) -> set[str]:
        if not self._path.exists():
            return set()
        try:
            require_file(self._path, "a record of checkpoints")
            with reading(self._path, "a record of checkpoints"):
                (names,) = json.loads(self._path.read_bytes()).values()
                return {str(name) for name in names}
        except UserError as error:
            logger.warning("%s; checkpoints of earlier starts are not removed", error)
            return set()
