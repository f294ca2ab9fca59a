"""Graders as a user may bring them, good and bad. They run in a process of their own."""

from __future__ import annotations

import os
import threading

NO_FUNCTION = 7


def same_length(prompt: str, answer: str, output: str) -> bool:
    """A right one, of which a test can say what it must say."""
    print("chatter", flush=True)
    return len(output) == len(answer) and bool(prompt)


def on_main_thread(prompt: str, answer: str, output: str) -> bool:
    """Libraries that set alarms work only there."""
    return threading.current_thread() is threading.main_thread()


def moody(prompt: str, answer: str, output: str) -> bool:
    """Does what the output says, or is right."""
    match output:
        case "raise":
            raise ValueError("no number\nin it")
        case "exit":
            raise SystemExit(3)
        case "die":
            os._exit(4)
        case "spin":
            while True:
                pass
        case "wait":
            threading.Event().wait()
        case "not a bool":
            return 1  # pyright: ignore[reportReturnType] the fault in question
        case "read":
            return input() == ""
    return True


def of_two(answer: str, output: str) -> bool:
    """Cannot be called with three texts."""
    return answer == output
