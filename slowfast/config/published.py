"""Translation of published SUM-L, Ego-Exo and PySlowFast settings to the keys of this package.

Published files and override lines run unmodified. There are four kinds of published keys: kept
under the same name, renamed, ignored (without effect), or accepted only at the default (other
values are not supported). The tables are in `published_tables`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from slowfast.config.published_tables import (
    ACCEPTED_VALUES,
    EXO_CHECKPOINT,
    HAND_OBJECT_MODEL,
    IGNORED_KEYS,
    IGNORED_SECTIONS,
    NO_EFFECT_AS_RELEASED,
    OUR_SECTIONS,
    PUBLISHED_DEFAULTS,
    RENAMED_KEYS,
    RENAMED_VALUES,
    SHARED_BY_VIEWS,
)
from slowfast.config.values import Setting, typed
from slowfast.utils.errors import UserError
from slowfast.utils.paths import is_remote


@dataclass
class Translation:
    """Settings under our names, in the order they apply. lines: (level, text) for the log."""

    settings: list[Setting] = field(default_factory=list)
    notes: list[tuple[str, str]] = field(default_factory=list)


def translate(file: list[Setting], overrides: list[Setting], kept: Collection[str]) -> Translation:
    """The settings of a config file, then of the overrides, under our names.

    kept: our keys; a published key among them keeps its name. Unknown keys are passed on. In a
    published file, a key that is left out has its published default.

    Raises: UserError for a published value that is not supported, or for one key that is set to
        two values under two names.
    """
    out = Translation()
    written = [*file, *overrides]
    if _is_published(file, kept):
        written = [*_left_out(file, out.notes), *written]
        written += _for_the_other_view(written)
    ignored = []
    for setting in written:
        kind = kind_of(setting.key, kept)
        if kind == "ignored":
            ignored.append(setting.key)
        elif kind == "accepted":
            _refuse_unsupported(setting)
        elif setting.key == EXO_CHECKPOINT:
            out.settings += _exo_checkpoint(setting, out.notes)
        elif kind == "renamed":
            out.settings.append(_renamed(setting, RENAMED_KEYS[setting.key]))
        else:
            out.settings += _with_our_value(setting)
    _refuse_two_names(out.settings)
    out.notes += _notes([*file, *overrides], out.settings, ignored)
    return out


def kind_of(key: str, kept: Collection[str]) -> str:
    """kept, renamed, accepted (at its default only), ignored or unknown."""
    if key in kept:
        return "kept"
    if key in RENAMED_KEYS or key == EXO_CHECKPOINT:
        return "renamed"
    if key in ACCEPTED_VALUES:
        return "accepted"
    if key in IGNORED_KEYS or key.partition(".")[0] in IGNORED_SECTIONS:
        return "ignored"
    return "unknown"


def _is_published(file: list[Setting], kept: Collection[str]) -> bool:
    """Whether a file has a name unique to published files, and none unique to ours."""
    published = any(
        kind_of(setting.key, kept) not in ("kept", "unknown") or _our_value(setting)
        for setting in file
    )
    return published and not any(setting.key.startswith(OUR_SECTIONS) for setting in file)


def _left_out(file: list[Setting], notes: list[tuple[str, str]]) -> list[Setting]:
    """The published defaults that apply; a note names those that have an effect."""
    given = {setting.key for setting in file}
    defaults = {key: value for key, value in PUBLISHED_DEFAULTS.items() if key not in given}
    contrastive = "MODEL.CONTRASTIVE" in given
    named = [f"{k} {v}" for k, v in defaults.items() if contrastive or k not in RENAMED_KEYS]
    if named:
        notes.append(
            ("INFO", f"published file, left out, at the published default: {', '.join(named)}")
        )
    return [Setting(key, value, "published default") for key, value in defaults.items()]


def _for_the_other_view(written: list[Setting]) -> list[Setting]:
    given = {setting.key for setting in written}
    return [
        setting._replace(key=SHARED_BY_VIEWS[setting.key])
        for setting in written
        if setting.key in SHARED_BY_VIEWS and SHARED_BY_VIEWS[setting.key] not in given
    ]


def _renamed(setting: Setting, key: str) -> Setting:
    return setting._replace(key=key, written=setting.key)


def _our_value(setting: Setting) -> str | None:
    """Our name for a published model or data set; None for any other value."""
    names = RENAMED_VALUES.get(setting.key, {})
    return names.get(setting.value) if isinstance(setting.value, str) else None


def _with_our_value(setting: Setting) -> list[Setting]:
    ours = _our_value(setting)
    if ours is None:
        return [setting]
    settings = [setting._replace(value=ours)]
    if setting.value == HAND_OBJECT_MODEL:
        settings.append(setting._replace(key="HANDOBJ.ENABLE", value=True))
    return settings


def _exo_checkpoint(setting: Setting, notes: list[tuple[str, str]]) -> list[Setting]:
    """The file as EXO.CHECKPOINT_FILE_PATH if there is one; else a warning."""
    if not setting.value:
        return []
    named = str(setting.value)
    if is_remote(named) or Path(named).is_file():
        return [_renamed(setting, "EXO.CHECKPOINT_FILE_PATH")]
    notes.append(
        (
            "WARNING",
            f"{setting.where} {setting.value} is not a file and is ignored; set"
            " EXO.CHECKPOINT_FILE_PATH to the weights of the exo half",
        )
    )
    return []


def _refuse_unsupported(setting: Setting) -> None:
    accepted = ACCEPTED_VALUES[setting.key]
    if typed(setting, accepted[0]) not in accepted:
        raise UserError(
            f"{setting.where} {setting.value!r} is not supported; remove the key or set it"
            f" to {accepted[-1]!r}"
        )


def _refuse_two_names(settings: list[Setting]) -> None:
    first: dict[tuple[str, str], Setting] = {}
    for setting in settings:
        other = first.setdefault((setting.key, setting.origin), setting)
        if other.written != setting.written and other.value != setting.value:
            raise UserError(
                f"{setting.origin}: {setting.key} is set twice, as {other.written or other.key}"
                f" {other.value!r} and as {setting.written or setting.key} {setting.value!r};"
                " remove one"
            )


def _notes(
    written: list[Setting], settings: list[Setting], ignored: list[str]
) -> Iterator[tuple[str, str]]:
    if mapped := _mapped(written, settings):
        yield "INFO", f"published names mapped: {', '.join(mapped)}"
    if ignored:
        names = ", ".join(dict.fromkeys(ignored))
        yield "INFO", f"published keys without effect, ignored: {names}"
    dead = [key for key in NO_EFFECT_AS_RELEASED if key in {setting.key for setting in written}]
    if dead:
        yield (
            "INFO",
            f"this trains the method of the paper: {', '.join(dead)} had no effect in the released"
            " code; configs/epic-kitchen-100/published_release.yaml trains what was released",
        )
    if any(setting.key == "HANDOBJ.ENABLE" and setting.value is True for setting in settings):
        yield (
            "INFO",
            "the hand and object heads of the published model are not supported: a test ignores"
            " their weights, training is refused",
        )


def _mapped(written: list[Setting], settings: list[Setting]) -> list[str]:
    values = (f"{s.key} {s.value} -> {_our_value(s)}" for s in written if _our_value(s))
    given = {setting.key for setting in written}
    keys = (f"{s.written} -> {s.key}" for s in settings if s.written in given)
    return list(dict.fromkeys([*values, *keys]))
