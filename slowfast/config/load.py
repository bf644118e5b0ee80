"""Loading of YAML files and overrides into one typed, validated, frozen config."""

from __future__ import annotations

import difflib
import logging
import reprlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from fvcore.common.config import BASE_KEY, CfgNode

from slowfast.config.clip_geometry import apply_geometry
from slowfast.config.defaults import PATHS, get_cfg
from slowfast.config.published import translate
from slowfast.config.rules.solver import schedule_warning
from slowfast.config.validate import validate
from slowfast.config.values import COMMAND_LINE, Setting, typed
from slowfast.utils.errors import UserError
from slowfast.utils.expand import expanded
from slowfast.utils.limits import BASE_FILES, Budget
from slowfast.utils.paths import InputPath, input_path, join, local_path, parent
from slowfast.utils.reading import reading, require_file
from slowfast.utils.text_files import parse_yaml, read_yaml

logger = logging.getLogger(__name__)

# Prefix of fvcore's computed keys: written by the program, kept in dumps, never set by a user.
_COMPUTED = "COMPUTED_"


def load_config(path: str | Path, overrides: Sequence[Any] = ()) -> CfgNode:
    """The defaults, then the file over its `_BASE_`, then the overrides; validated and frozen.

    path: YAML file or its URL; `_BASE_` (a path, a URL, or a list of them) is relative to the file
        that names it.
    overrides: `[KEY, VALUE, KEY, VALUE, ...]` as on the command line.

    `~` and `$NAME` are expanded in `_BASE_` and in every key that is a path. Published names are
    mapped. Mapped and ignored keys are logged immediately if logging is set
    up, and kept for `log_notes`.

    Raises: UserError for a missing or unreadable file, an unknown key, a value of the wrong type,
        or values that contradict each other.
    """
    cfg = get_cfg()
    types = dict(leaves(cfg))
    file = list(
        _file_settings(input_path(expanded(str(path), "--cfg")), Budget(BASE_FILES, "files"))
    )
    translation = translate(file, _override_settings(overrides), types)
    for setting in translation.settings:
        if setting.value is None and setting.key not in types and _keys_in(setting.key, types):
            continue  # a section in which every line is commented out
        if setting.key not in types:
            raise UserError(_unknown_key(setting, list(types)))
        section, _, name = setting.key.rpartition(".")
        value = typed(setting, types[setting.key])
        node(cfg, section)[name] = _expanded(value, setting) if setting.key in PATHS else value
    try:
        apply_geometry(cfg, {setting.key for setting in translation.settings})
        validate(cfg)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    notes = [list(note) for note in translation.notes]
    if warning := schedule_warning(cfg):
        notes.append(["WARNING", warning])
    if notes:
        cfg.COMPUTED_NOTES = notes
    if logger.hasHandlers():
        log_notes(cfg)
    cfg.freeze()
    return cfg


def _expanded(value: str | list[str], setting: Setting) -> str | list[str]:
    if isinstance(value, str):
        return expanded(value, setting.where)
    return [expanded(path, setting.where) for path in value]


def saved_config(text: str, origin: str, overrides: Sequence[Any] = ()) -> CfgNode:
    """The config that a checkpoint holds, validated and frozen; published names are mapped.

    text: YAML. origin: the file that holds it, for errors. overrides: as in `load_config`. Unknown
    keys, from another code base or an older version, are logged and left out.

    Raises: UserError for text that is not a config, and for values that contradict each other.
    """
    with reading(origin, "a checkpoint with a config (YAML)"):
        content = parse_yaml(text)
    if not isinstance(content, dict):
        raise UserError(f"{origin} holds no config; name the YAML file of its model")
    cfg = get_cfg()
    types = dict(leaves(cfg))
    translation = translate(list(_flatten(content, origin)), _override_settings(overrides), types)
    unknown = [s.key for s in translation.settings if s.key not in types]
    if unknown:
        logger.info("%s: unknown keys of its config are left out: %s", origin, ", ".join(unknown))
    for setting in translation.settings:
        if setting.key in types:
            section, _, name = setting.key.rpartition(".")
            node(cfg, section)[name] = typed(setting, types[setting.key])
    apply_geometry(cfg, {setting.key for setting in translation.settings})
    validate(cfg)
    cfg.freeze()
    return cfg


def run_config(folder: Path, overrides: Sequence[Any] = ()) -> CfgNode:
    """The config that a run wrote into its OUTPUT_DIR; overrides, errors: as in `saved_config`."""
    path, what = folder / "config.yaml", "the config of a run"
    with reading(path, what):
        text = require_file(path, what, "give the OUTPUT_DIR of a run").read_text(encoding="utf-8")
    return saved_config(text, str(path), overrides)


def log_notes(cfg: CfgNode) -> None:
    """Log what `load_config` mapped or ignored, for runs that open their log after loading."""
    for level, text in cfg.get("COMPUTED_NOTES", []):
        logger.log(logging.getLevelNamesMapping()[level], text)


def leaves(cfg: CfgNode, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted key, value) of every key of a config tree."""
    for key, value in cfg.items():
        if isinstance(value, CfgNode):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def changed(cfg: CfgNode) -> dict[str, tuple[Any, Any]]:
    """The keys that differ from the defaults, each with its default and its value."""
    defaults = dict(leaves(get_cfg()))
    return {
        key: (defaults[key], value)
        for key, value in leaves(cfg)
        if key in defaults and value != defaults[key]
    }


def node(cfg: CfgNode, section: str) -> CfgNode:
    """The node of a dotted section name; "" is the root."""
    for part in section.split(".") if section else ():
        cfg = cfg[part]
    return cfg


def _file_settings(
    path: InputPath, files: Budget, including: tuple[InputPath, ...] = ()
) -> Iterator[Setting]:
    """The settings of a file's bases, then those of the file; later ones win.

    files: number of files that may still be read, since bases that share bases grow as 2^depth.
    """
    with reading(path, f"a config file with its {BASE_KEY}"):
        files.take(1)
        identity = path.resolve() if isinstance(path, Path) else path
    if identity in including:
        raise UserError(f"{path}: {BASE_KEY} leads back to this file; remove one of the links")
    content = _read_yaml(path, including)
    bases = content.pop(BASE_KEY, [])
    bases = bases if isinstance(bases, list) else [bases]
    if not all(isinstance(base, str) for base in bases):
        raise UserError(
            f"{path}: {BASE_KEY} is {reprlib.repr(bases)}; set it to a path or a list of paths"
        )
    for base in bases:
        with reading(base, f"a {BASE_KEY} of {path}"):
            base_path = join(parent(path), expanded(base, f"{path}: {BASE_KEY}"))
        yield from _file_settings(base_path, files, (*including, identity))
    yield from _flatten(content, str(path))


def _read_yaml(path: InputPath, including: tuple[InputPath, ...]) -> dict[str, Any]:
    file = local_path(path, f"{BASE_KEY} of {including[-1]}" if including else "--cfg")
    named_by = f" (a {BASE_KEY} of {including[-1]})" if including else ""
    fix = "the shipped ones are in configs/"
    with reading(path, f"a config file in YAML{named_by}", fix):
        exists = file.exists()
    if not exists:
        raise UserError(f"config file {path}{named_by} does not exist; {fix}")
    content = read_yaml(file, f"a config file in YAML{named_by}", fix)
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UserError(f"config file {path} holds no `KEY: value` lines")
    return content


def _flatten(content: dict[Any, Any], origin: str, prefix: str = "") -> Iterator[Setting]:
    """Nested sections as dotted keys."""
    for key, value in content.items():
        name = f"{prefix}{key}"
        if name.startswith(_COMPUTED):
            continue
        if isinstance(value, dict):
            yield from _flatten(value, origin, f"{name}.")
        else:
            yield Setting(name, value, origin)


def _override_settings(overrides: Sequence[Any]) -> list[Setting]:
    if len(overrides) % 2:
        raise UserError(
            f"{COMMAND_LINE}: {len(overrides)} words after the config file do not form KEY VALUE"
            f" pairs (KEY and VALUE are separate words): {' '.join(map(str, overrides))}"
        )
    pairs = zip(overrides[::2], overrides[1::2], strict=True)
    return [Setting(str(key), value, COMMAND_LINE) for key, value in pairs]


def _keys_in(section: str, keys: Iterable[str]) -> list[str]:
    return [key for key in keys if key.startswith(f"{section}.")]


def _unknown_key(setting: Setting, known: list[str]) -> str:
    if inside := _keys_in(setting.key, known):
        return f"{setting.where} is a section, not a key; its keys are {', '.join(inside)}"
    near = ", ".join(nearest(setting.key, known))
    return f"{setting.where} is not a config key; the nearest are {near}"


def nearest(key: str, known: Sequence[str]) -> list[str]:
    """The three known dotted keys most similar to `key`, by their last part and as a whole."""
    last = key.rpartition(".")[2].upper()

    def likeness(candidate: str) -> float:
        parts = ((candidate.rpartition(".")[2], last), (candidate, key.upper()))
        return sum(difflib.SequenceMatcher(None, *pair).ratio() for pair in parts)

    return sorted(known, key=likeness, reverse=True)[:3]
