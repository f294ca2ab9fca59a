"""A teacher that is asked only once: what it wrote is kept in a file, and a run that was killed goes on from there.

request --in the file?--> its completion
        --else--> teacher --one line, written through--> its completion
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

from curricula.types import Cost
from trainers.teachers.teacher import Completion, Refusal, Request, Teacher


class JournaledTeacher:
    """Answers from its journal what stands there, and asks another teacher for the rest.

    Refusals are not kept: what was refused once is asked for again by the next run.

    Example:
        JournaledTeacher(teacher, Path("rewrites.jsonl"), identity="Qwen/Qwen3-8B at temperature 0.6")
    """

    def __init__(self, teacher: Teacher, path: Path, *, identity: str) -> None:
        """Read what the journal has; `identity` says who writes and how: completions of another are not used.

        Raises:
            ValueError: a line of the file, other than a last one that was cut off, is no entry of a journal.
        """
        self._teacher, self._path, self._identity = teacher, path, identity
        self._known: dict[str, Completion] = {}
        if path.exists():
            self._read()

    @property
    def name(self) -> str:
        """Of the teacher that is asked."""
        return self._teacher.name

    def complete(self, requests: Sequence[Request]) -> Iterator[tuple[int, Completion | Refusal]]:
        """Answer every request once: those of the journal first, then the others as they are done.

        Raises:
            TeacherError: as the teacher that is asked does.
            OSError: the journal cannot be written.
        """
        places: defaultdict[str, list[int]] = defaultdict(list)
        for place, request in enumerate(requests):
            key = self._key(request)
            if key in self._known:
                yield place, self._known[key]
            else:
                places[key].append(place)
        asked = [requests[mine[0]] for mine in places.values()]
        if not asked:
            return
        waiting = list(places.values())
        keys = list(places)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8") as file:
            for index, completion in self._teacher.complete(asked):
                if isinstance(completion, Completion):
                    self._known[keys[index]] = completion
                    file.write(json.dumps({"key": keys[index], **dataclasses.asdict(completion)}) + "\n")
                    file.flush()
                for place in waiting[index]:
                    yield place, completion

    def _key(self, request: Request) -> str:
        content = json.dumps([self._identity, request.prompt, request.thinking, request.sample])
        return hashlib.sha256(content.encode()).hexdigest()

    def _read(self) -> None:
        whole = 0
        with self._path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if not line.endswith(b"\n"):  # the run was killed while it wrote
                    break
                whole += len(line)
                try:
                    entry = json.loads(line)
                    self._known[entry["key"]] = _completion(entry)
                except (ValueError, KeyError, TypeError) as error:
                    raise ValueError(
                        f"{self._path}, line {number}: no entry of a journal; move the file away to start anew"
                    ) from error
        if whole < self._path.stat().st_size:
            os.truncate(self._path, whole)


def _completion(entry: dict[str, object]) -> Completion:
    """The completion of a line that `complete` wrote."""
    cost = cast(dict[str, float], entry["cost"])
    return Completion(
        reasoning=cast(str | None, entry["reasoning"]),
        text=cast(str, entry["text"]),
        prompt_tokens=cast(int, entry["prompt_tokens"]),
        output_tokens=cast(int, entry["output_tokens"]),
        finished=cast(bool, entry["finished"]),
        cost=Cost(flops=int(cost["flops"]), tokens=int(cost["tokens"]), dollars=cost["dollars"]),
    )
