"""A judge's memory planning for GPUs that this machine lacks: pairs per batch, offloaded layers, memory requests."""

import itertools
from pathlib import Path

import pytest
import torch
from score_steps import local_judge
from tiny_models import save_qwen

from nearid.config import load
from nearid.errors import UserError
from nearid.io.model_folders import load_whole
from nearid.layout import Layout
from nearid.scores.judging import local, room
from nearid.scores.judging.room import MOST, SPARE, WITHOUT_GPU, Room, pair_bytes
from nearid.workflow.jobs import Jobs
from nearid.workflow.needs import describe_too_large, needs_of

ROOT = Path(__file__).resolve().parents[2]
GB = 10**9
# Bytes of weights; layers, key-value heads, width, inner width of the language model, experts per token.
RELEASED = {
    "4b": (9 * GB, 36, 8, 2560, 9728, 0),
    "8b": (18 * GB, 36, 8, 4096, 12288, 0),
    "30b": (62 * GB, 48, 4, 2048, 768, 8),
}
# Two pictures of 512 pixels, 256 tokens each, and the paper's prompt.
PROMPT, ANSWER = 2 * 256 + 400, 512


def released(name):
    from transformers import Qwen3VLConfig, Qwen3VLMoeConfig

    weights, layers, heads, width, inner, experts = RELEASED[name]
    sizes = {"hidden_size": width, "num_hidden_layers": layers, "num_key_value_heads": heads, "head_dim": 128}
    mixture = {"moe_intermediate_size": inner, "num_experts_per_tok": experts}
    sizes |= mixture if experts else {"intermediate_size": inner}
    config = (Qwen3VLMoeConfig if experts else Qwen3VLConfig)(text_config=sizes)
    return weights, pair_bytes(config, PROMPT, ANSWER)


@pytest.mark.parametrize("name", RELEASED)
def test_a_request_covers_what_the_judge_then_takes(name, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    weights, pair = released(name)
    for offload in ("none", "model", "group"):
        for batch_size in (6, 32):
            config = load()
            config["scorers"][f"qwen3vl_{name}"] |= {"offload": offload, "batch_size": batch_size}
            jobs = Jobs(config, Layout(tmp_path)).of("score_nearid_bench")
            asked = needs_of(next(job for job in jobs if job.name == f"qwen3vl_{name}"))
            place = Room(asked.gpu_gb * GB, weights, offload, batch_size)
            assert place.pairs(pair) >= batch_size, (name, offload, batch_size)
            assert place.weights_on_card + SPARE < asked.gpu_gb * GB
            # What is not on the GPU is in host memory, with the copies made while it is laid out.
            assert offload == "none" or asked.memory_mb * 1e6 > 1.5 * weights


def test_batches_grow_with_the_card_and_shrink_with_the_question():
    weights, pair = released("8b")
    sizes = [Room(card * GB, weights).pairs(pair) for card in (16, 24, 32, 80)]
    assert sizes[0] == 1 and sizes == sorted(sizes) and 6 <= sizes[1] < sizes[2] <= sizes[3] == MOST
    assert Room(24 * GB, weights).pairs(8 * pair) < sizes[1] / 4
    assert Room(0, weights).pairs(pair) == WITHOUT_GPU


@pytest.mark.parametrize("mixture", [False, True])
def test_keys_and_values_are_as_many_as_are_counted(tmp_path, mixture):
    """The counted bytes grow with the answer's length like the cache of the real class."""
    from transformers import AutoModelForImageTextToText

    model = load_whole(AutoModelForImageTextToText, save_qwen(tmp_path / "qwen", mixture), dtype=torch.bfloat16)
    kept = model(input_ids=torch.arange(1, 11)[None], use_cache=True).past_key_values
    held = sum(part.numel() * part.element_size() for layer in kept.layers for part in (layer.keys, layer.values))
    assert pair_bytes(model.config, 7, 20) - pair_bytes(model.config, 7, 10) == held


def make_pairs(count):
    import numpy as np

    from nearid.io.images import encode_png
    from nearid.scores.scorers import Shown
    from nearid.tokens.collections import Picture

    rng = np.random.default_rng(0)
    sizes = [(32, 32), (64, 64), (32, 64), (40, 40)]
    pictures = [
        Picture("p", n, 0, encode_png(rng.integers(0, 256, (*sizes[n % 4], 3), dtype=np.uint8)), None)
        for n in range(count + 1)
    ]
    shown = [Shown("positives", picture, "full") for picture in pictures]
    return list(itertools.pairwise(shown))


def test_a_chunk_is_cut_into_the_batches_that_fit(tmp_path, monkeypatch):
    folder, pairs = save_qwen(tmp_path / "qwen"), make_pairs(5)
    whole = local_judge(folder, max_new_tokens=4, batch_size=5)
    answers = dict(whole.answer(pairs))
    sizes = []
    generate = local.Judge._generate

    def count(self, texts, *rest):
        sizes.append(len(texts))
        return generate(self, texts, *rest)

    monkeypatch.setattr(local.Judge, "_generate", count)
    monkeypatch.setattr(Room, "pairs", lambda self, longest: 2)
    cut = local_judge(folder, max_new_tokens=4)
    assert dict(cut.answer(pairs)) == answers and sizes == [2, 2, 1]


@pytest.mark.parametrize("mixture", [False, True])
@pytest.mark.parametrize("offload", ["model", "group"])
def test_with_layers_that_wait_it_answers_the_same(tmp_path, monkeypatch, mixture, offload):
    """A disk stands in for the host and the CPU for the GPU: accelerate loads layers as it would there."""
    folder, pairs = save_qwen(tmp_path / "qwen", mixture), make_pairs(3)
    expected = dict(local_judge(folder, max_new_tokens=4, batch_size=2).answer(pairs))
    asked = {}

    def load(kind, path, **options):
        asked.update(options)
        on_card, host = options.pop("max_memory").values()
        options |= {"max_memory": {"cpu": on_card, "disk": host}, "offload_folder": tmp_path / "waiting"}
        return load_whole(kind, path, **options)

    monkeypatch.setattr(local, "load_whole", load)
    monkeypatch.setattr(local, "card_bytes", lambda device: 3 * 10**9)
    monkeypatch.setattr(Room, "weights_on_card", property(lambda self: 200_000))
    judge = local_judge(folder, max_new_tokens=4, batch_size=2, offload=offload)
    assert dict(judge.answer(pairs)) == expected
    assert asked["device_map"] == "auto" and "disk" in judge._parts[0].hf_device_map.values()


def test_weights_go_straight_to_the_gpu_and_a_full_one_is_told(tmp_path, monkeypatch):
    """The audit's A1: on their way through the host the experts of 30B took 62 GB of it and more."""
    from nearid.distributed.devices import explain_full_gpu

    judge = local_judge(save_qwen(tmp_path / "qwen"), max_new_tokens=1)
    asked = {}

    def load(kind, path, **options):
        asked.update(options)
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(local, "load_whole", load)
    monkeypatch.setattr(local, "choose_device", lambda: torch.device("cuda", 0))
    monkeypatch.setattr(local, "card_bytes", lambda device: 40 * GB)
    with pytest.raises(torch.OutOfMemoryError) as full:
        judge._parts  # noqa: B018
    assert asked["device_map"] == {"": torch.device("cuda", 0)} and asked["dtype"] == torch.bfloat16
    told = explain_full_gpu(full.value)
    assert isinstance(told, UserError) and "batch_size" in told.action and "offload" in told.action


def test_the_plan_for_a_smaller_card_says_what_a_judge_can_do(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    config = load()
    told = {line.partition(":")[0]: line for line in describe_too_large(Jobs(config, Layout(tmp_path)).all(), 40)}
    assert "endpoint" in told["qwen3vl_30b"] and "offload: model takes 40 GB" in told["qwen3vl_30b"]
    assert "times as long" in told["qwen3vl_30b"]
    config["scorers"]["qwen3vl_30b"] |= {"offload": "group"}
    told = {line.partition(":")[0] for line in describe_too_large(Jobs(config, Layout(tmp_path)).all(), 40)}
    assert "qwen3vl_30b" not in told


def test_a_judge_of_one_s_own_is_measured_by_its_files(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    config, folder = load(), tmp_path / "own"
    folder.mkdir()
    with (folder / "model.safetensors").open("wb") as file:
        file.truncate(30 * GB)
    config["scorers"]["qwen3vl_8b"]["model"] = str(folder)
    jobs = Jobs(config, Layout(tmp_path)).of("score_mtg")
    assert needs_of(next(job for job in jobs if job.name == "qwen3vl_8b")).gpu_gb == 39


def test_memory_of_a_card_is_all_of_it(monkeypatch):
    from types import SimpleNamespace

    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(total_memory=80 * GB))
    assert room.card_bytes(torch.device("cuda", 0)) == 80 * GB
    assert room.card_bytes(torch.device("cpu")) == 0
