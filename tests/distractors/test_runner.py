import json
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from killing import run_until
from painters import paint_shard
from pictures import PHOTOGRAPHS, curate, curation, draw, read_bytes, save_folder

from nearid.config.settings.distractors import InpaintShard, Source
from nearid.data.positives import read_rows
from nearid.distractors import runner
from nearid.distractors.finishing import dilate, finish, paste_back
from nearid.distractors.protocol import BaseEngine, Frame, NothingToPaint, PaintError, Target
from nearid.distractors.runner import ATTEMPTS, PAINTED
from nearid.errors import UserError
from nearid.io.images import decode_rgb, decode_stored_mask
from nearid.layout import Layout

SOURCE = {
    "engine": "cut_paste",
    "working_px": 48,
    "dilate_px": 3,
    "paste_back": True,
    "feather_px": 0,
    "blur_sigma": 0.0,
    "options": {},
}
FEATHERED = {"engine": "cut_paste", "working_px": 24, "feather_px": 2, "options": {"blend": "feather"}}
SEAMLESS = {"engine": "cut_paste", "blur_sigma": 0.8, "options": {"blend": "seamless"}}
SIBLING = {"engine": "sibling", "feather_px": 1}
RENDERED = {"identities": 3, "size_px": 48, "three_view_fraction": 0.5, "mtg_train": 0, "mtg_test": 0}


def painting(source: dict[str, Any], source_id: str = "source", kind: str = "image_folder") -> dict[str, Any]:
    """Settings of `inpaint_shard`."""
    options = RENDERED if kind == "rendered" else PHOTOGRAPHS
    dataset = {"kind": kind, "options": options}
    common = {"seed": 0, "source_id": source_id, "splits": ["train", "val", "test"], "dataset": dataset}
    return common | {"source": SOURCE | source}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """Positives of five identities: three of one class, one alone in its class, one alone in its split."""
    root = tmp_path_factory.mktemp("folder")
    names = {"a1": 2, "a2": 3, "a3": 2, "b1": 2}
    classes = {name: name[0] for name in names}
    layout = Layout(root / "results")
    curate(curation(save_folder(root / "in", names, classes=classes), test="all"), layout)
    return layout


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    layout = Layout(tmp_path_factory.mktemp("rendered"))
    curate(curation(Path(), test="all") | {"kind": "rendered", "options": RENDERED}, layout)
    return layout


def pairs(layout: Layout, source: str) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """View, mask and distractor of every painted slot of shard 000."""
    rows = zip(read_rows(layout.positives("000")), read_rows(layout.distractors(source, "000")), strict=True)
    return [
        (
            decode_rgb(positive[f"images{slot}"]["bytes"]),
            decode_stored_mask(positive[f"masks{slot}"]["bytes"]),
            decode_rgb(distractor[f"nimg{slot}"]["bytes"]),
        )
        for positive, distractor in rows
        for slot in (1, 2, 3)
        if distractor[f"nimg{slot}"] is not None
    ]


@pytest.mark.parametrize(
    ("kind", "source", "painted"),
    [
        pytest.param("image_folder", FEATHERED, 7, id="cut_paste feather"),
        pytest.param("image_folder", SEAMLESS, 7, id="cut_paste seamless"),
        pytest.param("rendered", SIBLING, None, id="sibling"),
        pytest.param("rendered", SIBLING | {"working_px": 24}, None, id="sibling half"),
    ],
)
def test_outside_the_hole_a_distractor_is_its_view(
    request: pytest.FixtureRequest, kind: str, source: dict[str, Any], painted: int | None
) -> None:
    layout = request.getfixturevalue("folder" if kind == "image_folder" else "rendered")
    paint_shard(painting(source, "invariant", kind), layout, "000")
    found = pairs(layout, "invariant")
    assert len(found) == (painted or sum(row["n_images"] for row in read_rows(layout.identities)))
    for view, mask, distractor in found:
        y, x = np.nonzero(~mask)
        object_y, object_x = np.nonzero(mask)
        distance = np.array([np.min((object_y - j) ** 2 + (object_x - i) ** 2) for j, i in zip(y, x, strict=True)])
        outside = distance > SOURCE["dilate_px"] ** 2
        np.testing.assert_array_equal(distractor[y[outside], x[outside]], view[y[outside], x[outside]])
        assert np.abs(distractor[mask].astype(int) - view[mask]).mean() > 2


def test_rows_follow_the_positives_and_empty_slots_say_why(folder: Layout) -> None:
    paint_shard(painting(FEATHERED, "aligned"), folder, "000")
    positives, rows = (read_rows(path) for path in (folder.positives("000"), folder.distractors("aligned", "000")))
    assert [row["id"] for row in rows] == [row["id"] for row in positives]
    flags = {row["id"]: [row[f"flag{slot}"] for slot in (1, 2, 3)] for row in rows}
    reason = "no other identity of class 'b' in split 'test'"
    assert flags == {0: [PAINTED] * 2 + [None], 1: [PAINTED] * 3, 2: [PAINTED] * 2 + [None], 3: [reason] * 2 + [None]}
    seeds = [row[f"seed{slot}"] for row in rows for slot in (1, 2, 3) if row[f"seed{slot}"] is not None]
    assert len(set(seeds)) == 9
    report = json.loads(folder.distractor_report("aligned", "000").read_text())
    assert (report["views"], report["painted"], report["empty_by_reason"]) == (9, 7, {reason: 2})
    assert not (folder.root / "distractors" / "aligned" / ".progress").exists()


@pytest.mark.parametrize("bounds", [{"MAX_BATCH_PIXELS": 100, "ALWAYS_PAINTED_PIXELS": 100}, {"MAX_ASPECT": 0.5}])
def test_views_that_would_fill_the_memory_are_not_painted(
    folder: Layout, monkeypatch: pytest.MonkeyPatch, bounds: dict[str, float]
) -> None:
    for name, value in bounds.items():
        monkeypatch.setattr(runner, name, value)
    paint_shard(painting(FEATHERED, "large"), folder, "000")
    report = json.loads(folder.distractor_report("large", "000").read_text())
    assert report["painted"] == 0
    assert all(reason.startswith("a view of") for reason in report["empty_by_reason"])


def test_the_released_column_names(folder: Layout) -> None:
    paint_shard(painting(FEATHERED, "columns"), folder, "000")
    released = {"id", "category", "category_description", "n_images", "objaverse_id", "quality"}
    released |= {f"{name}{slot}" for name in ("nimg", "prompts") for slot in (1, 2, 3)}
    assert released <= set(read_rows(folder.distractors("columns", "000"))[0])


def test_train_views_never_get_test_donors(folder: Layout, tmp_path: Path) -> None:
    layout = Layout(tmp_path / "results")
    classes = {name: "a" for name in ("a1", "a2", "a3", "a4")}
    curate(curation(save_folder(tmp_path / "in", dict.fromkeys(classes, 2), classes=classes), test=3), layout)
    paint_shard(painting(FEATHERED), layout, "000")
    (lonely,) = json.loads(layout.splits.read_text())["train"]
    painted = [row["nimg1"] is not None for row in read_rows(layout.distractors("source", "000"))]
    assert painted == [row != lonely for row in range(4)]


def test_only_the_splits_asked_for_are_painted(folder: Layout) -> None:
    paint_shard(painting(FEATHERED, "restricted") | {"splits": ["val"]}, folder, "000")
    rows = read_rows(folder.distractors("restricted", "000"))
    assert len(rows) == 4 and all(row["nimg1"] is None for row in rows)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_killed_shard_goes_on_and_gives_the_same_bytes(
    folder: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    settings = painting(FEATHERED, "killed")
    disturbed = Layout(tmp_path)
    for path in (folder.positives("000"), folder.identities):
        target = disturbed.root / path.relative_to(folder.root)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    paint_shard(settings, folder, "000")

    progress = disturbed.root / "distractors" / "killed" / ".progress"
    hurry = "from nearid.distractors import runner; runner._PART_SECONDS = 0"
    start = ["-c", f"{hurry}; from nearid.cli import main; main()"]
    command = ["distractors", "inpaint", "--results", str(tmp_path), "--source", "killed", "--shard", "000"]
    run_until(lambda: len(list(progress.rglob("*.parquet"))) >= 3, command, settings, start, number=number)
    assert not disturbed.distractors("killed", "000").exists()
    done = len([path for path in progress.rglob("*.parquet") if not path.name.startswith(".")])

    painted: list[tuple[int, int]] = []
    original = BaseEngine.paint_batch

    def spy(engine: BaseEngine, targets: Sequence[Target], *others: Any) -> list[Frame]:
        painted.extend((target.id, target.slot) for target in targets)
        return original(engine, targets, *others)

    monkeypatch.setattr(BaseEngine, "paint_batch", spy)
    paint_shard(settings, disturbed, "000")
    assert len(painted) == 9 - done
    expected = {name: content for name, content in read_bytes(folder).items() if "/killed/" in name}
    assert {name: content for name, content in read_bytes(disturbed).items() if "distractors/" in name} == expected


def target(seed: int = 0) -> Target:
    image, mask = draw(seed)
    return Target(1, 0, image, mask, dilate(mask, SOURCE["dilate_px"]), "class", "train", "text", "prompt")


class Scripted(BaseEngine):
    """An engine that follows a script, one entry per attempt."""

    def __init__(self, *deeds: Any) -> None:
        self.deeds, self.seeds = list(deeds), []

    def paint(self, target: Target, seed: int) -> np.ndarray:
        self.seeds.append(seed)
        deed = self.deeds.pop(0)
        if isinstance(deed, Exception):
            raise deed
        return deed


def source_of(source: dict[str, Any]) -> Source[Any]:
    return InpaintShard.parse(painting(source)).source


def paint(engine: Scripted, source: Source[Any]) -> runner.Outcome:
    """The outcome for one view."""
    ((outcome,),) = runner.paint_batches(engine, None, [[target()]], source, "s", 0)
    return outcome


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (np.full((48, 48, 3), np.nan), "NaN"),
        (np.zeros((48, 48, 3), np.uint8), "black"),
        (target().image, "hardly any change"),
        (PaintError("out of paint"), "out of paint"),
        (cv2.error("numbers"), "numbers"),
    ],
)
def test_a_failed_attempt_is_tried_with_another_seed(bad: Any, reason: str) -> None:
    settings = source_of({})
    good = 255 - target().image
    engine = Scripted(bad, good)
    outcome = paint(engine, settings)
    assert outcome.flag == PAINTED and outcome.seed == engine.seeds[1] != engine.seeds[0]
    assert len(outcome.retries) == 1 and reason in outcome.retries[0]
    hopeless = paint(Scripted(*[bad] * ATTEMPTS), settings)
    assert hopeless.image is None and len(hopeless.retries) == ATTEMPTS and reason in hopeless.flag


def test_a_failure_in_one_batch_changes_no_other() -> None:
    source = source_of({})
    targets = [[target(2 * number), target(2 * number + 1)] for number in range(4)]
    failed: list[int] = []

    class InTwos(BaseEngine):
        def __init__(self, bad: set[tuple[int, int]]) -> None:
            self.bad = bad

        def paint_batch(self, batch: Sequence[Target], seeds: Sequence[int], prompts: Any) -> list[Frame]:
            frames: list[Frame] = []
            for place, (one, seed) in enumerate(zip(batch, seeds, strict=True)):
                number = next(n for n, of in enumerate(targets) if any(one is each for each in of))
                if (number, place) in self.bad and len(batch) == 2:
                    failed.append(number)
                    frames.append(np.full(one.image.shape, np.nan))
                else:
                    frames.append(np.random.default_rng(seed).integers(0, 256, one.image.shape, dtype=np.uint8))
            return frames

    sound = list(runner.paint_batches(InTwos(set()), None, targets, source, "s", 0))
    hurt = list(runner.paint_batches(InTwos({(1, 0), (3, 1)}), None, targets, source, "s", 0))
    assert failed == [1, 3]
    assert [len(batch) for batch in hurt] == [2, 2, 2, 2]
    for number, (one, other) in enumerate(zip(sound, hurt, strict=True)):
        for place in range(2):
            again = (number, place) in {(1, 0), (3, 1)}
            assert other[place].flag == PAINTED
            assert len(other[place].retries) == again
            assert (other[place] == one[place]) != again


def test_where_nothing_can_be_painted_no_second_seed_is_tried() -> None:
    outcome = paint(Scripted(NothingToPaint("no donor")), source_of({}))
    assert (outcome.image, outcome.flag, outcome.retries) == (None, "no donor", ())


def test_without_paste_back_the_frame_is_the_painted_one() -> None:
    frame = 255 - target().image
    source = source_of({"paste_back": False})
    np.testing.assert_array_equal(finish(frame, target(), source), frame)


def test_the_feather_rises_from_the_edge_of_the_hole_inwards() -> None:
    hole = np.zeros((21, 21), bool)
    hole[3:18, 3:18] = True
    blend = paste_back(np.full((21, 21, 3), 200, np.uint8), np.zeros((21, 21, 3), np.uint8), hole, feather_px=3)
    assert blend[10, :, 0].tolist() == [0] * 3 + [50, 100, 150] + [200] * 9 + [150, 100, 50] + [0] * 3


@pytest.mark.parametrize(
    ("source", "message"),
    [(SIBLING, "no scene to render again"), ({"options": {"steps": 5}}, "source.options.steps")],
    ids=["sibling of a photograph", "an option of another engine"],
)
def test_a_source_that_does_not_fit_is_refused(folder: Layout, source: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        paint_shard(painting(source, "refused"), folder, "000")
    assert not folder.distractors("refused", "000").exists()
