"""The one exception that a user is meant to read."""

from __future__ import annotations


class UserError(Exception):
    """A problem the user can mend, told in four parts.

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
        return f"where:    {self.where}\nfound:    {self.found}\nexpected: {self.expected}\nnext:     {self.action}"
