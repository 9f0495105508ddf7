"""The folded head against transformers' own: values, gradients, packing."""

import pytest
import torch
from transformers import SiglipVisionConfig
from transformers.models.siglip.modeling_siglip import SiglipMultiheadAttentionPoolingHead

from nearid.heads import map_head
from nearid.heads.map_head import MAPHead, pool, pool_each

pytestmark = pytest.mark.numerics

CONFIG = SiglipVisionConfig(hidden_size=48, intermediate_size=64, num_attention_heads=4)


@pytest.fixture(autouse=True)
def _seeded(monkeypatch):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        # Blocks of two images, the last one short, as with long token sequences.
        monkeypatch.setattr(map_head, "BLOCK_BYTES", 2 * 10 * 48 * 8)
        yield


def make_pair(dtype):
    theirs = SiglipMultiheadAttentionPoolingHead(CONFIG).to(dtype)
    for parameter in theirs.parameters():  # biases are zero after construction, which would hide a wrong one
        torch.nn.init.normal_(parameter, std=0.3)
    ours = MAPHead(CONFIG).to(dtype)
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


def run(head, tokens, target):
    head.zero_grad()
    output = head(tokens)
    ((output - target) ** 3).mean().backward()
    return output.detach(), {name: parameter.grad for name, parameter in head.named_parameters()}


def relative(value, reference):
    return ((value - reference).abs().max() / reference.abs().max()).item()


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@pytest.mark.parametrize("stored", [torch.float16, None])
def test_outputs_and_gradients_are_those_of_transformers_in_float64(dtype, tolerance, stored):
    theirs, ours = make_pair(dtype)
    tokens = torch.randn(5, 10, 48).to(stored or dtype)
    target = torch.randn(5, 48, dtype=dtype)
    expected, expected_gradients = run(theirs.double(), tokens.double(), target.double())
    output, gradients = run(ours, tokens, target)
    assert output.dtype == dtype
    assert relative(output, expected) <= tolerance
    for name, gradient in gradients.items():
        if name == "attention.in_proj_bias":
            assert gradient[48:96].abs().max() == 0  # the key bias
            gradient[48:96] = expected_gradients[name][48:96] = 0
        assert relative(gradient, expected_gradients[name]) <= tolerance, name


def test_state_dict_goes_both_ways():
    theirs, ours = make_pair(torch.float32)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    SiglipMultiheadAttentionPoolingHead(CONFIG).load_state_dict(ours.state_dict())


def test_pool_passes_gradcheck():
    tokens = torch.randn(3, 5, 6, dtype=torch.float64, requires_grad=True)
    queries = torch.randn(4, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(pool, (tokens, queries))
    assert torch.autograd.gradcheck(lambda queries: pool(tokens.detach(), queries), queries)


@pytest.mark.parametrize("places", [[0, 1, 2], [2, 0], [1]], ids=["all", "two in another order", "one"])
def test_a_head_has_the_same_bytes_whoever_shares_its_pass(places):
    heads = [make_pair(torch.float32)[1] for _ in range(3)]
    tokens, target = torch.randn(5, 10, 48).half(), torch.randn(5, 48)
    alone = [run(head, tokens, target) for head in heads]
    chosen = [heads[place] for place in places]
    for head in chosen:
        head.zero_grad()
    outputs = [
        head.read_out(pooled)
        for head, pooled in zip(chosen, pool_each(tokens, [head.queries() for head in chosen]), strict=True)
    ]
    sum(((output - target) ** 3).mean() for output in outputs).backward()
    for place, head, output in zip(places, chosen, outputs, strict=True):
        assert torch.equal(output, alone[place][0])
        for name, parameter in head.named_parameters():
            assert torch.equal(parameter.grad, alone[place][1][name]), name


def test_one_wide_product_for_all_heads_gives_each_its_own_to_rounding():
    """As on a GPU, for which `pool_each` joins the queries."""
    heads = [make_pair(torch.float32)[1] for _ in range(3)]
    tokens, queries = torch.randn(5, 10, 48).half(), [head.queries() for head in heads]
    for own, part in zip(queries, pool(tokens, torch.cat(queries)).split(4, dim=1), strict=True):
        assert relative(part, pool(tokens.double(), own.double())) <= 1e-5


def test_a_head_left_out_of_the_loss_changes_none_and_has_no_gradient():
    heads = [make_pair(torch.float32)[1] for _ in range(2)]
    tokens, target = torch.randn(5, 10, 48).half(), torch.randn(5, 48)
    _, alone = run(heads[0], tokens, target)
    for head in heads:
        head.zero_grad()
    first, _ = pool_each(tokens, [head.queries() for head in heads])
    ((heads[0].read_out(first) - target) ** 3).mean().backward()
    assert all(torch.equal(parameter.grad, alone[name]) for name, parameter in heads[0].named_parameters())
    assert all(parameter.grad is None for parameter in heads[1].parameters())


def test_where_tokens_lie_in_memory_changes_no_byte():
    _, head = make_pair(torch.float32)
    tokens = torch.randn(5, 10, 48)
    moved = torch.empty(tokens.numel() + 1)[1:].view_as(tokens).copy_(tokens)
    assert moved.data_ptr() % 64 != 0
    target = torch.randn(5, 48)
    (output, gradients), (expected, wanted) = run(head, moved, target), run(head, tokens, target)
    assert torch.equal(output, expected)
    assert all(torch.equal(gradients[name], wanted[name]) for name in wanted)


def test_attention_is_what_transformers_attends_to():
    theirs, ours = make_pair(torch.float64)
    tokens = torch.randn(5, 10, 48, dtype=torch.float64)
    probe = theirs.probe.expand(5, -1, -1)
    expected = theirs.attention(probe, tokens, tokens, average_attn_weights=False)[1][:, :, 0]
    torch.testing.assert_close(ours.attend(tokens), expected, rtol=0, atol=1e-12)


def test_empty_batch_gives_no_rows():
    _, ours = make_pair(torch.float32)
    assert ours(torch.empty(0, 10, 48)).shape == (0, 48)
