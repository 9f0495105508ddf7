"""Number formats are measured on a run's tokens before any is offered."""

import numpy as np
import pytest
import torch
import yaml
from click.testing import CliRunner
from token_images import open_backbone

from nearid.cli.tokens import tokens as commands
from nearid.tokens import TokenStore
from nearid.tokens.precision import measure_formats, round_to_bytes
from nearid.tokens.shard import KEY
from nearid.tokens.writer import write_shard

pytestmark = pytest.mark.numerics


@pytest.fixture
def shard(settings, tmp_path):
    """Tokens with one channel of much larger size and mean than the others, as in trained encoders."""
    backbone = open_backbone(settings)
    tokens = np.random.default_rng(0).normal(size=(40, *backbone.token_shape)).astype(np.float16)
    tokens[..., 3] = 60 + 20 * tokens[..., 3]
    keys = np.array([(id, 0, b"full") for id in range(40)], KEY)
    origin = {name: getattr(backbone, name) for name in ("weights_hash", "preprocess_hash")}
    write_shard(tmp_path / "000.h5", keys, [tokens], backbone.token_shape, {"backbone": "tiny", **origin})
    return tmp_path / "000.h5", backbone


def test_bytes_come_back_within_half_a_step():
    tokens = torch.randn(5, 7, 16)
    step = tokens.abs().amax(-1, keepdim=True) / 127
    assert ((round_to_bytes(tokens) - tokens).abs() <= 0.502 * step).all()


def test_an_outlier_channel_spoils_bytes_unless_channels_are_standardised(shard):
    path, backbone = shard
    found = {row.name: row for row in measure_formats(backbone, TokenStore([path]))}
    plain, standardised = found["int8"], found["int8, channels standardised"]
    assert plain.saved == standardised.saved == pytest.approx(0.5 - 1 / 32)
    assert standardised.error < plain.error / 3
    assert 0 < found["bfloat16"].error < plain.error
    for row in found.values():
        assert row.error <= row.worst_error and 0 <= row.worst_cosine < 1


def test_command(shard, settings, tmp_path):
    overlay = tmp_path / "tiny.yaml"
    overlay.write_text(yaml.safe_dump({"backbones": {"tiny": {"display": "Tiny", **settings}}}))
    told = CliRunner().invoke(commands, ["precision", str(shard[0]), "--config", str(overlay)])
    assert told.exit_code == 0, told.output
    assert "channels standardised" in told.output
    unknown = CliRunner().invoke(commands, ["precision", str(shard[0])])
    assert "tokens of backbone tiny" in str(unknown.exception)
