"""Own images: every kind of file, folders, lists, each image embedded once, the metric of a training loop."""

import csv
import io
import json
import os
import shutil
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import nearid
from nearid.cli import nearid as command
from nearid.errors import UserError
from nearid.io.images import decode_rgb
from nearid.release.pairs import find_images, pair_all, pair_by_name, read_pairs, score_pairs

pytestmark = pytest.mark.numerics

PHOTOS = Path(__file__).resolve().parents[2].parent / "shared/data/dreambooth"


class Counting:
    """Stands in for a model: mean colours as unit vectors, and how many images it was shown."""

    batch_size = 7

    def __init__(self):
        self.shown = 0

    def prepare(self, image):
        return decode_rgb(image)

    def embed_prepared(self, images):
        self.shown += len(images)
        means = np.stack([np.asarray(image, np.float32).reshape(-1, 3).mean(0) + 1 for image in images])
        return means / np.linalg.norm(means, axis=1, keepdims=True)


@pytest.fixture
def score(run):
    def call(*arguments, stdin=None):
        model = ["--model", str(run.layout.head("nearid"))]
        return CliRunner().invoke(command, ["score", *model, *map(str, arguments)], input=stdin)

    return call


def test_importing_the_package_is_light():
    program = "import sys, nearid; print([m for m in ('torch', 'numpy', 'PIL', 'transformers') if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", program], text=True).strip() == "[]"
    with pytest.raises(AttributeError):
        _ = nearid.unknown


def test_ten_thousand_pairs_show_each_image_once(picture):
    files = [str(picture(f"{side}/{n:03d}.png")) for side in "ab" for n in range(100)]
    pairs, model = pair_all(files[:100], files[100:]), Counting()
    rows = score_pairs(pairs, model)
    assert len(rows) == 10_000 and model.shown == 200
    vectors = {file: Counting().embed_prepared([decode_rgb(file)])[0] for file in files}
    for row in rows[::997]:
        assert row.similarity == pytest.approx(float(vectors[row.reference] @ vectors[row.candidate]), abs=1e-6)


def test_two_images_give_a_number(score, picture, run):
    one, two = picture("one.png"), picture("another.jpg")
    value = float(score(one, two).output.splitlines()[-1])
    assert value == pytest.approx(nearid.load(run.layout.head("nearid")).similarity(one, two), abs=1e-5)
    assert float(score(one, one).output.splitlines()[-1]) == pytest.approx(1, abs=1e-5)


def test_folders_globs_lists_csv_and_json(score, picture, tmp_path):
    for name in ("ref/a.png", "ref/b.png", "gen/a.jpg", "gen/sub/c.webp", "gen/notes.txt"):
        if name.endswith("txt"):
            (tmp_path / name).write_text("no picture")
        else:
            picture(name)
    output = tmp_path / "scores.csv"
    result = score("--reference", tmp_path / "ref", "--candidates", tmp_path / "gen", "--csv", "--output", output)
    assert result.exit_code == 0, result.output
    rows = list(csv.DictReader(io.StringIO(output.read_text())))
    names = [(Path(row["reference"]).name, Path(row["candidate"]).name) for row in rows]
    assert names == [("a.png", "a.jpg"), ("b.png", "a.jpg"), ("a.png", "c.webp"), ("b.png", "c.webp")]
    assert all(-1 <= float(row["similarity"]) <= 1 for row in rows)

    listed = f"{tmp_path}/ref/a.png\t{tmp_path}/gen/a.jpg\n"
    result = score("--list", "-", "--json", "--output", output, stdin=listed)
    assert json.loads(output.read_text())[0]["similarity"] == pytest.approx(float(rows[0]["similarity"]), abs=1e-5)
    result = score("--reference", f"{tmp_path}/ref/*.png", "--candidates", "-", stdin=f"{tmp_path}/gen/a.jpg\n")
    assert result.output.count("a.jpg") == 2


def test_partners_by_name(picture, tmp_path):
    for name in ("ref/x/a.png", "gen/x/a.jpg", "ref/b.png"):
        picture(name)
    with pytest.raises(UserError, match="without a partner, first 'b'"):
        pair_by_name(str(tmp_path / "ref"), str(tmp_path / "gen"))
    picture("gen/b.webp")
    pairs = pair_by_name(str(tmp_path / "ref"), str(tmp_path / "gen"))
    assert [Path(candidate).name for _, candidate in pairs] == ["b.webp", "a.jpg"]


def test_mistakes_are_told(score, picture, tmp_path):
    one = picture("one.png")
    assert score(one).exit_code == 2
    assert "no images" in score(one, tmp_path / "nothing").output
    with pytest.raises(UserError, match="line 2"):
        read_pairs(["a,b\n", "alone\n"], "list")
    broken = tmp_path / "broken.png"
    broken.write_bytes(one.read_bytes()[:200])
    result = score("--reference", one, "--candidates", f"{tmp_path}/*.png")
    assert result.exit_code == 1
    row = next(line for line in result.output.splitlines() if "broken.png," in line)
    assert "no readable image" in row and ",," in row


def test_every_kind_of_picture(picture, tmp_path):
    """Each shows what a person would see; the model takes all of them."""
    grey = np.tile(np.arange(32, dtype=np.uint8) * 8, (20, 1))
    assert (decode_rgb(picture("grey.png", grey)) == grey[..., None]).all()
    deep = Image.fromarray(grey.astype(np.uint16) * 257)
    assert (decode_rgb(picture("deep.png", deep)) == grey[..., None]).all()
    red = Image.new("RGB", (20, 10), (200, 0, 0))
    assert (decode_rgb(picture("palette.gif", red.quantize(4))) == (200, 0, 0)).all()
    assert (decode_rgb(picture("cmyk.jpg", red.convert("CMYK"), quality=95)) == (200, 0, 0)).all()
    glass = Image.new("RGBA", (20, 10), (9, 9, 9, 0))
    assert (decode_rgb(picture("glass.png", glass)) == 255).all()
    exif = Image.Exif()
    exif[0x112] = 6
    assert decode_rgb(picture("turned.jpg", red, exif=exif)).shape == (20, 10, 3)
    frames = [Image.new("RGB", (20, 10), colour) for colour in ("red", "blue")]
    moving = decode_rgb(picture("moving.gif", frames[0], save_all=True, append_images=frames[1:]))
    assert (moving == (255, 0, 0)).all()
    assert decode_rgb(picture("dot.png", np.full((1, 1, 3), 7, np.uint8))).tolist() == [[[7, 7, 7]]]


def test_the_model_takes_any_size_and_holder(run, picture):
    model = nearid.load(run.layout.head("nearid"))
    flat = np.full((28, 28, 3), 90, np.uint8)
    thin = [np.full(shape, 90, np.uint8) for shape in ((1, 1, 3), (3, 50, 3), (1, 9, 3), (50, 1, 3), (4, 4, 3))]
    assert model.similarity(flat, thin) == pytest.approx(np.ones((1, 5)), abs=1e-5)
    photo = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    path = picture("photo.png", photo)
    tensor = torch.from_numpy(photo).permute(2, 0, 1) / 255
    holders = [
        path,
        str(path),
        path.read_bytes(),
        Image.fromarray(photo),
        photo,
        tensor,
        tensor.numpy().transpose(1, 2, 0),
    ]
    assert model.similarity(photo, holders) == pytest.approx(np.ones((1, 7)), abs=1e-5)
    assert model.embed(torch.stack([tensor, tensor])).shape == (2, 32)
    for wrong in (np.zeros((4, 4)), np.zeros((4, 4, 3)) + 2, np.zeros((4, 4, 3), np.int32)):
        with pytest.raises(UserError):
            model.embed([wrong])


def bomb(side):
    """A PNG of a few bytes that says it has `side` x `side` pixels."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")
    )


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [10_000, 40_000])
def test_a_huge_image_is_refused_before_it_is_unpacked(side):
    with pytest.raises(UserError, match=r"px are allowed|decompression bomb"):
        decode_rgb(bomb(side))


def test_weights_that_are_no_numbers_give_no_similarity(run, picture, tmp_path):
    from safetensors.torch import load_file, save_file

    weights = load_file(run.backbone / "model.safetensors")
    folder = shutil.copytree(run.backbone, tmp_path / "model")
    save_file({name: weight * float("nan") for name, weight in weights.items()}, folder / "model.safetensors")
    with pytest.raises(UserError, match="no finite numbers"):
        nearid.load(folder).similarity(picture("a.png"), picture("b.png"))


def test_pickles_are_not_opened(run, tmp_path):
    class Trap:
        def __reduce__(self):
            return (Path(tmp_path / "sprung").write_text, ("x",))

    import pickle

    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_bytes((run.backbone / "config.json").read_bytes())
    (folder / "preprocessor_config.json").write_bytes((run.backbone / "preprocessor_config.json").read_bytes())
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(UserError, match="pickle"):
        nearid.load(folder)
    (folder / "model.safetensors").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(UserError):
        nearid.load(folder)
    assert not (tmp_path / "sprung").exists()


def test_code_of_a_repository_is_not_run(run, tmp_path):
    from nearid.release.export import export_model

    export_model(run.layout, "nearid", tmp_path / "model", "release")
    config = json.loads((tmp_path / "model/config.json").read_text())
    config["auto_map"] = {"AutoModel": "trap.Model", "AutoConfig": "trap.Config"}
    (tmp_path / "model/config.json").write_text(json.dumps(config))
    (tmp_path / "model/trap.py").write_text(f"open({str(tmp_path / 'sprung')!r}, 'w')")
    assert nearid.load(tmp_path / "model").embed([np.zeros((9, 9, 3), np.uint8)]).shape == (1, 32)
    assert not (tmp_path / "sprung").exists()


def test_metric_sums_pairs_over_batches(run):
    model, rng = nearid.load(run.layout.head("nearid")), np.random.default_rng(0)
    images = rng.integers(0, 256, (6, 20, 20, 3), dtype=np.uint8)
    metric = nearid.NearIDScore(model)
    assert torch.isnan(metric.compute())
    first = metric(images[:2], images[2:4])
    metric.update(images[:1], images[5:])
    expected = [model.similarity(images[a], images[b]) for a, b in ((0, 2), (1, 3), (0, 5))]
    assert float(first) == pytest.approx(np.mean(expected[:2]), abs=1e-5)
    assert float(metric.compute()) == pytest.approx(np.mean(expected), abs=1e-5)
    with pytest.raises(UserError, match="2 and 1 images"):
        metric.update(images[:2], images[:1])
    metric.reset()
    assert torch.isnan(metric.compute()) and not metric.state_dict()


def test_metric_is_a_torchmetrics_metric(run):
    torchmetrics = pytest.importorskip("torchmetrics", reason="torchmetrics is optional and not installed")
    both = torchmetrics.MetricCollection({"identity": nearid.NearIDScore(run.layout.head("nearid"))})
    image = np.zeros((1, 9, 9, 3), np.uint8)
    both.update(image, image)
    assert float(both.compute()["identity"]) == pytest.approx(1, abs=1e-5)


@pytest.mark.skipif(not PHOTOS.is_dir(), reason="the photographs of shared/data are not here")
def test_real_photographs(score, tmp_path):
    output = tmp_path / "scores.csv"
    done = score("--reference", PHOTOS / "can", "--candidates", f"{PHOTOS}/c*/0[01].jpg", "--output", output)
    assert done.exit_code == 0, done.output
    rows = list(csv.DictReader(io.StringIO(output.read_text())))
    assert len(rows) == 4 * len(list(PHOTOS.glob("c*/0[01].jpg")))
    same = [float(row["similarity"]) for row in rows if row["reference"] == row["candidate"]]
    assert same == pytest.approx([1, 1], abs=1e-5)


def test_folders_follow_links_once_and_leave_leftovers_out(picture, tmp_path, caplog):
    kept = [picture("here/a.jpg"), picture("here/b.jpeg"), picture("elsewhere/c.png")]
    for name in (".ipynb_checkpoints/a-checkpoint.jpg", "@eaDir/a.jpg", "__MACOSX/a.jpg", ".hidden.jpg"):
        picture(f"here/{name}")
    kinds = {"phone.HEIC": "HEIC", "new.jxl": "JPEG XL", "raw.CR2": "raw"}
    for name in kinds:
        (tmp_path / "here" / name).write_bytes(b"x")
    os.mkfifo(tmp_path / "here/pipe.png")
    (tmp_path / "here/lost.png").symlink_to(tmp_path / "nowhere.png")
    kinds |= {"pipe.png": "no file", "lost.png": "no file"}
    kept[0].rename(kept[0].with_suffix(".JFIF"))
    (tmp_path / "here/linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere/back").symlink_to(tmp_path / "here")
    found = find_images(str(tmp_path / "here"))
    assert [Path(name).relative_to(tmp_path / "here").as_posix() for name in found] == [
        "a.JFIF",
        "b.jpeg",
        "linked/c.png",
    ]
    assert len(caplog.messages) == len(kinds)
    assert all(name in caplog.text and kind in caplog.text for name, kind in kinds.items())


def test_lists_in_many_spellings_and_names_of_any_bytes(score, picture, tmp_path):
    first, second = picture("one.png"), picture("two;2.png")
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/th\xe9.png"))
    odd.hardlink_to(first)
    listing, output = tmp_path / "list.csv", tmp_path / "scores.csv"
    listing.write_bytes(b"\xef\xbb\xbf" + os.fsencode(f'{first};{odd}\r\n{first}\t{second}\r\n{first},"{second}"\r\n'))
    done = score("--list", listing, "--output", output)
    assert done.exit_code == 0, done.output
    rows = list(csv.DictReader(output.open(encoding="utf-8")))
    assert [row["similarity"] != "" for row in rows] == [True] * 3 and r"th\xe9.png" in rows[0]["candidate"]


@pytest.mark.parametrize("line", ["a", "a;b;c", 'a,"b', "a,b,c", ",b"])
def test_a_line_without_two_paths_is_refused(line):
    with pytest.raises(UserError, match="line 2"):
        read_pairs(["a;b", line], "list")


def test_one_in_a_hundred_broken_ones_leaves_the_rest(picture, tmp_path):
    files = [str(picture(f"many/{n:04d}.png", np.full((4, 4, 3), n % 251, np.uint8))) for n in range(300)]
    for broken in files[::100]:
        Path(broken).write_bytes(Path(broken).read_bytes()[:40])
    rows = score_pairs(pair_all(files[1:2], files), Counting())
    assert [row.candidate for row in rows if row.similarity is None] == files[::100]
    assert all(row.problem for row in rows if row.similarity is None) and len(rows) == 300


def test_images_of_different_sizes_make_no_batch_but_are_embedded():
    from nearid.release.model import IdentityModel

    model = IdentityModel(lambda pixels: pixels.mean((2, 3)), None, device="cpu")
    found = model.embed_prepared([torch.rand(1, 3, 4, 4), torch.rand(1, 3, 4, 6)])
    assert found.shape == (2, 3) and np.allclose(np.linalg.norm(found, axis=1), 1)


def test_a_picture_that_the_model_cannot_take_leaves_the_others(run, picture, tmp_path):
    """Whatever fails in the image processor or for its size, `nearid score` names it and goes on."""
    model = nearid.load(run.layout.head("nearid"), batch_size=3)
    taken = model.processor

    def keep_some_sizes(image, **options):
        height, width = image.shape[:2]
        if height == 1:
            raise ValueError("mean must have 1 elements if it is an iterable, got 3")
        if width in (21, 2000):
            return {"pixel_values": torch.zeros(1, 3, height, width)}
        return taken(image, **options)

    model.processor = keep_some_sizes
    shapes = {"a": (40, 30), "flat": (1, 9), "other": (21, 21), "b": (30, 40), "large": (2000, 2000)}
    files = [str(picture(f"{name}.png", np.zeros((*shape, 3), np.uint8))) for name, shape in shapes.items()]
    rows = score_pairs(pair_all(files[:1], files), model)
    found = {Path(row.candidate).stem: row.problem for row in rows}
    assert [bool(found[name]) for name in shapes] == [False, True, True, False, True]
    assert "cannot take it (mean must" in found["flat"] and "21 x 21 px" in found["other"]
    assert "2000 x 2000 px" in found["large"]
    assert all(row.similarity is None for row in rows if row.problem)


def test_score_ends_with_1_where_the_image_processor_fails(score, picture, monkeypatch):
    from transformers import SiglipImageProcessorPil

    first = picture("a.png")
    picture("b.png", np.zeros((7, 7, 3), np.uint8))
    whole = SiglipImageProcessorPil.__call__

    def fail_on_small(self, image, **options):
        if image.shape[0] == 7:
            raise ValueError("odd size")
        return whole(self, image, **options)

    monkeypatch.setattr(SiglipImageProcessorPil, "__call__", fail_on_small)
    done = score("--reference", first, "--candidates", first.parent)
    assert done.exit_code == 1
    lines = [line for line in done.output.splitlines() if ".png," in line]
    assert ["odd size" in line for line in lines] == [False, True], done.output


@pytest.mark.parametrize("size", ["0", "-1", "many"])
def test_a_batch_of_none_is_refused(score, picture, size):
    one = picture("one.png")
    done = score(one, one, "--batch-size", size)
    assert done.exit_code == 2 and "--batch-size" in done.output and size in done.output
