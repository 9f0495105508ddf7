"""The exception for problems that the user can fix, and escaping of text from outside before it is shown."""

from __future__ import annotations

import re

# Characters that a terminal would act on: control characters except line feed and tab, marks of text direction, line
# and paragraph separators, and lone surrogates.
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def harmless(text: str) -> str:
    """`text` with control characters spelled out, except line ends and tabs."""
    return _CONTROLS.sub(lambda found: ascii(found[0])[1:-1], text)


class UserError(Exception):
    """A problem that the user can fix, described in four parts.

    Args:
        where: the file, record, config key or step concerned.
        found: what is there.
        expected: what should be there.
        action: what to do next.
    """

    def __init__(self, where: object, found: str, expected: str, action: str) -> None:
        self.where, self.found, self.expected, self.action = str(where), found, expected, action
        super().__init__(where, found, expected, action)

    def __str__(self) -> str:
        parts = {"where": self.where, "found": self.found, "expected": self.expected, "next": self.action}
        return "\n".join(f"{f'{name}:':<10}{_part(text)}" for name, text in parts.items())


def _part(text: str) -> str:
    # Further lines are indented, so that text from outside cannot imitate one of the four parts.
    return harmless(text).replace("\n", "\n" + 10 * " ")
