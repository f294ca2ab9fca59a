"""The character tokenizer of the tiny students: one token for a printable ASCII character, bytes for all others.

Numbers and short worked steps then cost as many tokens as they have characters, nothing has to be learnt before the
student, and every text survives the way there and back.
"""

from __future__ import annotations

from tokenizers import AddedToken, Tokenizer
from tokenizers.decoders import ByteFallback, Fuse
from tokenizers.decoders import Sequence as Decoders
from tokenizers.models import BPE
from transformers import PreTrainedTokenizerFast

PAD_TOKEN, PAD_TOKEN_ID = "<|pad|>", 0
EOS_TOKEN, EOS_TOKEN_ID = "<|end|>", 1
THINK_TOKENS = ("<think>", "</think>")
CHARACTERS = "\n" + "".join(chr(code) for code in range(0x20, 0x7F))
"""The characters with a token of their own: newline and printable ASCII."""

_OTHER_ASCII = tuple(code for code in range(0x80) if chr(code) not in CHARACTERS)
_UTF8_LATER = tuple(range(0x80, 0xC0))
_UTF8_FIRST = tuple(range(0xC2, 0xF5))  # C0, C1 and F5 to FF stand in no UTF-8 text
FALLBACK_BYTES = (*_OTHER_ASCII, *_UTF8_LATER, *_UTF8_FIRST)
"""The bytes that can occur in the UTF-8 form of any other character."""


def character_tokenizer(*, max_tokens: int) -> PreTrainedTokenizerFast:
    """Build the tokenizer; the same ids every time, 247 of them.

    `decode(encode(text)) == text` for every text that has a UTF-8 form. The think tags are one token each and stay in
    what is decoded; pad and end are special, so that `skip_special_tokens=True` leaves them out. Neither is added to
    a text by itself. Text that spells the pad or end token becomes that token, as in other tokenizers.

    Args:
        max_tokens: the longest sequence the model takes; longer ones draw a warning, nothing is cut.
    """
    pieces = [PAD_TOKEN, EOS_TOKEN, *THINK_TOKENS, *CHARACTERS, *(f"<0x{byte:02X}>" for byte in FALLBACK_BYTES)]
    # A merge table left empty keeps characters apart; a piece that merely looks like "<0x41>" in a text stays text.
    backend = Tokenizer(BPE({piece: token for token, piece in enumerate(pieces)}, [], byte_fallback=True))
    backend.decoder = Decoders([ByteFallback(), Fuse()])
    backend.add_special_tokens([PAD_TOKEN, EOS_TOKEN])
    backend.add_tokens([AddedToken(tag, normalized=False, special=False) for tag in THINK_TOKENS])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token=PAD_TOKEN,
        eos_token=EOS_TOKEN,
        model_max_length=max_tokens,
        clean_up_tokenization_spaces=False,
        padding_side="right",
    )
