"""Batches read ahead: as many as the bytes allow, in order, unchanged while in use, errors raised at their batch."""

import threading
import time

import numpy as np
import pytest
import token_world as world
import torch

from nearid.config.settings.heads import TrainHead
from nearid.errors import UserError
from nearid.heads.feeds import AHEAD, TokenPool, load_batches
from nearid.heads.inputs import open_mix

pytestmark = pytest.mark.numerics

SAMPLES = 4
BATCH_BYTES = SAMPLES * 6 * world.TOKENS * world.DIM * 2


@pytest.fixture
def source(tmp_path):
    return open_mix(world.write_world(tmp_path), TrainHead.parse(world.settings()), world.backbone())


@pytest.fixture
def loads(monkeypatch):
    """Every load of a batch: (begun, ended) counts."""
    counts = {"begun": 0, "ended": 0}
    real = TokenPool.open

    def counted(self, capacity, held):
        load = real(self, capacity, held)

        def run(tuples):
            counts["begun"] += 1
            batch = load(tuples)
            counts["ended"] += 1
            return batch

        return run

    monkeypatch.setattr(TokenPool, "open", counted)
    return counts


def cut(source, epoch=0):
    tuples = source.mix.epoch(epoch)
    return [tuples[start : start + SAMPLES] for start in range(0, len(tuples), SAMPLES)]


@pytest.mark.parametrize("held", [2, 3, 5])
def test_no_more_is_held_than_the_bytes_allow_and_nothing_is_touched(source, loads, monkeypatch, held):
    monkeypatch.setenv("NEARID_PREFETCH_GB", str((held + 0.5) * BATCH_BYTES / 1e9))
    parts, pulled, buffers = cut(source), [], set()

    def pull():
        for part in parts:
            pulled.append(part)
            yield part

    for number, batch in enumerate(load_batches(source.pool, pull(), SAMPLES)):
        # A slow step: the thread loads as many as it may.
        deadline = time.monotonic() + 60
        while loads["ended"] < len(pulled) and time.monotonic() < deadline:
            time.sleep(0.001)
        assert loads["ended"] == loads["begun"] == len(pulled) == min(number + held, len(parts))
        buffers.add(batch.tokens.data_ptr())
        assert np.array_equal(batch.tuples.images, parts[number].images)
        positions = np.unique(parts[number].images[parts[number].valid])
        expected = source.pool.read(positions, np.empty((len(positions), world.TOKENS, world.DIM), np.float16))
        assert np.array_equal(batch.tokens.numpy(), expected)
    assert number + 1 == len(parts) > 2 * held
    assert len(buffers) == held and held * BATCH_BYTES <= (held + 0.5) * BATCH_BYTES


def test_the_number_follows_from_the_bytes(source, monkeypatch):
    for gigabytes, ahead in (("0", 1), (f"{2.9 * BATCH_BYTES / 1e9:.9f}", 1), ("1000", AHEAD), ("", AHEAD)):
        monkeypatch.setenv("NEARID_PREFETCH_GB", gigabytes)
        assert source.pool.ahead(SAMPLES) == ahead
    monkeypatch.setenv("NEARID_PREFETCH_GB", "much")
    with pytest.raises(UserError, match="NEARID_PREFETCH_GB"):
        source.pool.ahead(SAMPLES)


def test_training_is_the_same_however_far_it_reads_ahead(tmp_path, trained, monkeypatch):
    layout = world.write_world(tmp_path)
    heads = []
    for name, gigabytes in (("one", "0"), ("many", "1")):
        monkeypatch.setenv("NEARID_PREFETCH_GB", gigabytes)
        folder = trained(layout, world.settings(ablation=name, validate_every_steps=5))
        heads.append((folder / "head.safetensors").read_bytes())
    assert heads[0] == heads[1]


def test_what_goes_wrong_ahead_is_raised_at_its_batch(source, loads, monkeypatch):
    monkeypatch.setenv("NEARID_PREFETCH_GB", "1")
    parts, read = cut(source), TokenPool.read

    def break_at_the_third(self, positions, out):
        if loads["begun"] == 3:
            raise UserError("a shard", "a damaged image", "a whole one", "make it again")
        return read(self, positions, out)

    monkeypatch.setattr(TokenPool, "read", break_at_the_third)
    batches = load_batches(source.pool, parts, SAMPLES)
    assert [np.array_equal(next(batches).tuples.ids, part.ids) for part in parts[:2]] == [True, True]
    with pytest.raises(UserError, match="a damaged image"):
        next(batches)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("batches")]


def test_a_training_that_stops_reads_no_further(source, loads, monkeypatch):
    monkeypatch.setenv("NEARID_PREFETCH_GB", "1")
    turn, read = threading.Event(), TokenPool.read

    def wait(self, positions, out):
        if loads["begun"] > 1:
            turn.wait(60)
        return read(self, positions, out)

    monkeypatch.setattr(TokenPool, "read", wait)
    batches = load_batches(source.pool, cut(source), SAMPLES)
    assert torch.isfinite(next(batches).tokens).all()
    batches.close()  # waits for nothing, since it may run during any garbage collection
    turn.set()
    for thread in threading.enumerate():
        if thread.name.startswith("batches"):
            thread.join(60)
            assert not thread.is_alive()
    assert loads["begun"] <= 2
