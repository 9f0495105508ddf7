"""Nothing untrustworthy is ever read: kills at any moment, damage anywhere, changed images, full or failing disks."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path

import h5py
import numpy as np
import pytest
from token_images import IDS, mask_of, open_backbone, picture, slots, write_images, write_world

from nearid.errors import UserError
from nearid.layout import Layout
from nearid.tokens import TokenStore
from nearid.tokens.collections import open_collection
from nearid.tokens.extraction import extract

SOURCES = Path(__file__).parents[2] / "src"


AUGMENTED = {
    "variants": {"train": ["full", "full_flip", "full_0a1b2c3d_0"], "test": ["full", "fg"]},
    "augmentations": {"0a1b2c3d": {"flip": 0.5, "jitter": 1.0, "affine": 1.0}},
}


def extract_positives(settings, root, begun=None, **asked):
    layout, backbone = Layout(root), open_backbone(settings)
    pictures, inputs = open_collection(layout, "positives", "000", ["train", "test"])
    if begun is not None:
        begun.set()
    extract(backbone, "tiny", pictures, inputs, layout.tokens("tiny", "positives"), workers=3, **asked)
    return layout.tokens("tiny", "positives")


def extract_in_a_group_of_its_own(settings, root, begun):
    os.setsid()
    extract_positives(settings, root, begun)


@pytest.mark.slow
def test_kills_at_random_moments_leave_nothing_wrong(settings, tmp_path):
    """Whenever SIGKILL strikes all processes, there is a complete shard or none, and the next run makes the rest."""
    settings |= {"batch_size": 1}  # many moments between two blocks
    whole = extract_positives(settings, write_world(tmp_path / "undisturbed").root)
    target = write_world(tmp_path / "killed").tokens("tiny", "positives")
    # Children are forked from a process that has loaded transformers, and report when they have their model: moments
    # are counted from then.
    context = get_context("forkserver")
    context.set_forkserver_preload(["nearid.tokens.extraction", "nearid.tokens.backbones.siglip"])

    def start():
        ready = context.Event()
        process = context.Process(target=extract_in_a_group_of_its_own, args=(settings, target.parents[3], ready))
        process.start()
        assert ready.wait(120)
        return process

    def undisturbed():
        process = start()
        begun = time.monotonic()
        process.join()
        assert process.exitcode == 0
        assert target.read_bytes() == whole.read_bytes()
        assert [path.name for path in target.parent.iterdir()] == ["000.h5"]
        target.unlink()
        return time.monotonic() - begun

    takes = max(undisturbed() for _ in range(3))
    moments, midway = random.Random(0), 0
    for _ in range(30):
        process = start()
        time.sleep(moments.uniform(0, 1) * takes)
        with suppress(ProcessLookupError):  # finished already
            os.killpg(process.pid, signal.SIGKILL)
        process.kill()
        process.join()
        if target.exists():
            assert target.read_bytes() == whole.read_bytes()
            target.unlink()
        midway += any(target.parent.rglob("*"))
        if moments.random() < 0.3:
            undisturbed()
    assert midway > 5, "the kills came too early or too late to show anything"
    undisturbed()
    assert not list(target.parents[3].rglob("*.partial"))


@pytest.mark.parametrize(("asked", "more"), [({}, set()), (AUGMENTED, {"parameters"})], ids=["plain", "augmented"])
def test_a_flipped_byte_in_any_dataset_is_found(settings, tmp_path, asked, more):
    path = extract_positives(settings, write_world(tmp_path).root, **asked)
    whole = path.read_bytes()
    places = {}
    with h5py.File(path) as shard:
        for name, dataset in shard.items():
            if dataset.chunks:
                places[name] = [dataset.id.get_chunk_info(3).byte_offset + at for at in (0, 100, 1023)]
            else:
                places[name] = [dataset.id.get_offset() + at for at in (0, dataset.nbytes // 2, dataset.nbytes - 1)]
    assert set(places) == {"tokens", "ids", "slots", "variants", "crc32"} | more
    for name, offsets in places.items():
        for offset in offsets:
            path.write_bytes(whole[:offset] + bytes([whole[offset] ^ 0x40]) + whole[offset + 1 :])
            with pytest.raises(UserError, match=r"000\.h5"):
                TokenStore([path]).read(range(20))  # first use
            with pytest.raises(UserError, match=r"000\.h5"):
                TokenStore([path]).verify()
        assert name


def test_a_flipped_byte_among_the_gaps_is_found(settings, tmp_path):
    layout = write_world(tmp_path)
    views = slots("images", picture) | slots("masks", mask_of)
    views["images1"][2] = views["images1"][2][:60]
    write_images(layout.positives("000"), views, views)
    path = extract_positives(settings, layout.root, leave_gaps=True)
    whole = path.read_bytes()
    with h5py.File(path) as shard:
        place, size = shard["gaps"].id.get_offset(), shard["gaps"].nbytes
    for offset in (place, place + 1, place + size - 1):
        path.write_bytes(whole[:offset] + bytes([whole[offset] ^ 0x40]) + whole[offset + 1 :])
        with pytest.raises(UserError, match="damaged keys or attributes"):
            TokenStore([path])


def test_tokens_of_images_that_changed_since_are_refused(settings, tmp_path):
    layout = write_world(tmp_path)
    path = extract_positives(settings, layout.root)
    views = slots("images", picture) | slots("masks", mask_of)
    write_images(layout.positives("000"), views, views)  # made again: newer, but equal
    TokenStore([path]).verify()
    views["images1"][2] = views["images1"][3]
    write_images(layout.positives("000"), views, views)
    with pytest.raises(UserError, match="images that have changed since"):
        TokenStore([path])
    os.utime(layout.positives("000"), (0, 0))  # a copy with an old date is detected when everything is read
    store = TokenStore([path])
    with pytest.raises(UserError, match="images that have changed since"):
        store.verify()
    extract_positives(settings, layout.root)
    TokenStore([path]).verify()
    layout.positives("000").unlink()
    TokenStore([path]).verify()  # tokens may be moved without their images


@pytest.mark.parametrize("name", ["weights_hash", "preprocess_hash"])
def test_tokens_of_another_model_or_preprocessing_are_refused(settings, tmp_path, name):
    store = TokenStore([extract_positives(settings, write_world(tmp_path).root)])
    backbone = open_backbone(settings)
    store.check_backbone(backbone)
    setattr(backbone, name, "0" * 64)
    with pytest.raises(UserError, match=name):
        store.check_backbone(backbone)


def command(layout, settings):
    ids = ["--backbone", "tiny", "--collection", "positives", "--shard", "000", "--workers", "2"]
    given = json.dumps(
        {"backbone": settings, "shards": ["000"], "variants": {split: ["full", "fg"] for split in ("train", "test")}}
    )
    return ["tokens", "extract", *ids, "--results", str(layout.root), "--settings", given]


def run(layout, settings, before=(), script=(), **environment):
    """Run the command in a process of its own, prefixed with `before` or called by a `script`."""
    environment = os.environ | {"PYTHONPATH": str(SOURCES), "HOME": str(layout.root)} | environment
    words = ["-c", *script] if script else ["-m", "nearid"]
    line = [*before, sys.executable, *words, *command(layout, settings)]
    return subprocess.run(line, env=environment, capture_output=True, text=True, check=False)


def goes_on(layout, settings, elsewhere):
    """Whether another run gives the bytes of an uninterrupted one."""
    again = run(layout, settings)
    assert again.returncode == 0, again.stderr
    assert not list(layout.root.rglob("*.partial")) and not list(layout.root.rglob("*.npy"))
    whole = extract_positives(settings, write_world(elsewhere).root)
    return layout.tokens("tiny", "positives").read_bytes() == whole.read_bytes()


@pytest.fixture
def disk(tmp_path):
    """A RAM disk of 96 KiB for tokens."""
    disk = tmp_path / "results" / "tokens"
    disk.mkdir(parents=True)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96k", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("mounting a small tmpfs needs root")
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


@pytest.mark.parametrize("room", ["24k", "48k"])
def test_a_full_disk_is_named_and_more_room_is_enough_to_go_on(settings, tmp_path, disk, room):
    """It is full when a block is kept (24 KiB), or when the shard itself is written (48 KiB)."""
    layout = write_world(tmp_path / "results")
    subprocess.run(["mount", "-o", f"remount,size={room}", disk], check=True)
    failed = run(layout, settings)
    assert failed.returncode == 2, failed.stderr
    assert "no space left" in failed.stderr and str(disk) in failed.stderr and "Traceback" not in failed.stderr
    target = layout.tokens("tiny", "positives")
    assert not target.exists() and not list(disk.rglob("*.partial"))
    subprocess.run(["mount", "-o", "remount,size=1m", disk], check=True)
    assert goes_on(layout, settings, tmp_path / "elsewhere")


def test_a_folder_that_may_not_be_written_is_named(settings, tmp_path, disk):
    layout = write_world(tmp_path / "results")
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    failed = run(layout, settings)
    assert failed.returncode == 2
    assert "read-only" in failed.stderr and str(disk) in failed.stderr and "Traceback" not in failed.stderr


# Real quotas need a suitable file system; this fails like one, whether Python or HDF5 writes.
QUOTA = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
static int refused(int file, size_t size) {
    static size_t used;
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    if (!strstr(path, "/tokens/tiny/")) return 0;
    used = used + size;
    if (used <= strtoul(getenv("QUOTA_BYTES"), 0, 10)) return 0;
    errno = EDQUOT;
    return 1;
}
#define REAL(name) ((ssize_t (*)()) dlsym(RTLD_NEXT, name))
ssize_t write(int file, const void *data, size_t size) {
    return refused(file, size) ? -1 : REAL("write")(file, data, size);
}
ssize_t pwrite(int file, const void *data, size_t size, off_t place) {
    return refused(file, size) ? -1 : REAL("pwrite")(file, data, size, place);
}
ssize_t pwrite64(int file, const void *data, size_t size, off_t place) {
    return refused(file, size) ? -1 : REAL("pwrite64")(file, data, size, place);
}
"""


@pytest.mark.parametrize("room", [14_000, 30_000], ids=["of blocks", "of the shard"])
def test_a_used_up_quota_is_named_and_more_is_enough_to_go_on(settings, tmp_path, room):
    library = tmp_path / "quota.so"
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler")
    built = [compiler, "-shared", "-fPIC", "-xc", "-", "-o", str(library), "-ldl"]
    subprocess.run(built, input=QUOTA.encode(), check=True)
    layout = write_world(tmp_path / "results")
    failed = run(layout, settings, LD_PRELOAD=str(library), QUOTA_BYTES=str(room))
    assert failed.returncode == 2, failed.stderr
    assert "quota is used up" in failed.stderr and "tokens/tiny/positives" in failed.stderr
    assert "free some space" in failed.stderr and "Traceback" not in failed.stderr
    target = layout.tokens("tiny", "positives")
    assert not target.exists() and not list(target.parent.rglob("*.partial"))
    assert goes_on(layout, settings, tmp_path / "elsewhere")


def test_a_file_that_may_not_grow_is_named(settings, tmp_path):
    """`ulimit -f`: blocks of 4 KiB fit, the shard does not."""
    layout = write_world(tmp_path / "results")
    limit = ["prlimit", "--fsize=12288"]
    if shutil.which(limit[0]) is None:
        pytest.skip("needs prlimit")
    failed = run(layout, settings, limit)
    assert failed.returncode == 2, failed.stderr
    assert "may not grow" in failed.stderr and "ulimit -f" in failed.stderr and "Traceback" not in failed.stderr
    assert "tokens/tiny/positives" in failed.stderr and not layout.tokens("tiny", "positives").exists()
    assert goes_on(layout, settings, tmp_path / "elsewhere")


def test_permission_lost_on_the_way_is_named_and_given_back_is_enough_to_go_on(settings, tmp_path, monkeypatch):
    """As a user who is not root, and whose folder becomes read-only after three blocks."""
    monkeypatch.chdir(tmp_path)  # the folders above stay accessible to root only
    tmp_path.chmod(0o755)
    layout = write_world("results")
    folder = layout.tokens("tiny", "positives").parent
    folder.mkdir(parents=True)
    before = []
    if os.getuid() == 0:
        nobody = 65534
        # It may read everything, since root's Python must be read, but write only its own files.
        capabilities = [f"--{kind}-caps=-all,+dac_read_search" for kind in ("inh", "ambient")]
        before = ["setpriv", f"--reuid={nobody}", f"--regid={nobody}", "--clear-groups", *capabilities]
        if shutil.which("setpriv") is None or subprocess.run([*before, "true"], capture_output=True).returncode:
            pytest.skip("runs as root, and cannot become somebody else")
        os.chown(folder, nobody, nobody)
    script = f"""
import pathlib, sys
from nearid import cli
from nearid.tokens import extraction
keep, left = extraction._keep, [3]
def keep_and_close(path, tokens):
    keep(path, tokens)
    left[0] -= 1
    if not left[0]:
        for folder in (path.parent, pathlib.Path({str(folder)!r})):
            folder.chmod(0o500)
extraction._keep = keep_and_close
cli.main()
"""
    closed = run(layout, settings, before, [script])
    assert closed.returncode == 2, closed.stderr
    assert "no permission" in closed.stderr and str(folder) in closed.stderr and "Traceback" not in closed.stderr
    still = run(layout, settings, before)  # kept blocks are visible, but nothing can be added
    assert still.returncode == 2 and "no permission" in still.stderr and "Traceback" not in still.stderr
    (kept,) = folder.glob(".progress/000/*")
    assert len(list(kept.glob("*.npy"))) == 3
    for path in (folder, kept):
        path.chmod(0o700)
    again = run(layout, settings, before)
    assert again.returncode == 0 and "3/5 done by an earlier try" in again.stderr, again.stderr
    whole = extract_positives(settings, write_world(tmp_path / "elsewhere").root)
    assert layout.tokens("tiny", "positives").read_bytes() == whole.read_bytes()


def test_worker_count_changes_no_byte_and_batch_size_only_rounding(settings, tmp_path):
    shards = {}
    for name, workers, batch_size in (("one", 1, 4), ("four", 4, 4), ("alone", 2, 1)):
        layout = write_world(tmp_path / name)
        pictures, inputs = open_collection(layout, "positives", "000", ["train", "test"])
        shards[name] = layout.tokens("tiny", "positives")
        backbone = open_backbone(settings | {"batch_size": batch_size})
        extract(backbone, "tiny", pictures, inputs, shards[name], workers)
    assert shards["one"].read_bytes() == shards["four"].read_bytes()
    together, alone = (TokenStore([shards[name]]).read(range(20)).astype(np.float32) for name in ("one", "alone"))
    # Another order of summation: at most one step of float16, relative to a token's largest value.
    assert np.abs(together - alone).max() <= 2**-10 * np.abs(alone).max()


def test_only_the_asked_variants_of_each_split_are_extracted(settings, tmp_path):
    layout = write_world(tmp_path)
    pictures, inputs = open_collection(layout, "positives", "000", ["train", "test"])
    target = layout.tokens("tiny", "positives")
    extract(
        open_backbone(settings), "tiny", pictures, inputs, target, variants={"train": ["full"], "test": ["full", "fg"]}
    )
    store = TokenStore([target])
    split = dict(zip(IDS, ["train", "test", "train", "test"], strict=True))
    held = {(split[id], variant) for id, _, variant in store.keys.tolist()}
    assert held == {("train", b"full"), ("test", b"full"), ("test", b"fg")}
