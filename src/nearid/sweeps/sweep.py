"""A planned sweep: its heads, their config, and the arguments of each head's training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nearid.config import load, results_folder, step_settings
from nearid.config.accepted import result_code
from nearid.config.settings.heads import TrainHead
from nearid.config.types import Config
from nearid.errors import UserError
from nearid.io.files import read_json
from nearid.io.hashing import hash_json
from nearid.layout import Layout
from nearid.workflow.files import Files

RULES = ("train_head", "train_head_with_timelapse")


@dataclass(frozen=True)
class Sweep:
    """A sweep.

    Attributes:
        folder: of the sweep.
        overlays: on `config.yaml`; the last one is the sweep's own.
        ablations: its heads.
        config: with all overlays.
        layout: where the heads are.
    """

    folder: Path
    overlays: Sequence[Path]
    ablations: Sequence[str]
    config: Config
    layout: Layout

    @property
    def job_name(self) -> str:
        """The name of its jobs in SLURM."""
        return f"nearid_sweep_{self.folder.name}_{hash_json(str(self.folder.absolute()))[:8]}"

    def settings(self, ablation: str) -> TrainHead:
        """Settings of a head's training."""
        return TrainHead.parse(step_settings("train_head", self.config, ablation=ablation))

    def code(self, ablation: str) -> str:
        """Fingerprint of the code that trains a head, the same as its rule's."""
        return result_code("train_head", self.settings(ablation).given, self.layout.root)

    def rule(self, ablation: str) -> str:
        """The rule that would train a head."""
        return RULES[Files(self.config, self.layout).keeps_states(ablation)]


def open_sweep(folder: Path) -> Sweep:
    """The sweep that `plan_sweep` wrote to `folder`.

    Raises:
        UserError: there is none.
    """
    if not (folder / "sweep.json").is_file():
        raise UserError(folder, "no sweep", "a folder that `nearid sweep run` made", "check the path")
    record = read_json(folder / "sweep.json")
    overlays = [*map(Path, record["overlays"]), folder / "overlay.yaml"]
    config = load(*overlays)
    return Sweep(folder, overlays, record["ablations"], config, Layout(results_folder(config)))
