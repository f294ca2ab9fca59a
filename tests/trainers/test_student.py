"""Students are what their name and seed say, text survives the tokenizer, and mistakes end in one clear line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import gguf
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from trainers.student import STUDENTS, load_student, student_identity
from trainers.tokenizer import CHARACTERS, EOS_TOKEN, PAD_TOKEN, THINK_TOKENS, character_tokenizer

TOKENIZER = character_tokenizer(max_tokens=64)


@given(text=st.text() | st.text(alphabet=CHARACTERS) | st.lists(st.sampled_from(["<think>", "a\n", "é"])).map("".join))
@example(text=" <think>3 + 4 = 7 .\n</think> 7 n't")
@example(text="<0x41> <think </think\r\n\t\x00\x7f \u00e9 \ufffd \U0001f600 \U0010ffff")
@example(text=PAD_TOKEN + EOS_TOKEN)
def test_every_text_survives_encoding_and_decoding(text: str) -> None:
    assert TOKENIZER.decode(TOKENIZER.encode(text)) == text


def test_printable_ascii_newline_and_think_tags_are_one_token_each() -> None:
    pieces = [*CHARACTERS, *THINK_TOKENS]
    assert len(CHARACTERS) == 96
    assert all(len(TOKENIZER.encode(piece)) == 1 for piece in pieces)
    assert len(TOKENIZER.encode("".join(pieces))) == len(pieces)


@given(text=st.text(alphabet=st.characters(codec="utf-8", exclude_characters=CHARACTERS), min_size=1))
def test_other_characters_cost_one_token_per_utf8_byte(text: str) -> None:
    assert len(TOKENIZER.encode(text)) == len(text.encode())


def test_every_byte_token_occurs_in_some_text() -> None:
    # One character for every leading byte of UTF-8, and one for every later byte.
    characters = [chr(code) for code in (*range(0x800), *range(0x800, 0xD800, 0x40), *range(0xE000, 0x110000, 0x1000))]
    used = {token for character in characters for token in TOKENIZER.encode(character)}
    assert used == set(range(len(TOKENIZER))) - {
        token for tag in (PAD_TOKEN, EOS_TOKEN, *THINK_TOKENS) for token in TOKENIZER.encode(tag)
    }


def test_only_pad_and_end_are_left_out_of_what_is_decoded() -> None:
    text = f"<think>3+4=7</think>7{EOS_TOKEN}{PAD_TOKEN}{PAD_TOKEN}"
    assert TOKENIZER.decode(TOKENIZER.encode(text), skip_special_tokens=True) == "<think>3+4=7</think>7"


def test_a_saved_tokenizer_is_the_same_tokenizer(tmp_path: Path) -> None:
    TOKENIZER.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    text = " <think> é\n</think>7 ."
    assert again.encode(text) == TOKENIZER.encode(text)
    assert again.decode(again.encode(text)) == text
    assert (again.pad_token_id, again.eos_token_id) == (TOKENIZER.pad_token_id, TOKENIZER.eos_token_id)


@pytest.mark.parametrize(("name", "parameters"), [("tiny-0.2m", 0.2e6), ("tiny", 0.65e6), ("tiny-3m", 3e6)])
def test_a_tiny_student_has_the_size_its_name_says(name: str, parameters: float, tmp_path: Path) -> None:
    student = load_student(name, seed=0, cache_dir=tmp_path)
    assert student.model.num_parameters() == pytest.approx(parameters, rel=0.1)
    assert student.model.training
    assert {weight.dtype for weight in student.model.parameters()} == {torch.float32}
    assert student.model.config.vocab_size == len(student.tokenizer)


def test_a_tiny_student_depends_on_its_seed_alone(tmp_path: Path) -> None:
    first = _weights(load_student("tiny-0.2m", seed=3, cache_dir=tmp_path).model)
    torch.manual_seed(99)
    before = torch.get_rng_state()
    again = _weights(load_student("tiny-0.2m", seed=3, cache_dir=tmp_path).model)
    assert torch.equal(torch.get_rng_state(), before)
    other = _weights(load_student("tiny-0.2m", seed=4, cache_dir=tmp_path).model)
    assert _same(first, again)
    assert not _same(first, other)


def test_a_saved_student_loads_with_the_same_weights(tmp_path: Path) -> None:
    student = load_student("tiny-0.2m", seed=1, cache_dir=tmp_path)
    student.model.save_pretrained(tmp_path / "saved")
    student.tokenizer.save_pretrained(tmp_path / "saved")
    loaded = load_student(str(tmp_path / "saved"), seed=7, cache_dir=tmp_path)
    assert _same(_weights(loaded.model), _weights(student.model))
    assert loaded.model.training
    assert loaded.tokenizer.encode("<think>é") == student.tokenizer.encode("<think>é")


def test_identity_follows_content_and_not_place(tmp_path: Path) -> None:
    for seed in (1, 2):
        student = load_student("tiny-0.2m", seed=seed, cache_dir=tmp_path)
        student.model.save_pretrained(tmp_path / f"seed-{seed}")
        student.tokenizer.save_pretrained(tmp_path / f"seed-{seed}")
    shutil.copytree(tmp_path / "seed-1", tmp_path / "copy")
    (tmp_path / "copy" / "README.md").write_text("what is written about a model does not change it")
    first, second, copy = (student_identity(str(tmp_path / name), 0, tmp_path) for name in ("seed-1", "seed-2", "copy"))
    assert first == copy != second
    config = tmp_path / "copy" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"rms_norm_eps": 1e-5}))
    assert student_identity(str(tmp_path / "copy"), 0, tmp_path) != first


def test_identities_of_tiny_students_differ_by_name_and_seed(tmp_path: Path) -> None:
    identities = {student_identity(name, seed, tmp_path) for name in STUDENTS for seed in range(3)}
    assert len(identities) == 3 * len(STUDENTS)
    assert student_identity("tiny", 0, tmp_path) == student_identity("tiny", 0, tmp_path / "elsewhere")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("tinny", "did you mean tiny"),
        ("tiny3m", "did you mean tiny-3m"),
        ("something-else", "hub id such as organisation/model"),
        ("organisation/not-in-the-cache", "the hub cannot be reached"),
        ("no-such-file.gguf", "no such file"),
    ],
)
def test_an_unknown_student_is_told_in_one_line(name: str, says: str, tmp_path: Path) -> None:
    for ask in (
        lambda: load_student(name, seed=0, cache_dir=tmp_path),
        lambda: student_identity(name, 0, tmp_path),
    ):
        with pytest.raises(ValueError, match=says) as caught:
            ask()
        assert repr(name) in str(caught.value)
        assert "\n" not in str(caught.value)
        assert caught.value.__cause__ is None
        assert caught.value.__context__ is None or caught.value.__suppress_context__


def test_a_folder_that_lacks_weights_is_refused(tmp_path: Path) -> None:
    student = load_student("tiny-0.2m", seed=1, cache_dir=tmp_path)
    with pytest.raises(ValueError, match="no whole Hugging Face model"):
        load_student(str(tmp_path), seed=0, cache_dir=tmp_path)
    # A layer more in the config than in the weights: it must not be filled up with random numbers.
    student.model.save_pretrained(tmp_path)
    student.tokenizer.save_pretrained(tmp_path)
    config = tmp_path / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"num_hidden_layers": 5}))
    with pytest.raises(ValueError, match=r"9 of its tensors are missing, model\.layers\.4"):
        load_student(str(tmp_path), seed=0, cache_dir=tmp_path)


@pytest.mark.parametrize("content", [b"", b"GGUF", b"not a GGUF file at all, but long enough to be one"])
def test_a_broken_gguf_file_is_refused_and_leaves_nothing_behind(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "broken.gguf"
    file.write_bytes(content)
    with pytest.raises(ValueError, match="cannot be read as GGUF"):
        load_student(str(file), seed=0, cache_dir=tmp_path / "cache")
    assert not list((tmp_path / "cache" / "students").iterdir())


@pytest.mark.parametrize("kept", [0.03, 0.3, 0.999])
def test_a_gguf_file_cut_short_is_refused(kept: float, tmp_path: Path) -> None:
    file = tmp_path / "small.gguf"
    _write_gguf(file, LlamaForCausalLM(_one_layer()), chat_template="")
    file.write_bytes(file.read_bytes()[: int(kept * file.stat().st_size)])
    with pytest.raises(ValueError, match="cannot be read as GGUF"):
        load_student(str(file), seed=0, cache_dir=tmp_path)


def test_a_gguf_student_computes_what_the_written_model_computes(tmp_path: Path) -> None:
    config = _one_layer()
    config.num_hidden_layers, config.num_key_value_heads = 2, 2
    torch.manual_seed(0)
    written = LlamaForCausalLM(config).eval()
    file = tmp_path / "small.gguf"
    _write_gguf(file, written, chat_template="{% for m in messages %}{{ m['content'] }}{% endfor %}")
    student = load_student(str(file), seed=0, cache_dir=tmp_path / "cache")
    assert max(student.tokenizer.get_vocab().values()) < config.vocab_size
    tokens_BT = torch.arange(24).reshape(2, 12)
    with torch.no_grad():
        assert torch.allclose(student.model.eval()(tokens_BT).logits, written(tokens_BT).logits, atol=1e-5)
    assert student.tokenizer.decode(student.tokenizer.encode("3+4=7, no?\n")) == "3+4=7, no?\n"
    assert student.tokenizer.apply_chat_template([{"role": "user", "content": "3+4"}], tokenize=False) == "3+4"
    (converted,) = (tmp_path / "cache" / "students").iterdir()
    assert "quantization_config" not in json.loads((converted / "config.json").read_text())


def test_a_gguf_student_is_converted_once_per_content(tmp_path: Path) -> None:
    file, copy, cache = tmp_path / "small.gguf", tmp_path / "copy.GGUF", tmp_path / "cache"
    _write_gguf(file, LlamaForCausalLM(_one_layer()), chat_template="")
    shutil.copy(file, copy)
    first = load_student(str(file), seed=0, cache_dir=cache)
    (converted,) = (cache / "students").iterdir()
    changed = (converted / "model.safetensors").stat().st_mtime_ns
    second = load_student(str(copy), seed=0, cache_dir=cache)
    assert list((cache / "students").iterdir()) == [converted]
    assert (converted / "model.safetensors").stat().st_mtime_ns == changed
    assert _same(_weights(first.model), _weights(second.model))
    assert student_identity(str(file), 0, cache) == student_identity(str(copy), 5, tmp_path)


def _one_layer() -> LlamaConfig:
    return LlamaConfig(
        vocab_size=260,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=1,
        num_attention_heads=4,
        max_position_embeddings=128,
        tie_word_embeddings=True,
    )


def _weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: weight.clone() for name, weight in model.state_dict().items()}


def _same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def _byte_level_characters() -> list[str]:
    """The 256 printable characters that GPT-2's vocabulary writes for bytes."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in plain]
    return [chr(byte) for byte in plain] + [chr(256 + place) for place in range(len(others))]


def _write_gguf(file: Path, model: LlamaForCausalLM, *, chat_template: str) -> None:
    """Write a Llama model as unquantised GGUF, as the format's own converter does."""
    config = model.config
    writer = gguf.GGUFWriter(file, "llama")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads or config.num_attention_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(10_000.0)
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list([*_byte_level_characters(), "<unk>", "<start>", "<end>", "34"])
    writer.add_token_types([gguf.TokenType.NORMAL] * 256 + [gguf.TokenType.CONTROL] * 3 + [gguf.TokenType.NORMAL])
    writer.add_token_merges(["3 4"])
    writer.add_bos_token_id(257)
    writer.add_eos_token_id(258)
    writer.add_chat_template(chat_template)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    for name, weight in model.state_dict().items():
        if name == "lm_head.weight":
            continue
        for heads, part in ((config.num_attention_heads, "q_proj"), (config.num_key_value_heads, "k_proj")):
            if part in name:
                # GGUF keeps the two halves of a rotary pair side by side.
                weight = weight.unflatten(0, (heads, 2, -1)).transpose(1, 2).flatten(0, 2)
        gguf_name = names.get_name(name, try_suffixes=(".weight",))
        assert gguf_name is not None, name
        writer.add_tensor(gguf_name, weight.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
