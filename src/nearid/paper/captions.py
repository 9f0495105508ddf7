"""Titles and captions of the figures, as the page shows them."""

from __future__ import annotations

# Name of a figure: its title and caption.
FIGURES = {
    "figure1": (
        "Figure 1: the same object, or the same background",
        "Of the test identities drawn, the one that shows it best: the anchor, another view of its object, and "
        "another object painted into the anchor. Bars: similarity to the anchor. Our own drawing.",
    ),
    "figure2": (
        "Figure 2: the method",
        "The encoder stays frozen, its pooling head is trained: views of one object move together, the distractors "
        "move away, and other objects even further. The circles illustrate the idea, not a result. Our own drawing.",
    ),
    "figure3": (
        "Figure 3: where the heads look, and what methods can do",
        "Attention of the pooling head, mean over its attention heads, on a view and its distractor; "
        "one scale per head and identity. Right: what each scorer rejects, sees, and needs.",
    ),
    "figure4": (
        "Figure 4: agreement with humans per category",
        "DreamBench++ by category: a radar per scorer with NearID dashed, and bars with the standard error over "
        "generation methods.",
    ),
    "figure5": (
        "Figure 5: what training does to the space",
        "KernelPCA (cosine kernel) of validation identities. Circles are views of an object, crosses its distractors, "
        "one colour per identity. A scorer that sees the background puts each cross on its circle; one that sees the "
        "object brings its circles together and leaves the crosses outside. Both panels and all frames use the same "
        "settings; frames are aligned with the last one. Below: stills of the animation on shared axes.",
    ),
    "figure6": (
        "Figure 6: three ways to train",
        "What attracts and what repels. Only the third asks for an order: views of one object, then its distractors, "
        "then everything else.",
    ),
    "figure7": (
        "Figure 7: identities, distractors and what scorers make of them",
        "Test identities drawn by the figure's seed: the anchor, its other views, and the distractors painted into the "
        "anchor; below each its similarity to the anchor.",
    ),
    "figure8": (
        "Figure 8: part edits",
        "Pairs of the part-edit test set drawn by the figure's seed: two images of an object, and both with a part "
        "edited. Similarities are to image 1; the oracle is the share of the object that was left alone.",
    ),
    "figure9": (
        "Figure 9: similarities of edits beside the oracle's",
        "Distribution of the similarity between an original and its own edit. A scorer that sees how much was edited "
        "follows the oracle's broad grey line; one that does not stays near 1.",
    ),
    "figure10": (
        "Figure 10: what the judge is asked",
        "The prompt of the vision-language judge, verbatim: ours, with the paper's structure, or that of the config.",
    ),
    "contact_sheets": (
        "Contact sheets of the sources",
        "The same test identities for every source: view 1 above, below it the distractor painted into it. Counts are "
        "slots of test identities.",
    ),
    "margins": (
        "Margins per source",
        "By how much another view of an object is more similar than the distractor on the same background (difference "
        "of similarities); values right of zero are correct. Boxes: quartiles and median; whiskers: 5 to 95 per cent.",
    ),
    "similarities": (
        "Similarities by tier",
        "Views of one object, a view and the distractor painted into it, and a view and the other identities of the "
        "split (means over them). A scorer that tells identities apart keeps the three in this order and apart; for "
        "one that does not, the first two coincide.",
    ),
    "training": (
        "Training curves",
        "Above, the loss of each head: faint its steps, strong the running means of loss and unweighted terms. Below, "
        "the mean cosines of a batch: views of one object, distractors, other objects.",
    ),
    "weights": (
        "What alpha and beta trade",
        "Benchmarks over the weight of the ranking term (alpha) and of cohesion (beta at alpha 1); grey: the paper's.",
    ),
}
