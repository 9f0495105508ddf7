"""The folded head against transformers' own: values, gradients, packing."""

import pytest
import torch
from transformers import SiglipVisionConfig
from transformers.models.siglip.modeling_siglip import SiglipMultiheadAttentionPoolingHead

from nearid.heads import map_head
from nearid.heads.map_head import MAPHead, pool

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
    for parameter in theirs.parameters():  # biases are zero after construction: a wrong bias must show
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
def test_outputs_and_gradients_equal_transformers(dtype, tolerance, stored):
    theirs, ours = make_pair(dtype)
    tokens = torch.randn(5, 10, 48).to(stored or dtype)
    target = torch.randn(5, 48, dtype=dtype)
    expected, expected_gradients = run(theirs, tokens.to(dtype), target)
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


def test_heads_in_one_pass_equal_heads_alone():
    heads = [make_pair(torch.float32)[1] for _ in range(3)]
    tokens, target = torch.randn(5, 10, 48).half(), torch.randn(5, 48)
    alone = [run(head, tokens, target) for head in heads]
    for head in heads:
        head.zero_grad()
    parts = pool(tokens, torch.cat([head.queries() for head in heads])).split(4, dim=1)
    sum(((head.read_out(part) - target) ** 3).mean() for head, part in zip(heads, parts, strict=True)).backward()
    for head, (_, gradients) in zip(heads, alone, strict=True):
        for name, parameter in head.named_parameters():
            torch.testing.assert_close(parameter.grad, gradients[name], rtol=1e-5, atol=1e-7, msg=name)


def test_attention_is_what_transformers_attends_to():
    theirs, ours = make_pair(torch.float64)
    tokens = torch.randn(5, 10, 48, dtype=torch.float64)
    probe = theirs.probe.expand(5, -1, -1)
    expected = theirs.attention(probe, tokens, tokens, average_attn_weights=False)[1][:, :, 0]
    torch.testing.assert_close(ours.attend(tokens), expected, rtol=0, atol=1e-12)


def test_empty_batch_gives_no_rows():
    _, ours = make_pair(torch.float32)
    assert ours(torch.empty(0, 10, 48)).shape == (0, 48)
