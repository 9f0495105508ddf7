"""The demo's own world: rendered objects instead of photographs, and a small backbone pretrained on them.

The paper's run uses neither. `renderer` draws objects, scenes and views; `siglip` holds the backbone's weights, and
`pretraining` is how they were made. The stages reach both through their plug-ins: the data set `rendered`, the
source `sibling`, the backbone `siglip`.
"""
