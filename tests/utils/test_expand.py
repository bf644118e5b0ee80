"""`~` and variables in paths."""

import argparse
import pwd
import re
from pathlib import Path

import pytest

from slowfast.utils.errors import UserError
from slowfast.utils.expand import expanded, input_option, path_option
from tests.commands import TOOLS


@pytest.fixture(autouse=True)
def home(monkeypatch):
    monkeypatch.setenv("HOME", "/me")
    monkeypatch.setenv("DATA", "disk/data")
    monkeypatch.setenv("EMPTY", "")


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("~", "/me"),
        ("~/x", "/me/x"),
        ("~root/x", f"{pwd.getpwnam('root').pw_dir}/x"),
        ("$DATA/x", "disk/data/x"),
        ("a/${DATA}_2", "a/disk/data_2"),
        ("a/~/b~", "a/~/b~"),
        ("./~x", "./~x"),
        ("price$", "price$"),
        ("$5/${", "$5/${"),
        ("https://host/~me/$DATA", "https://host/~me/$DATA"),
    ],
)
def test_as_a_shell_does(path, wanted):
    assert expanded(path, "KEY") == wanted


@pytest.mark.parametrize("path", ["$NOT_SET_HERE/x", "x/${NOT_SET_HERE}", "$EMPTY/x"])
def test_an_unknown_variable_is_a_mistake(path):
    with pytest.raises(UserError, match=re.escape(f"KEY is {path}, but the environment variable")):
        expanded(path, "KEY")


def test_an_unknown_user_is_a_mistake():
    with pytest.raises(UserError, match=r"KEY is ~nobody_here/x, but ~nobody_here .* ./~nobody"):
        expanded("~nobody_here/x", "KEY")


def test_options_of_commands():
    parser = argparse.ArgumentParser()
    parser.add_argument("--a", type=input_option)
    parser.add_argument("--b", type=path_option)
    args = parser.parse_args(["--a", "s3://bucket/$DATA", "--b=~/b"])
    assert args.a == "s3://bucket/$DATA"
    assert args.b == Path("/me/b")
    with pytest.raises(UserError, match="command line is"):
        parser.parse_args(["--b", "$NOT_SET_HERE"])


def test_no_command_takes_a_path_as_it_is():
    for tool in TOOLS.glob("*.py"):
        assert not re.search(r"type=(Path|input_path)\b", tool.read_text()), tool.name
