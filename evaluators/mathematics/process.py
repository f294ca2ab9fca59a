"""The process that compares answers: `python -m evaluators.mathematics.process MEMORY_BYTES CPU_SECONDS`.

It reads a JSON list [answer, given] a line, writes "same", "different" or "undecided" a line, and ends with its input.
The kernel ends it when one comparison takes more than CPU_SECONDS of processor time: so it stops also where its parent
was killed meanwhile, or where Python waits in a single operation on huge numbers.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from concurrent.futures import ThreadPoolExecutor

from evaluators.mathematics.equality import compare


def main() -> None:
    """Serve until the input ends."""
    memory_bytes, cpu_seconds = int(sys.argv[1]), float(sys.argv[2])
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when to stop
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="ascii")
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # so that no library writes among the replies
    print("ready", file=replies, flush=True)
    os.dup2(sys.stdout.fileno(), sys.stderr.fileno())
    # The parser and sympy raise whatever they like. A future holds what they raise as a value; the reply is undecided.
    with ThreadPoolExecutor(max_workers=1) as executor:
        for line in sys.stdin.buffer:
            answer, given = json.loads(line)
            signal.setitimer(signal.ITIMER_PROF, cpu_seconds)
            future = executor.submit(compare, answer, given)
            raised = future.exception()
            signal.setitimer(signal.ITIMER_PROF, 0)
            if isinstance(raised, MemoryError):
                return  # without a reply: what is left may not be sound, and a fresh process takes the next
            print("undecided" if raised is not None else future.result(), file=replies, flush=True)


if __name__ == "__main__":
    main()
