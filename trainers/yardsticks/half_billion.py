"""A larger student than any that is at hand: 0.5 B random weights in the shape of a Llama."""

from __future__ import annotations

import torch
from transformers import AutoModelForCausalLM, LlamaConfig

from trainers.student import Student


def half_billion(student: Student) -> Student:
    """A student with another's tokenizer and 36 blocks of width 1,024: with 49,152 tokens 0.54 B parameters."""
    config = LlamaConfig(
        vocab_size=student.model.config.get_text_config().vocab_size,
        hidden_size=1024,
        intermediate_size=3072,
        num_hidden_layers=36,
        num_attention_heads=16,
        num_key_value_heads=16,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
        pad_token_id=student.pad_id,
        bos_token_id=None,
        eos_token_id=student.end_id,
    )
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation="sdpa")
    return Student(name="a random Llama of 0.5 B", model=model.train(), tokenizer=student.tokenizer)
