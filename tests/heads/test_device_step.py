"""A GPU's training step, tested without one: what is copied, what the host waits for, what tensor cores round."""

from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import token_world as world
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import SiglipVisionConfig

from nearid.config.settings.heads import TrainHead
from nearid.distributed.ranks import Ranks
from nearid.heads import engine, feeds, map_head, objectives, packs
from nearid.heads.feeds import TokenBatch, bring
from nearid.heads.map_head import MAPHead, SplitProducts, split
from nearid.heads.tuples import PADDING, Tuples
from nearid.workflow.memory import pinned_bytes

CONFIG = SiglipVisionConfig(hidden_size=48, intermediate_size=64, num_attention_heads=4, num_hidden_layers=1)
TRAINING = TrainHead.parse(world.settings(learning_rate=1e-3, warmup_steps=1)).training
OBJECTIVES = ("nearid", "infonce", "infonce_distractors", "infonce_distractors_oracle", "siglip_rank", "circle_rank")


def draw_batch(tokens=400, dim=48, samples=8):
    images = np.arange(samples)[:, None] * 4 + np.array([0, 1, -1, 2, 3, -1])
    images[:, [2, 5]] = PADDING
    return TokenBatch(Tuples.whole(images), torch.randn(4 * samples, tokens, dim).half(), np.maximum(images, 0))


class Counting(TorchDispatchMode):
    """Counts operations, and the numbers of the largest float32 that is made."""

    def __init__(self):
        super().__init__()
        self.operations, self.largest = Counter(), 0

    def __torch_dispatch__(self, operation, types, arguments=(), named=None):
        made = operation(*arguments, **(named or {}))
        self.operations[str(operation)] += 1
        if isinstance(made, torch.Tensor) and made.dtype == torch.float32:
            self.largest = max(self.largest, made.numel())
        return made


class PlainEngine:
    """What DeepSpeed's engine does without sharding, on one rank."""

    def __init__(self, module, optimizer):
        self.module, self.optimizer = module, optimizer

    def __call__(self, *gradients):
        return self.module(*gradients)

    def backward(self, loss):
        loss.backward()

    def step(self):
        self.optimizer.step()
        self.module.zero_grad()


@pytest.fixture
def placed(monkeypatch):
    """The GPU's code path on tensors without content, whose reading is an error; gives the sizes of what is copied."""
    copied = []
    monkeypatch.setattr(feeds, "place", lambda tensor, device: copied.append(tensor.nbytes) or tensor.clone())
    monkeypatch.setattr(map_head, "has_tensor_cores", lambda device: True)
    monkeypatch.setattr(map_head, "in_cache", lambda tokens: False)
    monkeypatch.setattr(map_head, "DEVICE_BLOCK_BYTES", 4 * 400 * 48 * 4)  # four images

    def initialize(engines, optimizer, config):
        assert config["gradient_clipping"] == 0, "each head's own norm is clipped, by the learners"
        return PlainEngine(engine._Handover(torch.nn.ModuleList([one.head for one in engines])), optimizer)

    monkeypatch.setattr(engine, "_initialize", initialize)
    monkeypatch.setattr(MAPHead, "to", lambda self, device: self)
    with FakeTensorMode(allow_non_fake_inputs=True):
        yield copied


def test_a_step_waits_once_and_widens_the_tokens_block_by_block(placed, monkeypatch):
    waits = []
    monkeypatch.setattr(packs, "read", lambda numbers: waits.append(numbers.shape) or [1.0] * len(numbers))
    members = []
    for name in OBJECTIVES:
        own = engine.Engine(MAPHead(CONFIG), TRAINING, 100, Ranks(0, 0, 1))
        objective = objectives.create(name)
        members.append(SimpleNamespace(head=own.head, engine=own, objective=objective, training=TRAINING))
    learners = engine.Learners([member.engine for member in members])
    engines = [member.engine for member in members]

    drawn = draw_batch()

    def step():
        batch = TokenBatch(drawn.tuples, drawn.tokens, drawn.slots)
        parts = packs.evaluate(members, batch)
        norms = learners.receive(engines, packs.differentiate(members, [own.loss for own in parts]))
        shown = [{"loss": own.loss, **own.terms, "norm": norm} for own, norm in zip(parts, norms, strict=True)]
        packs.average(shown, Ranks(0, 0, 1))
        learners.step(engines)

    step()  # makes the moments
    waits.clear(), placed.clear()
    with Counting() as counted:
        step()
    # Anything else that a host would wait for raises an error on tensors without content.
    assert len(waits) == 1
    assert len(placed) == 5 and sum(placed) < drawn.tokens.nbytes / 10, (
        "small numbers of the samples, once for all heads"
    )
    assert counted.largest < drawn.tokens.numel(), "no float32 copy of all tokens"
    launched = sum(count for name, count in counted.operations.items() if not name.startswith("prim"))
    each = launched / len(members)
    assert each < 700, f"{each:.0f} operations for each head: {counted.operations.most_common(8)}"


def as_tensor_cores(values):
    """`values` with the 11 leading bits of each, rounded to nearest."""
    bits = values.contiguous().view(torch.int32)
    return ((bits + 0xFFF + ((bits >> 13) & 1)) & ~0x1FFF).view(torch.float32)


@pytest.mark.numerics
def test_tensor_cores_lose_no_more_than_float32_does(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randn(3, 700, 96, generator=generator).half()
    queries = torch.randn(32, 96, generator=generator) / 4
    weights = torch.randn(3, 32, 96, generator=generator)

    def run(tokens, queries, weights):
        queries = queries.clone().requires_grad_()
        pooled = map_head.pool(tokens, queries)
        (pooled * weights).sum().backward()
        return pooled.detach(), queries.grad

    def error(found):
        return max(
            float((one - exact).abs().max() / exact.abs().max()) for one, exact in zip(found, expected, strict=True)
        )

    expected = run(tokens.double(), queries.double(), weights.double())
    plain = error(run(tokens, queries, weights))
    monkeypatch.setattr(map_head, "has_tensor_cores", lambda device: True)
    rounded = lambda self, left, right: as_tensor_cores(left) @ as_tensor_cores(right)  # noqa: E731
    monkeypatch.setattr(SplitProducts, "multiply", rounded)
    assert error(run(tokens, queries, weights)) < max(3 * plain, 2e-6) < 1e-5
    monkeypatch.setattr(map_head, "split", lambda values: (values, torch.zeros_like(values)))
    assert error(run(tokens, queries, weights)) > 5e-5, "unsplit it would matter"


def test_a_split_loses_nothing():
    values = torch.randn(10_000, generator=torch.Generator().manual_seed(1)) * 10.0 ** torch.arange(-5, 5).repeat(1000)
    leading, rest = split(values)
    assert torch.equal(leading + rest, values)
    assert torch.equal(as_tensor_cores(leading), leading)


class Journal:
    """A carrier that records what happens, and copies only when somebody waits for the arrival."""

    def __init__(self):
        self.lines = []

    def send(self, tokens):
        number, there = len([line for line in self.lines if line.startswith("send")]), torch.empty_like(tokens)
        self.lines.append(f"send {number}")

        def arrive():
            there.copy_(tokens)
            self.lines.append(f"arrived {number}")

        return there, SimpleNamespace(synchronize=arrive)

    def receive(self, tokens, arrival):
        self.lines.append("receive")


def test_the_next_batch_is_on_its_way_while_one_is_worked_on_and_its_memory_is_not_given_away_before():
    journal, buffers = Journal(), [torch.empty(1, 2, 2) for _ in range(2)]

    def batches():
        for number in range(4):
            journal.lines.append(f"read {number}")
            yield TokenBatch(None, buffers[number % 2].fill_(number), None)

    for number, batch in enumerate(bring(batches(), journal)):
        journal.lines.append(f"work {number}")
        assert (batch.tokens == number).all()
    assert journal.lines == [
        *("read 0", "send 0", "arrived 0", "read 1", "send 1", "receive", "work 0", "arrived 1"),
        *("read 2", "send 2", "receive", "work 1", "arrived 2", "read 3", "send 3", "receive", "work 2", "arrived 3"),
        *("receive", "work 3"),
    ]


def test_pinned_memory_comes_in_powers_of_two(monkeypatch):
    assert [pinned_bytes(size) for size in (1, 4096, 4097, 1_290_000_000)] == [1, 4096, 8192, 2**31]
    monkeypatch.setattr(feeds, "choose_device", lambda: torch.device("cuda"))
    monkeypatch.setenv("NEARID_PREFETCH_GB", "6.5")
    pool = SimpleNamespace(token_shape=(729, 1152))
    # Three blocks of 2 GiB, not five of 1.29 GB.
    assert feeds.TokenPool.ahead(pool, 128) == 2
