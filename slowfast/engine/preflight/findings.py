"""Result of a check before a run: a readable report, and the user's mistakes in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from slowfast.utils.errors import UserError


@dataclass
class Findings:
    """Lines by topic, and the mistakes among them, each once."""

    lines: list[str] = field(default_factory=list)
    mistakes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return "\n".join(self.lines)

    def say(self, topic: str, text: str) -> None:
        self.lines.append(f"{topic + ':':<14}{text}")

    def look(self, topic: str, part: Callable[[], None]) -> None:
        """Run one check; a mistake is reported, and the next check can follow."""
        try:
            part()
        except UserError as error:
            self.wrong(topic, str(error))

    def wrong(self, topic: str, text: str) -> None:
        self.say(topic, f"WRONG: {text}")
        if text not in self.mistakes:
            self.mistakes.append(text)
