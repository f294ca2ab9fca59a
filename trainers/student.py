"""Students: the models that are trained, by name, folder, hub id or GGUF file.

Three tiny ones are made here from a seed, so that every experiment has students that need no download:

    name        parameters   layers   width   heads   gated MLP width
    tiny-0.2m       0.22 M        4      64       4               176
    tiny            0.63 M        3     128       4               352
    tiny-3m          3.1 M        4     256       8               640

They are Llama models with tied embeddings, 1,024 positions and character tokens (trainers.tokenizer).
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
import struct
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    GgufConfig,
    LlamaConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from trainers.tokenizer import EOS_TOKEN_ID, PAD_TOKEN_ID, character_tokenizer

TINY_MAX_TOKENS = 1024
MODEL_FILES = (
    *("config.json", "generation_config.json", "model*.safetensors", "model.safetensors.index.json", "tokenizer*"),
    *("special_tokens_map.json", "added_tokens.json", "vocab*", "merges.txt", "*.jinja", "*.model"),
)
"""The files of a model folder that decide what the student is; the others are neither fetched nor hashed."""


@dataclass(frozen=True, kw_only=True)
class _TinySize:
    layers: int
    width: int
    heads: int
    mlp_width: int


_TINY_SIZES = {
    "tiny-0.2m": _TinySize(layers=4, width=64, heads=4, mlp_width=176),
    "tiny": _TinySize(layers=3, width=128, heads=4, mlp_width=352),
    "tiny-3m": _TinySize(layers=4, width=256, heads=8, mlp_width=640),
}
STUDENTS = tuple(_TINY_SIZES)
"""The students that are made from a seed."""

_ACCEPTED = (
    f"a student is one of {', '.join(STUDENTS)}, a folder with a Hugging Face model, a hub id such as "
    "organisation/model, or a .gguf file"
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Student:
    """A model with its tokenizer, ready to be trained.

    Example:
        load_student("tiny", seed=0, cache_dir=Path("cache")).model.num_parameters()
    """

    name: str  # as it was asked for
    model: PreTrainedModel  # fp32, on the CPU, in training mode, SDPA attention
    tokenizer: PreTrainedTokenizerBase  # has an end token and a pad token, which may be the same
    folder: Path | None = None  # that holds the weights; None where they were made here

    @property
    def end_id(self) -> int:
        """Id of the token that ends an answer."""
        return cast(int, self.tokenizer.eos_token_id)

    @property
    def pad_id(self) -> int:
        """Id of the token that fills rows up."""
        return cast(int, self.tokenizer.pad_token_id)


def load_student(name: str, *, seed: int, cache_dir: Path, weights: bool = True) -> Student:
    """Make or load a student.

    A tiny one has the same weights, bit for bit, for the same seed, and leaves the global random state as it was. A
    GGUF file is unpacked to fp32 once, into a folder under `cache_dir` named by the file's content.

    Args:
        name: one of `STUDENTS`, a folder, a hub id or a .gguf file.
        seed: of a tiny student's weights; the others ignore it.
        cache_dir: where converted GGUF files are kept. Models of the hub stay in the Hugging Face cache.
        weights: whether those in a folder are read; without, the model is on the meta device, all sizes and no numbers.

    Raises:
        ValueError: there is no such student, or it cannot be loaded as a causal language model in fp32.
    """
    if name in _TINY_SIZES:
        return _tiny(name, seed)
    return _from_folder(name, _converted(name, cache_dir) if _is_gguf(name) else _model_folder(name), weights)


def student_identity(name: str, seed: int, cache_dir: Path) -> str:
    """A digest of what the student is: of its files' contents, or of sizes, tokens and seed for a tiny one.

    Two places that hold the same files have the same identity. A GGUF file counts as it is, unconverted; a model of
    the hub is fetched if need be. `cache_dir` is as in `load_student`, and nothing is written to it.

    Raises:
        ValueError: there is no such student.
    """
    if name in _TINY_SIZES:
        vocabulary = character_tokenizer(max_tokens=TINY_MAX_TOKENS).get_vocab()
        made_from = ("tiny", dataclasses.asdict(_TINY_SIZES[name]), TINY_MAX_TOKENS, vocabulary, seed)
        return hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()
    if _is_gguf(name):
        return _file_digest(_gguf_file(name))
    folder = _model_folder(name)
    files = sorted({path for pattern in MODEL_FILES for path in folder.glob(pattern) if path.is_file()})
    listing = "\n".join(f"{path.name} {_file_digest(path)}" for path in files)
    return hashlib.sha256(listing.encode()).hexdigest()


def _tiny(name: str, seed: int) -> Student:
    size = _TINY_SIZES[name]
    tokenizer = character_tokenizer(max_tokens=TINY_MAX_TOKENS)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=size.width,
        intermediate_size=size.mlp_width,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.heads,
        max_position_embeddings=TINY_MAX_TOKENS,
        # Llama's own 0.02 is meant for widths of thousands; at 128 it halves what a small budget teaches
        # (experiments/LOG.md). This keeps the scale of every product independent of the width.
        initializer_range=size.width**-0.5,
        tie_word_embeddings=True,
        pad_token_id=PAD_TOKEN_ID,
        bos_token_id=None,
        eos_token_id=EOS_TOKEN_ID,
    )
    # Only the CPU's generator is forked and seeded: torch.manual_seed would also reset those of every accelerator.
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.default_generator.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation="sdpa")
    return Student(name=name, model=model.train(), tokenizer=tokenizer)


def _from_folder(name: str, folder: Path, weights: bool) -> Student:
    try:
        model = _whole_model(folder, device=None if weights else "meta")
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, SafetensorError) as error:
        raise ValueError(f"student {name!r} cannot be loaded: {_first_line(error)}") from None
    if tokenizer.eos_token_id is None:
        raise ValueError(f"student {name!r}: its tokenizer names no end token, so no answer would ever end")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    embedding = model.get_input_embeddings()
    assert isinstance(embedding, torch.nn.Embedding), type(embedding)
    if len(tokenizer) > embedding.num_embeddings:
        raise ValueError(
            f"student {name!r}: its tokenizer has {len(tokenizer)} tokens, its model embeds {embedding.num_embeddings}"
        )
    return Student(name=name, model=model.train(), tokenizer=tokenizer, folder=folder)


def _whole_model(folder: Path, gguf_file: str | None = None, device: str | None = None) -> PreTrainedModel:
    loaded = AutoModelForCausalLM.from_pretrained(
        folder,
        gguf_file=gguf_file,
        quantization_config=None if gguf_file is None else GgufConfig(dequantize=True),
        dtype=torch.float32,
        device_map=device,
        attn_implementation="sdpa",
        use_safetensors=True,
        local_files_only=True,
        output_loading_info=True,
    )
    # With output_loading_info the call returns a pair, which its annotation leaves out.
    model, report = cast(tuple[PreTrainedModel, dict[str, set[str]]], loaded)
    if report["missing_keys"]:
        first = sorted(report["missing_keys"])[0]
        raise ValueError(f"{len(report['missing_keys'])} of its tensors are missing, {first} among them")
    return model


def _model_folder(name: str) -> Path:
    """The folder that holds a named model's files: itself, or the hub's copy in the Hugging Face cache."""
    folder = Path(name).expanduser()
    if not folder.is_dir():
        folder = _fetched(name)
    if not (folder / "config.json").is_file() or not any(folder.glob("model*.safetensors")):
        raise ValueError(
            f"student {name!r}: {folder} is no whole Hugging Face model: it needs config.json and model*.safetensors"
        )
    return folder


def _fetched(name: str) -> Path:
    if name.count("/") != 1:
        near = difflib.get_close_matches(name, STUDENTS, n=2, cutoff=0.5)
        hint = f" (did you mean {' or '.join(near)}?)" if near else ""
        raise ValueError(f"there is no student {name!r}{hint}: {_ACCEPTED}")
    try:
        return Path(snapshot_download(name, allow_patterns=list(MODEL_FILES)))
    except GatedRepoError:
        reason = "the hub asks for its licence to be accepted there, and for a login here"
    except RepositoryNotFoundError:
        reason = "there is no such folder here, and no such public model on the hub"
    except (LocalEntryNotFoundError, OfflineModeIsEnabled):
        reason = "there is no such folder here, it is not in the Hugging Face cache, and the hub cannot be reached"
    except (HfHubHTTPError, HFValidationError) as error:
        reason = _first_line(error)
    raise ValueError(f"student {name!r} cannot be had: {reason}; {_ACCEPTED}")


def _is_gguf(name: str) -> bool:
    return name.lower().endswith(".gguf")


def _gguf_file(name: str) -> Path:
    file = Path(name).expanduser()
    if not file.is_file():
        raise ValueError(f"student {name!r}: there is no such file")
    return file


def _converted(name: str, cache_dir: Path) -> Path:
    """The folder with a GGUF file's model unpacked to fp32, made if it is not there yet."""
    file = _gguf_file(name)
    folder = cache_dir / "students" / f"gguf-{_file_digest(file)[:32]}"
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="making-") as aside:
        made = Path(aside) / "model"
        try:
            _unpack_gguf(file, made)
        except (OSError, ValueError, KeyError, NotImplementedError, struct.error) as error:
            raise ValueError(f"student {name!r} cannot be read as GGUF: {_first_line(error)}") from None
        try:
            made.rename(folder)
        except OSError:
            # Another process may have finished the same content first: its folder is as good.
            if not folder.is_dir():
                raise
    return folder


def _unpack_gguf(file: Path, folder: Path) -> None:
    where, gguf_file = file.parent, file.name
    unpacked = _whole_model(where, gguf_file)
    # A model read from GGUF calls itself quantised and refuses to be saved: its tensors move into one that never was.
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(
            AutoConfig.from_pretrained(where, gguf_file=gguf_file, local_files_only=True), dtype=torch.float32
        )
    model.load_state_dict(unpacked.state_dict(), assign=True)
    model.tie_weights()
    model.generation_config = unpacked.generation_config
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(where, gguf_file=gguf_file, local_files_only=True).save_pretrained(folder)
    # The reader gives every byte-level vocabulary an unknown token, also where the file has none: its id would lie
    # beyond the embedding.
    saved = folder / "tokenizer.json"
    tokenizer = json.loads(saved.read_text())
    tokenizer["added_tokens"] = [token for token in tokenizer["added_tokens"] if token["id"] < model.config.vocab_size]
    saved.write_text(json.dumps(tokenizer))


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _first_line(error: Exception) -> str:
    """What went wrong in one line; libraries append advice for pages."""
    return str(error).strip().partition("\n")[0] or type(error).__name__
