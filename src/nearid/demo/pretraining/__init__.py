"""How the demo's backbone was made: a small SigLIP pretrained on an endless stream of rendered objects.

As SigLIP 2 was trained with more than the sigmoid loss, so is this one: captions for the pooled output; for the patch
tokens masked prediction, reconstruction and region captions (words of an object's description, read from each of its
patches).
"""

from nearid.demo.pretraining.loop import pretrain

__all__ = ["pretrain"]
