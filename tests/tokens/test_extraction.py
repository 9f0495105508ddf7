"""From Parquet shards to token shards: which images, what each variant shows, kills, damage."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from token_images import IDS, VIEWS, mask_of, open_backbone, picture, slots, write_images, write_world
from transformers import AutoImageProcessor, SiglipVisionModel

from nearid.cli.tokens import tokens as commands
from nearid.errors import UserError
from nearid.io.tables import IMAGE, write_table
from nearid.tokens import TokenStore
from nearid.tokens.augmentation import UNCHANGED, augment
from nearid.tokens.collections import foreground, open_collection
from nearid.tokens.extraction import extract

pytestmark = pytest.mark.numerics

WHOLE_ALONE = {"train": ["full"], "test": ["full"]}


def run(settings, layout, collection, splits=("train", "test")):
    pictures, inputs = open_collection(layout, collection, "000", splits)
    target = layout.tokens("tiny", collection)
    extract(open_backbone(settings), "tiny", pictures, inputs, target, workers=2)
    return TokenStore([target])


def slow_tokens(folder, image, mask=None):
    """Transformers' tokens of a single image, with the background blackened pixel by pixel."""
    image = image.copy()
    if mask is not None:
        for row, column in np.argwhere(~mask):
            image[row, column] = 0
    pixels = AutoImageProcessor.from_pretrained(folder, backend="pil")(Image.fromarray(image), return_tensors="pt")
    with torch.no_grad():
        return SiglipVisionModel.from_pretrained(folder)(**pixels).last_hidden_state[0].numpy()


def expect(store, folder, id, slot, image, mask):
    for variant, own_mask in (("full", None), ("fg", mask)):
        read = store.read([store.find(id, slot, variant)])[0]
        np.testing.assert_allclose(read, slow_tokens(folder, image, own_mask), rtol=2e-3, atol=2e-3)


def test_positives_hold_every_view_twice(settings, layout, model_folder):
    store = run(settings, layout, "positives")
    assert store.keys.tolist() == [
        (id, slot, variant) for id in IDS for slot in range(VIEWS[id]) for variant in (b"full", b"fg")
    ]
    for id, slot in ((7, 2), (5, 0)):
        expect(store, model_folder, id, slot, picture(id, slot), mask_of(id, slot))


def test_distractors_take_the_mask_of_their_view(settings, layout, model_folder):
    store = run(settings, layout, "sibling")
    assert not store.contains(7, 1, "full")  # the empty slot stays empty and shifts nothing
    expect(store, model_folder, 7, 2, picture(7, 2, 1), mask_of(7, 2))


def test_mtg_edits_take_the_object_mask_of_their_image(settings, layout, model_folder, caplog):
    store = run(settings, layout, "mtg_test")
    expect(store, model_folder, 7, 1, picture(7, 1, 2), mask_of(7, 1))
    expect(store, model_folder, 7, 3, picture(7, 3, 2), mask_of(7, 1))
    assert store.contains(3, 3, "full") and not store.contains(3, 3, "fg")
    assert "2 images have no mask" in caplog.text


@pytest.mark.parametrize("collection", ["positives", "sibling"])
def test_only_the_asked_splits_are_extracted(settings, layout, collection):
    assert set(run(settings, layout, collection, ["test"]).keys["id"].tolist()) == {3, 5}
    assert len(run(settings, layout, collection, ["val"])) == 0


def test_foreground_resizes_the_mask_by_nearest():
    image = picture(0, 0)
    mask = np.zeros((15, 15), bool)
    mask[3:9, 4:8] = True
    expected = np.where(mask.repeat(2, 0).repeat(2, 1)[..., None], image, 0)
    assert (foreground(image, mask) == expected).all()


def test_rows_that_do_not_belong_together_are_refused(settings, layout):
    painted = slots("nimg", picture)
    write_table(
        layout.distractors("sibling", "000"),
        {"id": IDS[::-1]} | painted,
        pa.schema([("id", pa.int64()), *((name, IMAGE) for name in painted)]),
    )
    with pytest.raises(UserError, match="other ids or another order"):
        run(settings, layout, "sibling")


@pytest.mark.parametrize("name", ["images2", "masks2"])
def test_damaged_image_is_named(settings, layout, name):
    views = slots("images", picture) | slots("masks", mask_of)
    views[name][2] = views[name][2][:60]
    write_images(layout.positives("000"), views, views)
    with pytest.raises(UserError, match=r"000\.parquet, id 11, slot 1"):
        run(settings, layout, "positives")
    assert not layout.tokens("tiny", "positives").exists()


def test_a_picture_that_the_image_processor_cannot_take_is_named(settings, layout, monkeypatch):
    from transformers import SiglipImageProcessorPil

    shown, whole = [], SiglipImageProcessorPil.__call__

    def fail_at_last(self, image, **options):
        shown.append(image)
        if len(shown) == 3 + 3:  # loading it already tests it with three
            raise ValueError("an odd picture")
        return whole(self, image, **options)

    monkeypatch.setattr(SiglipImageProcessorPil, "__call__", fail_at_last)
    with pytest.raises(UserError, match=r"000\.parquet, id \d+, slot \d.*\n.*an odd picture"):
        run(settings, layout, "positives")
    assert not layout.tokens("tiny", "positives").exists()


def damage(layout, **columns):
    """Truncate images or masks of the positives; `images2=[2]` is slot 1 of row 2."""
    views = slots("images", picture) | slots("masks", mask_of)
    for name, rows in columns.items():
        for row in rows:
            views[name][row] = views[name][row][:60]
    write_images(layout.positives("000"), views, views)


def test_damaged_images_are_gaps_where_that_is_set(settings, layout, tmp_path, caplog):
    """If an image or its mask is damaged, none of its variants is stored; the shard records it, and has all others."""
    whole = run(settings, write_world(tmp_path / "whole"), "positives")
    damage(layout, images2=[2], masks1=[1])  # id 11, slot 1; id 3, slot 0
    gap = [
        "--settings",
        command(layout, settings | {"batch_size": 3})[-1].replace("{", '{"damaged_images": "gap", ', 1),
    ]
    line = [*command(layout, settings)[:-2], *gap]
    extracted = CliRunner().invoke(commands, line)
    assert extracted.exit_code == 0, extracted.output
    assert "gaps instead of 2 damaged images" in caplog.text and "id 11, slot 1" in caplog.text
    shard = layout.tokens("tiny", "positives")
    store, content = TokenStore([shard]), shard.read_bytes()
    left = [key for key in whole.keys.tolist() if key[:2] not in [(11, 1), (3, 0)]]
    assert store.keys.tolist() == left and len(left) == 16
    for key in left:
        here, there = (own.read([own.find(*key[:2], key[2].decode())])[0] for own in (store, whole))
        np.testing.assert_allclose(here, there, rtol=2e-3, atol=2e-3)
    assert store.gaps.keys() == {(11, 1), (3, 0)}
    with pytest.raises(UserError, match=r"a gap \(.*id 11, slot 1.*no readable image"):
        store.find(11, 1, "full")
    held = json.loads(CliRunner().invoke(commands, ["info", str(shard)]).output)
    assert [(gap["id"], gap["slot"]) for gap in held["gaps"]] == [(3, 0), (11, 1)]
    assert "its mask" in held["gaps"][0]["reason"]
    assert "16 images, whole; 2 gaps" in CliRunner().invoke(commands, ["verify", str(shard)]).output
    shard.unlink()
    CliRunner().invoke(commands, line)
    assert shard.read_bytes() == content

    # A mask that is not needed is not read; repaired images leave no trace.
    damage(layout, masks1=[1])
    pictures, inputs = open_collection(layout, "positives", "000", ["train", "test"])
    extract(open_backbone(settings), "tiny", pictures, inputs, shard, variants=WHOLE_ALONE, leave_gaps=True)
    assert not TokenStore([shard]).gaps and TokenStore([shard]).contains(3, 0, "full")
    damage(layout)
    assert CliRunner().invoke(commands, line).exit_code == 0
    repaired = shard.read_bytes()
    run(settings | {"batch_size": 3}, layout, "positives")
    assert shard.read_bytes() == repaired and "gaps" not in json.loads(
        CliRunner().invoke(commands, ["info", str(shard)]).output
    )


def test_tokens_beyond_float16_are_refused(settings, layout, model_folder, monkeypatch):
    backbone = open_backbone(settings)
    monkeypatch.setattr(backbone, "encode", lambda pixels: torch.full((len(pixels), 16, 32), 1e6))
    pictures, inputs = open_collection(layout, "positives", "000", ["train"])
    with pytest.raises(UserError, match="not finite in float16"):
        extract(backbone, "tiny", pictures, inputs, layout.tokens("tiny", "positives"))


def test_killed_run_goes_on_and_gives_the_same_bytes(settings, layout, tmp_path, caplog):
    undisturbed = write_world(tmp_path / "undisturbed")
    run(settings, undisturbed, "positives")
    whole = undisturbed.tokens("tiny", "positives")
    target = layout.tokens("tiny", "positives")
    script = f"""
import os, signal
from nearid.tokens import extraction
from nearid.cli.tokens import tokens
keep, left = extraction._keep, [3]
def keep_or_die(*arguments):
    keep(*arguments)
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
extraction._keep = keep_or_die
tokens({command(layout, settings)!r})
"""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2] / "src")}
    killed = subprocess.run([sys.executable, "-c", script], env=environment, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not target.exists()
    parts = list(target.parent.glob(".progress/000/*/*.npy"))
    assert len(parts) == 3
    times = [part.stat().st_mtime_ns for part in parts]
    interrupted = CliRunner().invoke(commands, command(layout, settings, "--collection", "sibling"))
    assert interrupted.exit_code == 0, interrupted.output
    assert [part.stat().st_mtime_ns for part in parts] == times  # another collection does not touch them
    again = CliRunner().invoke(commands, command(layout, settings))
    assert again.exit_code == 0, again.output
    assert "3/5 done by an earlier try" in caplog.text
    assert target.read_bytes() == whole.read_bytes()
    assert [path.name for path in target.parent.iterdir()] == ["000.h5"]


def test_progress_of_other_contents_is_not_used(settings, layout):
    stale = layout.tokens("tiny", "positives").parent / ".progress" / "000" / "0123456789abcdef" / "0000000.npy"
    stale.parent.mkdir(parents=True)
    np.save(stale, np.zeros((4, 16, 32), np.float16))
    assert run(settings, layout, "positives").read([0]).any()


def command(layout, settings, *more):
    ids = ["--backbone", "tiny", "--collection", "positives", "--shard", "000"]
    given = json.dumps(
        {"backbone": settings, "shards": ["000"], "variants": {"train": ["full", "fg"], "test": ["full", "fg"]}}
    )
    return ["extract", *ids, *more, "--results", str(layout.root), "--settings", given]


def test_augmented_variants_show_what_their_parameters_say(settings, layout, model_folder):
    """Through the command, as in the workflow; `info` shows how many were changed and how."""
    chances = {"flip": 0.5, "jitter": 0.6, "affine": 0.6}
    train = ["full", "full_flip", "full_0a1b2c3d_0", "full_0a1b2c3d_1", "fg_flip", "fg_0a1b2c3d_0"]
    given = {"backbone": settings, "shards": ["000"], "variants": {"train": train, "test": ["full", "fg"]}}
    line = command(layout, settings)
    line[line.index("--settings") + 1] = json.dumps(given | {"augmentations": {"0a1b2c3d": chances}})
    extracted = CliRunner().invoke(commands, line)
    assert extracted.exit_code == 0, extracted.output
    shard = layout.tokens("tiny", "positives")
    store = TokenStore([shard])
    parameters = dict(zip(store.keys.tolist(), store.parameters, strict=True))
    trained = [(id, slot) for id in (7, 11) for slot in range(VIEWS[id])]
    changed = set()
    for id, slot in trained:
        image = picture(id, slot)
        for variant in train:
            key = (id, slot, variant.encode())
            seen = foreground(image, mask_of(id, slot)) if variant.startswith("fg") else image
            if variant.endswith("flip"):
                assert parameters[key].tolist() == [1, 1, 1, 1, 0, 0, 0, 0, 1]
                seen = seen[:, ::-1]
            else:
                seen = augment(seen, parameters[key])
                changed.add(parameters[key].tobytes())
            read = store.read([store.find(id, slot, variant)])[0]
            np.testing.assert_allclose(read, slow_tokens(model_folder, seen), rtol=2e-3, atol=2e-3)
    assert len(changed) > 8, "hardly anything was drawn"
    tested = [key for key in parameters if key[0] in (3, 5)]
    assert {variant for _, _, variant in tested} == {b"full", b"fg"}
    assert all((parameters[key] == UNCHANGED).all() for key in tested)
    held = json.loads(CliRunner().invoke(commands, ["info", str(shard)]).output)
    assert held["images"]["full_flip"] == 5 and held["augmented"]["full_flip"] == {
        "flipped": 5,
        "jittered": 0,
        "moved": 0,
    }
    jittered = [parameters[id, slot, b"full_0a1b2c3d_1"][1] != 1 for id, slot in trained]
    assert held["augmented"]["full_0a1b2c3d_1"]["jittered"] == sum(jittered)


def test_commands_describe_and_verify_shards(settings, layout):
    run(settings, layout, "positives")
    shard = layout.tokens("tiny", "positives")
    told = CliRunner().invoke(commands, ["info", str(shard)])
    held = json.loads(told.output)
    assert (held["images"], held["identities"], held["tokens"]) == ({"fg": 10, "full": 10}, 4, 16)
    assert "augmented" not in held
    assert "20 images, whole" in CliRunner().invoke(commands, ["verify", str(shard)]).output
    damaged = bytearray(shard.read_bytes())
    tokens = TokenStore([shard]).read([3]).tobytes()
    damaged[damaged.index(tokens)] ^= 1
    shard.write_bytes(damaged)
    refused = CliRunner().invoke(commands, ["verify", str(shard)])
    assert refused.exit_code != 0
    assert "id 7, slot 1, variant 'fg'" in str(refused.exception)
