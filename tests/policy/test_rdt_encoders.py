"""The encoders of RDT; the published ones as tiny copies with random weights."""

import shutil

import pytest
import torch

from ate_core.errors import CheckpointError
from ate_policy.models.rdt_encoders import ByteText, SiglipTokens, SmallImageTokens, T5Text

FLOAT = torch.zeros(())
"""On the CPU, float32."""


@pytest.fixture
def t5_folder(tmp_path):
    """A T5 of width 16 whose tokens are the letters a to z, and 1 at the end."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast, T5Config, T5EncoderModel

    letters = {"<pad>": 0, "</s>": 1, "<unk>": 2} | {chr(97 + i): 3 + i for i in range(26)}
    tokenizer = Tokenizer(models.WordLevel(letters, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 1)]
    )
    PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(tmp_path)
    torch.manual_seed(0)
    sizes = {"d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 1, "num_heads": 2}
    T5EncoderModel(T5Config(vocab_size=32, **sizes)).save_pretrained(tmp_path)
    return tmp_path


@pytest.fixture
def siglip_folder(tmp_path):
    """The image half of a SigLIP of width 16 for images of 28 px."""
    from transformers import SiglipVisionConfig, SiglipVisionModel

    torch.manual_seed(0)
    config = SiglipVisionConfig(
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=28,
        patch_size=14,
    )
    SiglipVisionModel(config).save_pretrained(tmp_path)
    return tmp_path


def test_bytes_of_an_instruction_become_tokens():
    tokens, valid = ByteText(4, longest=5)(["abc", "", "longer"], FLOAT)
    assert tokens.shape == (3, 5, 4)
    assert valid.sum(1).tolist() == [3, 1, 5]  # an empty text keeps one token, a long one is cut
    torch.testing.assert_close(tokens[1, 0], tokens[0, 4])


@pytest.mark.parametrize(("height", "width", "count"), [(72, 128, 40), (32, 48, 6), (33, 17, 6)])
def test_the_small_image_tokens_are_the_cells_of_the_last_maps(height, width, count):
    encoder = SmallImageTokens(2, height, width)
    assert encoder.count == count
    assert encoder(torch.zeros(1, 2, 3, height, width)).shape == (1, 2 * count, encoder.size)


def test_t5_hidden_states_are_padded_and_masked(t5_folder, monkeypatch):
    from transformers import T5EncoderModel

    monkeypatch.setattr(T5Text, "size", 16)
    encoder = T5Text(str(t5_folder), longest=4)
    tokens, valid = encoder(["abcdef", "b"], FLOAT)
    assert valid.tolist() == [[True] * 4, [True, True, False, False]]  # cut, and 1 at the end
    model = T5EncoderModel.from_pretrained(t5_folder).eval()
    with torch.no_grad():
        expected = model(torch.tensor([[4, 1]])).last_hidden_state[0]
    torch.testing.assert_close(tokens[1, :2], expected)
    assert not tokens.requires_grad
    again, _ = encoder(["b"], FLOAT)  # remembered
    torch.testing.assert_close(again[0], expected)
    halved, _ = T5Text(str(t5_folder), longest=4)(["b"], FLOAT.bfloat16())
    assert halved.dtype == torch.bfloat16
    torch.testing.assert_close(halved[0].float(), expected, rtol=0.02, atol=0.02)


def test_siglip_hidden_states_follow_one_another_by_camera(siglip_folder, monkeypatch):
    from transformers import SiglipVisionModel

    monkeypatch.setattr(SiglipTokens, "size", 16)
    encoder = SiglipTokens(str(siglip_folder), 28, 28)
    images = torch.rand(1, 2, 3, 28, 28, generator=torch.Generator().manual_seed(0)) - 0.5
    tokens = encoder(images)
    model = SiglipVisionModel.from_pretrained(siglip_folder).eval()
    with torch.no_grad():
        expected = model(pixel_values=2.0 * images[0]).last_hidden_state  # (2, 4, 16)
    assert encoder.count == 4
    torch.testing.assert_close(tokens, expected.reshape(1, 8, 16))
    halved = encoder(images.bfloat16())
    assert halved.dtype == torch.bfloat16
    torch.testing.assert_close(halved.float(), tokens, rtol=0.02, atol=0.05)


def test_encoders_are_found_below_ate_models_on_another_machine(
    siglip_folder, tmp_path_factory, monkeypatch
):
    monkeypatch.setattr(SiglipTokens, "size", 16)
    models = tmp_path_factory.mktemp("models")
    shutil.copytree(siglip_folder, models / "siglip")
    shutil.copytree(siglip_folder, models / "siglip-so400m-patch14-384")
    gone, images = models / "not_here" / "siglip", torch.zeros(1, 1, 3, 28, 28)
    monkeypatch.delenv("ATE_MODELS", raising=False)
    message = rf"image_encoder is '{gone}' and ATE_MODELS is '': .*set ATE_MODELS .* siglip,"
    with pytest.raises(CheckpointError, match=message):
        SiglipTokens(str(gone), 28, 28)(images)
    expected = SiglipTokens(str(siglip_folder), 28, 28)(images)
    monkeypatch.setenv("ATE_MODELS", str(models))
    for stored in (str(gone), ""):  # without a folder, by the published name
        assert torch.equal(SiglipTokens(stored, 28, 28)(images), expected)
    shutil.rmtree(models / "siglip")
    with pytest.raises(CheckpointError, match="nor siglip in ATE_MODELS holds"):
        SiglipTokens(str(gone), 28, 28)(images)


def test_published_encoders_of_another_size_are_refused(t5_folder):
    message = "width 16, the policy reads 4096: give google/t5-v1_1-xxl"
    with pytest.raises(CheckpointError, match=message):
        T5Text(str(t5_folder), longest=4)(["b"], FLOAT)


def test_images_of_another_size_are_refused(siglip_folder, monkeypatch):
    monkeypatch.setattr(SiglipTokens, "size", 16)
    encoder = SiglipTokens(str(siglip_folder), 28, 42)
    with pytest.raises(CheckpointError, match="image size 28, the policy reads 42"):
        encoder(torch.zeros(1, 1, 3, 28, 42))
