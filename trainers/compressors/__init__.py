"""Compressors: shorter traces from full ones, each a small class behind `Compressor`.

    truncated   the beginning of a trace: the length-matched control
    steps       whole steps left out: checks and repetitions first, then what a small model finds least informative
    tokens      words left out that a small model finds to depend least on the answer
    rewrite     an instruct model writes it shorter

Nothing here is loaded before it is asked for: a driver names a compressor by its `CompressorSpec` and stays without
torch.
"""
