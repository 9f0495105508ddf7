"""How results on each kind of data set are described, and whether they can be compared with the paper's."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """A kind of data set, in words.

    Attributes:
        numbers: sentences that say what the numbers of a run on it mean.
        images: its images and distractors, compared with the paper's.
        comparable: whether its numbers can be compared with the paper's.
    """

    numbers: str
    images: str
    comparable: bool


KINDS = {
    "rendered": Kind(
        "These are numbers of the embedded demonstration: rendered objects, distractors made without generative models "
        "and a small backbone of our own that was pretrained on other rendered objects. They show whether the paper's "
        "effects appear at a small scale; they do not reproduce its values.",
        "rendered objects, a small backbone of our own and other distractor sources than the paper's",
        comparable=False,
    ),
    "image_folder": Kind(
        "These are numbers of a folder of photographs with distractors made without generative models. "
        "They describe that folder; they do not reproduce the paper's values.",
        "photographs of our own and other distractor sources than the paper's",
        comparable=False,
    ),
    "syncd": Kind(
        "These are numbers of the paper's curation with distractors that we painted again.",
        "the paper's curation of SynCD; distractors painted again",
        comparable=True,
    ),
    "nearid": Kind(
        "These are numbers on the data that the paper's authors released.", "the released data", comparable=True
    ),
}


def describe_kind(kind: str) -> Kind:
    """The `Kind` of this name; a generic one for a kind that was added to `nearid.data.datasets`."""
    other = Kind(
        f"These are numbers on data of kind {kind}.", f"data of kind {kind}, not the paper's", comparable=False
    )
    return KINDS.get(kind, other)
