import json
import subprocess
import sys

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save_file
from score_steps import score_mtg, score_nearid_bench
from transformers import SiglipVisionConfig
from transformers.models.siglip.modeling_siglip import SiglipMultiheadAttentionPoolingHead

from nearid.cli import nearid
from nearid.config.packs import scored_along
from nearid.errors import UserError
from nearid.io.files import write_json
from nearid.scores import embeddings
from nearid.scores.kept import KeptVectors
from nearid.scores.scorers import head as head_scorer
from nearid.tokens.store import TokenStore

HEADS = ("one", "two", "three")


@pytest.fixture
def heads(world):
    """Three heads, and the settings of their scorers by id."""
    config = SiglipVisionConfig(hidden_size=16, intermediate_size=32, num_attention_heads=2, num_hidden_layers=1)
    for seed, name in enumerate(HEADS):
        torch.manual_seed(seed)
        head = SiglipMultiheadAttentionPoolingHead(config)
        write_json(world.layout.head_file(name, "config.json"), {"vision_config": config.to_dict()})
        save_file({key: weight.contiguous() for key, weight in head.state_dict().items()}, world.layout.head_file(name))
    return {name: world.settings(name, kind="head", ablation=name) for name in HEADS}


@pytest.fixture
def reads(monkeypatch):
    """How many images were read."""
    counted, read = [], TokenStore.read

    def count(self, indices, out=None):
        counted.append(len(indices))
        return read(self, indices, out)

    monkeypatch.setattr(TokenStore, "read", count)
    return counted


def score(world, heads, name, *others, output=None):
    along = [(heads[other], "code") for other in others]
    output = output or world.layout.scores(name, "nearid_bench")
    score_nearid_bench(heads[name], world.layout, output, "code", along)
    return output.read_bytes()


def test_a_pack_reads_the_tokens_once_and_scores_each_as_alone(world, heads, reads, tmp_path):
    alone = {name: score(world, heads, name, output=tmp_path / name / "alone.parquet") for name in HEADS}
    once = sum(reads) // len(HEADS)
    reads.clear()
    assert score(world, heads, "one", "two", "three") == alone["one"]
    assert sum(reads) == once
    # The other scorers' own jobs find their scores done, and only write them.
    assert not world.layout.scores("two", "nearid_bench").exists()
    assert {name: score(world, heads, name, *HEADS) for name in ("two", "three")} == {
        name: alone[name] for name in ("two", "three")
    }
    assert sum(reads) == once
    # For a new head, only the new one is scored.
    reads.clear()
    world.layout.head("three").rename(world.layout.head("four"))
    heads["four"] = world.settings("four", kind="head", ablation="four")
    score(world, heads, "four", "one", "two")
    assert sum(reads) == once


def test_part_edits_are_scored_by_a_pack_too(world, heads, reads, tmp_path):
    score_mtg(heads["two"], world.layout, tmp_path / "alone.parquet", "code")
    once = sum(reads)
    reads.clear()
    score_mtg(heads["one"], world.layout, world.layout.scores("one", "mtg"), "code", along=[(heads["two"], "code")])
    score_mtg(heads["two"], world.layout, world.layout.scores("two", "mtg"), "code")
    assert sum(reads) == once
    assert world.layout.scores("two", "mtg").read_bytes() == (tmp_path / "alone.parquet").read_bytes()


def test_another_scorer_that_cannot_be_scored_is_left_to_its_own_job(world, heads, tmp_path):
    alone = score(world, heads, "one", output=tmp_path / "one" / "alone.parquet")
    world.layout.head_file("two").write_bytes(b"cut off")
    world.layout.head_file("three").unlink()
    assert score(world, heads, "one", "two", "three") == alone
    for name in ("two", "three"):
        with pytest.raises(UserError, match="head"):
            score(world, heads, name)


def test_another_head_that_is_just_being_fetched_is_left_to_its_own_job(world, heads, tmp_path, monkeypatch):
    alone = score(world, heads, "one", output=tmp_path / "one" / "alone.parquet")
    weights = load_file(world.layout.head_file("two"))
    world.layout.head_file("two").unlink()
    load_head = head_scorer.load_head

    def load_what_has_come(folder, step):
        save_file({f"head.{key}": value for key, value in weights.items()}, folder / "model.safetensors")
        return load_head(folder, step)

    monkeypatch.setattr(head_scorer, "load_head", load_what_has_come)
    assert score(world, heads, "one", "two") == alone
    assert score(world, heads, "two")


def test_a_stopped_pack_goes_on_where_it_was(world, heads, reads, tmp_path, monkeypatch):
    alone = {name: score(world, heads, name, output=tmp_path / name / "alone.parquet") for name in ("one", "two")}
    once = sum(reads) // 2
    reads.clear()
    pooled, calls = embeddings._pool, []

    def stop_at_fourth(*arguments):
        calls.append(arguments)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return pooled(*arguments)

    monkeypatch.setattr(embeddings, "_pool", stop_at_fourth)
    with pytest.raises(KeyboardInterrupt):
        score(world, heads, "one", "two")
    # Started again, as the other scorer's job.
    assert score(world, heads, "two", "one") == alone["two"]
    assert score(world, heads, "one", "two") == alone["one"]
    assert sum(reads) == once
    assert not list(world.layout.root.glob("scores/*/.progress"))


def test_a_job_that_is_stopped_when_all_scores_are_made_leaves_no_vectors_for_good(world, heads, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(KeptVectors, "clear", lambda kept: pytest.fail("stopped"))
        with pytest.raises(pytest.fail.Exception):
            score(world, heads, "one", "two")
    for name in ("one", "two"):
        folder = world.layout.scores(name, "nearid_bench").parent
        assert (folder / ".progress").exists()
        score(world, heads, name, "one", "two")
        assert not (folder / ".progress").exists()


def test_a_job_whose_scores_are_made_loads_no_torch(world, heads):
    def arguments(name):
        where = ["--results", str(world.layout.root), "--scorer", name]
        return ["scores", "nearid-bench", *where, "--settings", json.dumps(heads[name])]

    along = ["--along", json.dumps({"two": heads["two"]["scorer"]})]
    done = CliRunner().invoke(nearid, [*arguments("one"), *along])
    assert done.exit_code == 0, done.output
    program = (
        "import sys; from nearid.cli import nearid; nearid(sys.argv[1:], standalone_mode=False); "
        "print([name for name in ('torch', 'transformers') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments("two")], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
    assert world.layout.scores("two", "nearid_bench").is_file()


def test_scorers_of_one_backbone_and_benchmark_go_together():
    from nearid.config import load

    config = load()
    heads = [name for name in config["select"]["scorers"] if config["scorers"][name]["kind"] == "head"]
    assert set(scored_along(config, "nearid", "mtg")) == {*heads, "siglip2"} - {"nearid"}
    assert set(scored_along(config, "siglip2_mean", "dreambench")) == {*heads, "siglip2"}
    assert scored_along(config, "vsm", "nearid_bench") == {}
    assert scored_along(config, "clip", "nearid_bench") == {}
