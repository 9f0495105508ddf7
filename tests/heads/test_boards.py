"""TensorBoard files, read back with the protocol's own reader."""

import struct

import pytest
import token_world as world
from tensorboardX.proto.event_pb2 import Event

from nearid.errors import UserError
from nearid.heads.boards import write_boards


def read_scalars(folder):
    found = {}
    (path,) = folder.glob("events.out.tfevents.*")
    content, place = path.read_bytes(), 0
    while place < len(content):
        # A record: length, its checksum, the event, its checksum.
        (length,) = struct.unpack_from("<Q", content, place)
        event = Event.FromString(content[place + 12 : place + 12 + length])
        for value in event.summary.value:
            found[value.tag, event.step] = value.simple_value
        place += 16 + length
    return found


def test_every_number_of_the_log_is_there_once(tmp_path, trained, train_apart):
    layout = world.write_world(tmp_path / "run")
    trained(layout, world.settings(validate_every_steps=10))
    assert train_apart(layout, world.settings(ablation="killed"), kill_at=11) == [-9]
    # The log of a killed training extends to its last checkpoint.
    for _ in range(2):
        assert write_boards(layout, tmp_path / "boards") == {"killed": 8, "tiny": 20}
    scalars = read_scalars(tmp_path / "boards" / "tiny")
    assert {step for tag, step in scalars if tag == "loss"} == set(range(1, 21))
    assert {step for tag, step in scalars if tag == "val_ssr"} == {10, 20}
    assert scalars["loss", 1] > scalars["loss", 20]


def test_no_head(tmp_path):
    with pytest.raises(UserError, match="no log of a training"):
        write_boards(world.Layout(tmp_path), tmp_path / "boards")
