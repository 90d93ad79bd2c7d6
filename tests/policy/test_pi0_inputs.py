import numpy as np
import pytest
import torch

from ate_core.errors import CheckpointError
from ate_policy.images import fit_image, images_to_tensor
from ate_policy.models.pi0_inputs import (
    ByteTokenizer,
    camera_order,
    load_tokenizer,
    pad_last,
    pad_prompts,
    prompt_ids,
)


def test_a_prompt_is_start_text_and_newline():
    expected = (2, *[4 + byte for byte in b"fold the  towel"], 14)
    assert prompt_ids(ByteTokenizer(), " fold_the \ntowel\n") == expected
    assert prompt_ids(ByteTokenizer(), "") == (2, 14)


def test_a_prompt_has_at_most_48_tokens():
    ids = prompt_ids(ByteTokenizer(), "a" * 100)
    assert ids == (2, *[4 + ord("a")] * 47)


def test_prompts_are_padded_on_the_right():
    prompts = pad_prompts(((2, 14), (2, 7, 8, 14)), torch.device("cpu"))
    assert prompts.ids.tolist() == [[2, 14, 0, 0], [2, 7, 8, 14]]
    assert prompts.mask.tolist() == [[True, True, False, False], [True] * 4]


def test_prompts_of_one_length_need_no_mask():
    assert pad_prompts(((2, 14), (2, 14)), torch.device("cpu")).mask is None


def test_cameras_stand_as_pi0_learned_them():
    assert camera_order(("cam_right_wrist", "cam_high", "cam_left_wrist")) == [1, 2, 0]
    assert camera_order(("cam_right_wrist", "cam_high")) == [1, 0]


def test_a_wide_image_keeps_its_aspect_on_black():
    image = np.full((540, 960, 3), 255, np.uint8)
    pixels = 2.0 * images_to_tensor(torch.from_numpy(fit_image(image, 224, 224, "pad")))
    assert pixels.shape == (3, 224, 224)
    assert (pixels[:, :49] == -1.0).all() and (pixels[:, 175:] == -1.0).all()
    assert (pixels[:, 49:175] == 1.0).all()


def test_vectors_are_padded_with_zeros_behind():
    assert pad_last(torch.ones(1, 2), 4).tolist() == [[1.0, 1.0, 0.0, 0.0]]


def test_a_missing_tokenizer_names_source_and_licence(tmp_path):
    for name in ("", str(tmp_path / "nowhere"), str(tmp_path)):
        with pytest.raises(CheckpointError, match=r"Gemma licence.*paligemma-3b-pt-224") as error:
            load_tokenizer(name)
        assert "\n" not in str(error.value)


def test_a_tokenizer_folder_gives_the_prompt_of_its_own_ids(tmp_path):
    save_byte_tokenizer(tmp_path)
    tokenizer = load_tokenizer(str(tmp_path))
    ids = prompt_ids(tokenizer, "go\n")
    assert ids[0] == tokenizer.start == 2
    assert len(ids) == 4 and ids[-1] == tokenizer.newline
    assert prompt_ids(tokenizer, "og")[1:3] == (ids[2], ids[1])


def test_a_tokenizer_of_another_model_is_refused(tmp_path):
    save_byte_tokenizer(tmp_path, start=None)
    with pytest.raises(CheckpointError, match="not PaliGemma's"):
        load_tokenizer(str(tmp_path))


def save_byte_tokenizer(folder, start="<bos>", *, unused=0, reverse=False):
    """A byte-level tokenizer without merges, in the files of Hugging Face.

    Args:
        folder: To write.
        start: Token that begins a prompt.
        unused: So many numbers before the first byte stand for nothing.
        reverse: The last byte has the first number.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet(), reverse=reverse)
    unnamed = [f"<unused{index}>" for index in range(unused)]
    words = ["<pad>", "<eos>", "<bos>", "<unk>", *unnamed, *alphabet]
    vocabulary = {word: index for index, word in enumerate(words)}
    inner = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    PreTrainedTokenizerFast(tokenizer_object=inner, bos_token=start).save_pretrained(folder)
