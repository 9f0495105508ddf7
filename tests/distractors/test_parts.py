"""A shard painted in parts: by concurrent processes, killed, divided anew, and still with the bytes of a single job."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from killing import SOURCES, run_until
from painters import paint_part, paint_shard
from pictures import PHOTOGRAPHS, curate, curation, read_bytes, save_folder

from nearid.cli import nearid as command
from nearid.distractors import runner
from nearid.distractors.diffusion import DiffusionEngine
from nearid.distractors.prompts import StoredPrompts
from nearid.errors import UserError
from nearid.io.files import replacing
from nearid.io.resume import Parts
from nearid.layout import Layout
from nearid.rehearsal.pipelines import save_sdxl

HURRY = "from nearid.distractors import runner; runner._PART_SECONDS = 0"
START = ["-c", f"{HURRY}; from nearid.cli import main; main()"]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """SDXL's real pipeline class, tiny, in batches of two."""
    model = tmp_path_factory.mktemp("models") / "sdxl"
    save_sdxl(model)
    options = {"model": str(model), "steps": 2, "guidance": 8.0, "strength": 0.99, "precision": "float32"}
    source = {"engine": "sdxl_inpaint", "working_px": 32, "options": options | {"batch_size": 2}}
    source |= {"dilate_px": 2, "paste_back": True, "feather_px": 0, "blur_sigma": 0.0}
    dataset = {"kind": "image_folder", "options": PHOTOGRAPHS}
    return {"seed": 0, "source_id": "tiny", "splits": ["test"], "dataset": dataset, "source": source}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, settings: dict[str, Any]) -> Layout:
    """Nine identities (nineteen views in ten batches) and their distractors, painted by one job."""
    root = tmp_path_factory.mktemp("whole")
    layout = Layout(root / "results")
    names = {f"i{number}": 2 + (number == 4) for number in range(9)}
    curate(curation(save_folder(root / "in", names), test="all"), layout)
    paint_shard(settings, layout, "000")
    return layout


@pytest.fixture
def fresh(whole: Layout, tmp_path: Path) -> Layout:
    """The same positives, with nothing painted."""
    shutil.copytree(whole.root / "data", tmp_path / "data")
    return Layout(tmp_path)


def arguments(layout: Layout, *more: str) -> list[str]:
    """Arguments of the command that paints the shard."""
    return ["distractors", "inpaint", "--results", str(layout.root), "--source", "tiny", "--shard", "000", *more]


def assert_same(layout: Layout, whole: Layout, parts: int) -> None:
    files = {name: content for name, content in read_bytes(layout).items() if "distractors/" in name}
    assert set(files) == {"distractors/tiny/000.parquet", "distractors/tiny/000.report.json"}
    assert layout.distractors("tiny", "000").read_bytes() == whole.distractors("tiny", "000").read_bytes()
    report, expected = (json.loads(each.distractor_report("tiny", "000").read_text()) for each in (layout, whole))
    assert report == expected | {"parts": parts}


def painted(layout: Layout, where: str = "*") -> list[Path]:
    return list((layout.root / "distractors/tiny/.progress/000").glob(f"*/{where}.parquet"))


def test_three_parts_of_which_one_was_killed(settings: dict[str, Any], whole: Layout, fresh: Layout) -> None:
    run_until(lambda: bool(painted(fresh)), arguments(fresh, "--part", "2/3"), settings, START)
    assert not fresh.distractors("tiny", "000").exists()
    for part in (3, 1):
        paint_part(settings, fresh, "000", part, 3)
    with pytest.raises(UserError, match=r"(?s)of 19 images are not painted, though 3 parts.*delete .*000\.\*of\*"):
        paint_shard(settings, fresh, "000", 3)
    paint_part(settings, fresh, "000", 2, 3)
    paint_shard(settings, fresh, "000", 3)
    assert_same(fresh, whole, 3)


def test_parts_at_the_same_time(settings: dict[str, Any], whole: Layout, fresh: Layout) -> None:
    # Stale progress, which both processes find and remove at their start.
    for number in range(200):
        stale = fresh.root / f"distractors/tiny/.progress/000/stale/{number:07d}.parquet"
        stale.parent.mkdir(parents=True, exist_ok=True)
        stale.touch()
    environment = os.environ | {"PYTHONPATH": str(SOURCES), "OMP_NUM_THREADS": "1"}
    given = ["--settings", json.dumps(settings)]
    processes = [
        subprocess.Popen([sys.executable, *START, *arguments(fresh, "--part", f"{part}/2"), *given], env=environment)
        for part in (1, 2)
    ]
    assert [process.wait(timeout=300) for process in processes] == [0, 0]
    paint_shard(settings, fresh, "000", 2)
    assert_same(fresh, whole, 2)


def test_another_number_of_parts_paints_no_image_again(
    settings: dict[str, Any], whole: Layout, fresh: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "_PART_SECONDS", 0.0)
    own, count = DiffusionEngine.paint_batch, []

    def paint_batch(self: Any, targets: Any, seeds: Any, prompts: Any) -> Any:
        count.append(len(targets))
        return own(self, targets, seeds, prompts)

    monkeypatch.setattr(DiffusionEngine, "paint_batch", paint_batch)
    for part in (1, 3):
        paint_part(settings, fresh, "000", part, 4)
    fresh.painted("tiny", "000", 1, 4).touch()
    for part in range(1, 31):  # more parts than there are batches
        paint_part(settings, fresh, "000", part, 30)
    assert sum(count) == 19
    paint_shard(settings, fresh, "000", 30)
    assert sum(count) == 19
    assert_same(fresh, whole, 30)


def test_a_part_that_is_none_is_refused(settings: dict[str, Any], fresh: Layout) -> None:
    for part in ("0/3", "4/3", "3", "a/b"):
        said = CliRunner().invoke(command, arguments(fresh, "--part", part, "--settings", json.dumps(settings)))
        assert said.exit_code == 2 and "such as 2/5" in said.output


def test_two_writers_of_the_same_leave_each_other_alone(tmp_path: Path) -> None:
    with replacing(tmp_path / "block", shared=True) as one:
        one.write_text("same")
        with replacing(tmp_path / "block", shared=True) as other:
            other.write_text("same")
    assert [path.name for path in tmp_path.iterdir()] == ["block"]


class Encoder:
    """Embeds a text as its number, and records the texts."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def encode(self, texts: Iterable[str]) -> Iterator[dict[str, torch.Tensor]]:
        for text in texts:
            self.asked.append(text)
            yield {"number": torch.tensor(int(text))}


def test_each_text_has_its_own_embedding_and_parts_share_them(tmp_path: Path) -> None:
    texts = [str(number % 50) for number in range(100)]
    encoder = Encoder()
    book = StoredPrompts(texts, texts[:20], encoder.encode, Parts(tmp_path / "000", "key"))
    assert encoder.asked == texts[:32]
    assert [int(book[text]["number"]) for text in texts[:32]] == list(range(32))
    other = StoredPrompts(texts, texts[20:50], encoder.encode, Parts(tmp_path / "000", "key"))
    assert encoder.asked == texts[:50]
    assert [int(other[text]["number"]) for text in texts] == [int(text) for text in texts]


def test_embeddings_go_with_the_part_that_needed_them_and_stay_for_others(tmp_path: Path) -> None:
    texts, parts = [str(number) for number in range(64)], Parts(tmp_path / "000", "key")
    first = StoredPrompts(texts, texts[:40], Encoder().encode, parts)
    first.clear(needed=texts[40:])
    assert parts.finished(".safetensors") == [32], "half of this block is the next part's"
    second = Encoder()
    StoredPrompts(texts, texts[40:], second.encode, parts).clear()
    assert second.asked == texts[48:] and parts.finished(".safetensors") == []
