"""Data for the page as scripts: a page opened as a local file may load a script beside it, but no JSON."""

from __future__ import annotations

import json
from typing import Any


def dump_script(content: Any) -> str:
    """`content` as JSON that is safe inside a `<script>` element; equal content gives equal text."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=True)
    return text.replace("<", "\\u003c")
