"""What the judge is asked: own words on the structure that the paper describes (its figure 10, spec data.md 4.4)."""

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
