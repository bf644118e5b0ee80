"""Registries: parts of the framework by their names in a config."""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator
from importlib import import_module
from types import ModuleType
from typing import Generic, TypeVar

from slowfast.utils.errors import UserError

T = TypeVar("T")


class Registry(Generic[T]):
    """Table of entries by name, in registration order; a name with `_` in front is not listed.

    what: the kind of entry, for errors ("model"). key: the config key that names one.
    package: its modules register the entries; the first look-up imports them. None: the entries
        are registered by modules that are already imported.
    """

    def __init__(self, what: str, key: str, package: str | None = None) -> None:
        self._what = what
        self._key = key
        self._package = package
        self._entries: dict[str, T] = {}

    def add(self, name: str, entry: T) -> None:
        """Register an entry. Raises: ValueError if the name is taken."""
        if name in self._entries:
            raise ValueError(f"two {self._what} entries are called {name}; rename one of them")
        self._entries[name] = entry

    def get(self, name: str, key: str = "") -> T:
        """The entry of that name. key: names the config key in errors, if not the usual one.

        Raises: UserError for an unknown name.
        """
        self._load()
        if name not in self._entries:
            known = ", ".join(sorted(self))
            raise UserError(
                f"{key or self._key} {name!r} is not a registered {self._what}; choose one of"
                f" {known}"
            )
        return self._entries[name]

    def __contains__(self, name: object) -> bool:
        self._load()
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        self._load()
        return (name for name in self._entries if not name.startswith("_"))

    def _load(self) -> None:
        if self._package is not None:
            package, self._package = self._package, None
            import_modules(import_module(package))


def import_modules(package: ModuleType) -> None:
    """Import every module of a package, so that a new file there registers its entries."""
    for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        import_module(module.name)
