"""The judge's prompt: our own wording with the structure of the paper's figure 10, or a template from a file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nearid.errors import UserError

PROMPT = """\
You compare two photographs, image A (first) and image B (second), as a strict examiner of physical objects.
Question: do both show one and the same physical INSTANCE, the very same object, and not merely two objects of one kind?

What must not count: the background, the scene and its setting, watermarks, and ordinary changes of viewpoint, pose, \
scale or light.

Evidence, strongest first:
1. marks that only this one object has: scratches, stains, stickers, repairs, a special arrangement of parts;
2. fine geometry: shape and proportion of its parts, how they are joined, how many there are;
3. text or logos that can be read on it;
4. colour, but only as part of a pattern: a plain colour proves nothing.

Scale of the score:
10 = certainly the same object; 7 to 9 = probably the same; 4 to 6 = cannot be decided;
1 to 3 = probably another object; 0 = certainly another object.

If the object is hidden, small or blurred in an image, answer about 5 and name the missing evidence among the cues.
If you had to lean on the background, say so in background_used, and keep confidence low.

Answer with one JSON object and nothing else, without code fences, cues of a few words each:
{"match_cues": [text, ...], "conflict_cues": [text, ...], "background_used": true or false,
 "confidence": "high", "medium" or "low", "score": number from 0 to 10}"""

MAX_NEW_TOKENS = 512
"""Maximum length of an answer."""
IMAGES = ("{image_a}", "{image_b}")
SCALE = {"{lowest}": "0", "{highest}": "10"}


@dataclass(frozen=True)
class Prompt:
    """A template: `{image_a}` and `{image_b}` are replaced by the images; without them both images come first.

    `{lowest}` and `{highest}` become the ends of the scale; other braces are text.
    """

    template: str = PROMPT

    def content(self, images: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """The parts of the user's turn: `images` (two) and the texts, in the order of the template."""
        text = self.template
        for placeholder, value in SCALE.items():
            text = text.replace(placeholder, value)
        if IMAGES[0] not in text:
            return [*images, {"type": "text", "text": text}]
        shown = dict(zip(IMAGES, images, strict=True))
        parts = [part for part in re.split("|".join(f"({re.escape(name)})" for name in IMAGES), text) if part]
        return [shown.get(part, {"type": "text", "text": part}) for part in parts]


def choose_prompt(path: str | None) -> Prompt:
    """The template in the file `path`, which the judge's entry names as `prompt`; our own without one."""
    return read_prompt(path) if path else Prompt()


def read_prompt(path: Path | str) -> Prompt:
    """The template in a text file.

    Raises:
        UserError: there is no such file, it asks for no score, or it does not show image A and then B, once each.
    """
    try:
        text = Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(path, f"no text file ({error})", "a judge's prompt", "correct the scorer's `prompt`") from error
    if "score" not in text.lower():
        raise UserError(path, "no mention of a score", "a prompt that asks for JSON with the key `score`", "add it")
    places = re.findall("|".join(map(re.escape, IMAGES)), text)
    if places and places != list(IMAGES):
        raise UserError(
            path,
            f"images in the order {', '.join(places)}",
            f"{IMAGES[0]} and then {IMAGES[1]}, or neither",
            "correct it",
        )
    return Prompt(text)
