"""Results are written whole or not at all, and a full disk is a one-line error."""

import re

import pytest

from slowfast.utils.errors import UserError
from slowfast.utils.files import require_free_name, short_names, write_atomically, write_json
from tests.commands import ROOT

# Writes that a killed process leaves half done.
IN_PLACE = re.compile(
    r"""\.write_(text|bytes)\(|\.open\("[wx]|savefig\((path|out)|to_(csv|pickle)\((path|out|target)"""
    r"""|torch\.save\([^()]*, path\)|imwrite"""
)
# The sample is rendered into a folder that gets its name at the end, as exported files do; the
# benchmarks' folders and the files of checkpoints are temporary.
EXCEPT = (
    *("lab/sample/", "lab/benchmark/", "utils/files.py"),
    *("engine/checkpoints/files.py", "inference/export.py"),
)


def test_no_module_writes_a_result_in_place():
    package = ROOT / "slowfast"
    found = [
        f"{path}: {match[0]}"
        for path in sorted(package.rglob("*.py"))
        if not str(path.relative_to(package)).startswith(EXCEPT)
        for match in IN_PLACE.finditer(path.read_text())
    ]
    assert found == []


def test_a_failed_write_leaves_the_file_before(tmp_path):
    path = tmp_path / "results.json"
    write_json(path, {"a": 1})

    def fail(file):
        file.write(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, fail)
    assert path.read_text() == '{\n "a": 1\n}\n'
    assert [entry.name for entry in tmp_path.iterdir()] == ["results.json"]


def test_a_folder_in_the_place_of_a_result_is_one_line(tmp_path):
    (tmp_path / "results.json").mkdir()
    with pytest.raises(
        UserError, match=r"results.json cannot be written: Is a directory; free some"
    ):
        write_json(tmp_path / "results.json", {})
    with pytest.raises(UserError, match=r"results.json is a folder, but a result has that name"):
        require_free_name(tmp_path / "results.json")


def test_short_names_tell_paths_apart(tmp_path):
    (tmp_path / "one.pkl").touch()
    runs = [tmp_path / arm / "seed_1" for arm in "ab"]
    assert short_names(runs) == ["a/seed_1", "b/seed_1"]
    assert short_names([runs[0], tmp_path / "one.pkl"]) == ["seed_1", "one"]
    with pytest.raises(UserError, match="is given twice"):
        short_names([runs[0], runs[0]])
