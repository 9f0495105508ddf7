import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import save_file
from score_steps import score_nearid_bench
from transformers import SiglipVisionConfig
from transformers.models.siglip.modeling_siglip import SiglipMultiheadAttentionPoolingHead

from nearid.errors import UserError
from nearid.io.files import write_json

pytestmark = pytest.mark.numerics


@pytest.fixture
def trained(world):
    """A head of transformers' own class in the folder of ablation `trained`."""
    config = SiglipVisionConfig(hidden_size=16, intermediate_size=32, num_attention_heads=2, num_hidden_layers=1)
    torch.manual_seed(0)
    head = SiglipMultiheadAttentionPoolingHead(config).eval()
    folder = world.layout.head("trained")
    write_json(folder / "config.json", {"vision_config": config.to_dict()})
    save_file({name: weight.contiguous() for name, weight in head.state_dict().items()}, folder / "head.safetensors")
    return head


def test_a_head_pools_as_transformers_does(world, trained, tmp_path):
    score_nearid_bench(world.settings("t", kind="head", ablation="trained"), world.layout, tmp_path / "a.parquet")
    row = pq.read_table(tmp_path / "a.parquet").to_pylist()[0]

    def embed(collection, slot):
        tokens = torch.from_numpy(world.tokens[collection, row["id"], slot, row["condition"]]).float()
        vector = trained(tokens[None])[0].detach().double().numpy()
        return vector / np.linalg.norm(vector)

    assert row["sim_01"] == pytest.approx(embed("positives", 0) @ embed("positives", 1), abs=1e-5)
    assert row["cross_11"] == pytest.approx(embed("positives", 1) @ embed(row["source"], 1), abs=1e-5)

    elsewhere = world.settings("t", kind="head", path=str(world.layout.head("trained")))
    score_nearid_bench(elsewhere, world.layout, tmp_path / "b.parquet")
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_a_kept_step_is_scored_as_a_head_of_its_own(world, trained, tmp_path):
    kept = {
        f"step_{step:06d}.{name}": weight + step / 1e4
        for step in (100, 200)
        for name, weight in trained.state_dict().items()
    }
    save_file(kept, world.layout.head_file("trained", "timelapse.safetensors"))
    own = world.layout.head("by_hand")
    config = world.layout.head_file("trained", "config.json").read_bytes()
    own.mkdir(parents=True)
    (own / "config.json").write_bytes(config)
    save_file({name: weight + 200 / 1e4 for name, weight in trained.state_dict().items()}, own / "head.safetensors")
    for name, entry in (("a", {"ablation": "trained", "step": 200}), ("b", {"ablation": "by_hand"})):
        score_nearid_bench(world.settings("t", kind="head", **entry), world.layout, tmp_path / f"{name}.parquet")
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    with pytest.raises(UserError, match="no head of step 150"):
        wrong = world.settings("t", kind="head", ablation="trained", step=150)
        score_nearid_bench(wrong, world.layout, tmp_path / "c.parquet")


def test_a_missing_cut_off_or_foreign_head_is_named(world, trained, tmp_path):
    settings = world.settings("t", kind="head", ablation="trained")
    weights = world.layout.head_file("trained")
    content = weights.read_bytes()

    def refused(match, settings=settings):
        with pytest.raises(UserError, match=match) as raised:
            score_nearid_bench(settings, world.layout, tmp_path / "out.parquet")
        assert "heads/" in raised.value.where or "scorers." in raised.value.where

    weights.write_bytes(content[:100])
    refused("no readable head")
    weights.unlink()
    refused("no head.safetensors")
    weights.write_bytes(content)
    config = SiglipVisionConfig(hidden_size=8, intermediate_size=32, num_attention_heads=2, num_hidden_layers=1)
    write_json(world.layout.head_file("trained", "config.json"), {"vision_config": config.to_dict()})
    refused("no readable head")
    head = SiglipMultiheadAttentionPoolingHead(config)
    save_file({name: weight.contiguous() for name, weight in head.state_dict().items()}, weights)
    refused("8-dimensional")
    for entry in ({}, {"ablation": "trained", "path": "elsewhere"}):
        with pytest.raises(UserError, match=r"scorer\.ablation"):
            score_nearid_bench(world.settings("t", kind="head", **entry), world.layout, tmp_path / "out.parquet")
