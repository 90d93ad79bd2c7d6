"""Knowledge matching, insulation and a frozen trunk: what each compares, and what it trains."""

import copy
import dataclasses

import pytest
import torch

from ate_core.errors import CheckpointError, TrainingError, UsageError
from ate_policy.models.clap_ntp import ClapNtp, ClapNtpConfig
from ate_policy.models.clap_rf import PRESETS, ClapRf, ClapRfConfig
from ate_policy.models.interface import Inputs
from ate_policy.noise import mix
from training.data.sampler import Batch
from training.finetune import loss_of
from training.loop.optimisation import apply_gradients, make_optimizer
from training.objectives.denoising import PlainDenoising
from training.objectives.knowledge import (
    KnowledgeMatching,
    TokenLoss,
    knowledge_divergence,
    token_loss,
)

CODES, BOOK = 4, 8
SIZES = {"horizon": 5, "action_size": 3, "state_size": 3, "objects": 1}
TRUNK = {
    name: PRESETS["tiny"].sizes[name] for name in ("trunk_width", "trunk_depth", "trunk_heads")
}
P, Q = torch.tensor([0.7, 0.2, 0.1]), torch.tensor([0.4, 0.4, 0.2])


def token_policy(seed=0):
    torch.manual_seed(seed)
    return ClapNtp(ClapNtpConfig(**SIZES, **TRUNK, codes=CODES, codebook=BOOK))


def flow_policy(trunk="trained", seed=1):
    torch.manual_seed(seed)
    sizes = {**PRESETS["tiny"].sizes, **SIZES, "codes": CODES, "codebook": BOOK, "trunk": trunk}
    model = ClapRf(ClapRfConfig(**sizes))
    for parameter in model.head.parameters():  # zero layers would stop the gradient to the trunk
        parameter.data += 0.05 * torch.randn_like(parameter)
    return model


def batch_of(model, count=3, scored=True, seed=2):
    generator = torch.Generator().manual_seed(seed)
    actions, noise = torch.randn(2, count, 5, 3, generator=generator)
    level = model.process.draw_levels(count, generator)
    codes = torch.randint(BOOK, (count, CODES), generator=generator)
    inputs = Inputs(
        state=torch.randn(count, 3, generator=generator),
        environment=torch.randn(count, 6, generator=generator),
        codes=codes if scored else None,
    )
    noised = mix(model.process, actions, level, noise)
    return Batch(inputs=inputs, noised=noised, eps=torch.empty(count, 0))


def train(model, objective, steps=3, scored=True):
    """A few steps as `ate finetune` takes them; returns the losses."""
    optimizer, losses = make_optimizer(model, 1e-2, 1e-2), []
    for step in range(steps):
        batch = batch_of(model, scored=scored, seed=10 + step)
        output = model(batch.noised.noisy, batch.noised.level, batch.inputs)
        loss, _ = loss_of(model, objective, output, batch, step)
        loss.backward()
        apply_gradients(optimizer, model, 1e-2)
        losses.append(loss.item())
    return losses


def moved(model, before):
    """Parts of a network whose weights a training changed, and the part's place in its trunk."""
    names = {n for n, p in model.state_dict().items() if not torch.equal(p, before[n])}
    return {
        name.split(".")[0] if name.startswith("head") else name.split(".")[1] for name in names
    }


@pytest.mark.parametrize(
    ("direction", "value", "gradient"),
    [
        ("paper", 0.183787, (0.263080, -0.175387, -0.087693)),
        ("reference", 0.192042, (0.3, -0.2, -0.1)),
    ],
)
def test_divergence_and_gradient_are_those_of_the_published_equation(direction, value, gradient):
    logits = P.log()[None, None].clone().requires_grad_()
    loss = knowledge_divergence(logits, Q.log()[None, None], direction)
    assert loss.item() == pytest.approx(value, abs=1e-6)
    (found,) = torch.autograd.grad(loss, logits)
    torch.testing.assert_close(found[0, 0], torch.tensor(gradient), atol=1e-6, rtol=0.0)


def test_the_papers_divergence_is_summed_over_codes_the_released_one_is_their_mean():
    policy, other = P.log().expand(5, CODES, 3), Q.log().expand(5, CODES, 3)
    assert knowledge_divergence(policy, other, "paper").item() == pytest.approx(
        CODES * 0.183787, abs=1e-5
    )
    assert knowledge_divergence(policy, other, "reference").item() == pytest.approx(
        0.192042, abs=1e-5
    )


@pytest.mark.parametrize("direction", ["paper", "reference"])
@pytest.mark.parametrize("place", range(CODES))
def test_a_reference_that_differs_in_one_code_alone_is_felt_the_first_one_too(direction, place):
    logits = torch.randn(2, CODES, BOOK, generator=torch.Generator().manual_seed(0))
    other = logits.clone()
    assert knowledge_divergence(logits, other, direction).item() == pytest.approx(0.0, abs=1e-6)
    other[:, place, 0] += 2.0
    assert knowledge_divergence(logits, other, direction) > 1e-3


def test_the_token_loss_is_the_sum_over_a_chunk():
    logits = P.log().expand(2, 3, 3)
    codes = torch.tensor([[0, 1, 2], [0, 0, 0]])
    by_hand = -(P.log()[[0, 1, 2]].sum() + 3 * P[0].log()) / 2
    assert token_loss(logits, codes).item() == pytest.approx(by_hand.item(), rel=1e-6)


def test_scores_of_a_code_have_seen_the_codes_before_it_and_no_other():
    model = token_policy().eval()
    inputs = batch_of(flow_policy()).inputs
    before = model(inputs)
    assert before.shape == (3, CODES, BOOK)
    for place in range(CODES):
        codes = inputs.codes.clone()
        codes[:, place] = (codes[:, place] + 1) % BOOK
        change = (model(dataclasses.replace(inputs, codes=codes)) - before).abs().amax((0, 2))
        assert change[: place + 1].max() < 1e-6
        assert place == CODES - 1 or change[place + 1 :].min() > 1e-4


def test_a_chunk_has_exactly_its_codes_and_each_is_the_likeliest_behind_those_before():
    model = token_policy().eval()
    with torch.no_grad():  # scores that are as if learned
        model.trunk.codes.leave.weight *= 20.0
    inputs = batch_of(flow_policy()).inputs
    codes = model.chunk(inputs)
    assert codes.shape == (3, CODES) and codes.dtype == torch.int64
    assert codes.min() >= 0 and codes.max() < BOOK
    scores = model(dataclasses.replace(inputs, codes=codes))
    assert torch.equal(scores.argmax(-1), codes)


def test_padding_of_a_shorter_instruction_changes_no_code():
    torch.manual_seed(0)
    sizes = {**SIZES, **TRUNK, "codes": CODES, "codebook": BOOK, "language": True}
    model = ClapNtp(ClapNtpConfig(**sizes)).eval()
    inputs = batch_of(flow_policy()).inputs
    said = dataclasses.replace(inputs, instructions=("go", "go", "lift the bun"))
    alone = Inputs(
        state=inputs.state[:1],
        environment=inputs.environment[:1],
        codes=inputs.codes[:1],
        instructions=("go",),
    )
    torch.testing.assert_close(model(said)[:1], model(alone))
    assert torch.equal(model.chunk(said)[:1], model.chunk(alone))


def test_the_flow_head_sees_the_prompt_alone_whatever_the_codes():
    model = flow_policy().eval()
    batch = batch_of(model)
    plain = model(
        batch.noised.noisy, batch.noised.level, dataclasses.replace(batch.inputs, codes=None)
    )
    scored = model(batch.noised.noisy, batch.noised.level, batch.inputs)
    torch.testing.assert_close(scored.chunk, plain)
    assert scored.logits.shape == (3, CODES, BOOK)


def test_weight_zero_is_plain_training_to_the_bit_and_never_asks_the_reference():
    plain, zero = flow_policy(), flow_policy()
    matching = KnowledgeMatching(PlainDenoising(), None, 0.0)
    assert train(plain, PlainDenoising()) == train(zero, matching)
    assert all(
        torch.equal(a, b) for a, b in zip(plain.parameters(), zero.parameters(), strict=True)
    )


def test_the_reference_is_not_trained_and_belongs_to_no_module_of_the_run():
    reference = token_policy().eval().requires_grad_(False)
    kept = copy.deepcopy(reference.state_dict())
    asked = []

    def scores(inputs, codes):
        asked.append(torch.is_grad_enabled())
        return reference(dataclasses.replace(inputs, codes=codes))

    model = flow_policy()
    matching = KnowledgeMatching(PlainDenoising(), scores, 0.5)
    assert not isinstance(matching, torch.nn.Module)
    matched = train(model, matching)
    assert asked == [False] * 3
    assert matched != train(flow_policy(), PlainDenoising())
    assert all(torch.equal(value, kept[name]) for name, value in reference.state_dict().items())


def test_what_reaches_which_part_is_as_in_the_papers_table():
    reference = token_policy().eval().requires_grad_(False)

    def scores(inputs, codes):
        return reference(dataclasses.replace(inputs, codes=codes))

    cases = {
        "plain": ("trained", PlainDenoising(), False, {"head", "prompt", "blocks"}),
        "matching": (
            "trained",
            KnowledgeMatching(PlainDenoising(), scores, 0.05),
            True,
            {"head", "prompt", "blocks", "codes"},
        ),
        "frozen": ("frozen", PlainDenoising(), False, {"head"}),
        "insulated": (
            "insulated",
            TokenLoss(PlainDenoising()),
            True,
            {"head", "prompt", "blocks", "codes"},
        ),
    }
    for name, (trunk, objective, scored, expected) in cases.items():
        model = flow_policy(trunk)
        before = copy.deepcopy(model.state_dict())
        train(model, objective, scored=scored)
        assert moved(model, before) == expected, name


def test_an_insulated_trunk_feels_nothing_of_the_flow():
    model = flow_policy("insulated")
    batch = batch_of(model)
    output = model(batch.noised.noisy, batch.noised.level, batch.inputs)
    output.chunk.square().mean().backward()
    assert all(parameter.grad is None for parameter in model.trunk.parameters())


def test_a_network_that_scored_no_codes_and_other_tokens_are_refused():
    model = flow_policy()
    with pytest.raises(TrainingError, match=r"scored no codes.*give Inputs.codes"):
        train(model, KnowledgeMatching(PlainDenoising(), None, 0.5), scored=False)
    other = KnowledgeMatching(PlainDenoising(), lambda *_: torch.zeros(3, CODES, BOOK + 1), 0.5)
    with pytest.raises(TrainingError, match=r"\(3, 4, 8\), the reference as \(3, 4, 9\)"):
        train(model, other)
    with pytest.raises(UsageError, match="knowledge_weight is -1"):
        KnowledgeMatching(PlainDenoising(), None, -1.0)
    with pytest.raises(CheckpointError, match="trunk is 'insulated' and writes no codes"):
        ClapRfConfig(trunk="insulated")
    with pytest.raises(CheckpointError, match="codes is 4 and codebook 0"):
        ClapRfConfig(codes=4)
    with pytest.raises(CheckpointError, match="codes is 0, must be at least 1"):
        ClapNtpConfig(codes=0, codebook=0)
