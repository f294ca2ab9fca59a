"""What a comparison leaves: compare.json, byte for byte the same however often it was stopped, and timings.json.

compare.json    settings that all cells share, and a row for each cell: its scores and FLOPs, or why it failed
timings.json    a row for each finished cell: seconds, dollars, memory, and what was lost
runs/           a run folder for each cell, as experiments.adaptive leaves it
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from controller.config import Json, RunConfig, config_dict, differing_fields, policy_spec
from controller.files import write_whole
from controller.record import IDENTITY, SUMMARY
from controller.session import LIBRARIES
from experiments.comparison.grid import AXES, OTHER_BUDGETS, Cell

COMPARISON, CLOCKS, RUNS = "compare.json", "timings.json", "runs"

Row = dict[str, Json]


def shared_settings(settings: RunConfig, corpora: Mapping[str, str]) -> dict[str, Json]:
    """What has to be the same for cells to be compared.

    Args:
        corpora: the fingerprint of each corpus, by its name on the command line.
    """
    fields = {name: value for name, value in config_dict(settings).items() if name not in (*AXES, *OTHER_BUDGETS)}
    versions: dict[str, Json] = {name: version(name) for name in LIBRARIES}
    return {**fields, "corpora": dict(sorted(corpora.items())), "versions": versions}


class ComparisonRecord:
    """The one writer of a comparison's folder."""

    def __init__(self, folder: Path, settings: Mapping[str, Json], cells: Mapping[Cell, RunConfig]) -> None:
        """Open a new comparison, or one to go on with; rows that are there stay, whether `cells` has them or not.

        Raises:
            ValueError: the folder's cells were run with other settings, which are named.
        """
        self.folder, self._cells = folder, cells
        self.rows, self._clocks = dict[Cell, Row](), dict[Cell, Row]()
        self._settings = dict(settings)
        if (folder / COMPARISON).exists():
            self._take_over(json.loads((folder / COMPARISON).read_text(encoding="utf-8")))
        for cell in self.rows:
            if "error" not in self.rows[cell] and (self.run_folder(cell) / SUMMARY).exists():
                self._read(cell)
        for cell, config in cells.items():
            if (self.run_folder(cell) / SUMMARY).exists():
                self._read(cell)
                self._check_policy(cell, config)
            else:
                self.rows.pop(cell, None)  # it failed, or its folder is gone: it is run again
        self.write()

    @property
    def missing(self) -> list[Cell]:
        """The cells that are to be run, in order."""
        return [cell for cell in self._cells if cell not in self.rows]

    def run_folder(self, cell: Cell) -> Path:
        """Where a cell's run lies."""
        return self.folder / RUNS / cell.folder

    def finish(self, cell: Cell) -> Row:
        """Take a finished run into the comparison.

        Raises:
            ValueError: its student or corpus is not what other cells of that name were run with.
        """
        self._read(cell)
        self.write()
        return self.rows[cell]

    def fail(self, cell: Cell, reason: str) -> None:
        """Take down why a cell has no result."""
        self.rows[cell] = {**_key(cell), "folder": f"{RUNS}/{cell.folder}", "error": reason}
        self.write()

    def write(self) -> None:
        """Both files, whole; rows stand in the order of their keys, whenever they came."""
        rows: list[Json] = [dict(self.rows[cell]) for cell in sorted(self.rows)]
        clocks: list[Json] = [dict(self._clocks[cell]) for cell in sorted(self._clocks)]
        write_whole(self.folder / COMPARISON, _text({"settings": self._settings, "rows": rows}))
        write_whole(self.folder / CLOCKS, _text({"rows": clocks}))

    def _take_over(self, old: Mapping[str, Json]) -> None:
        theirs = old["settings"]
        assert isinstance(theirs, dict)
        ours, corpora, others = dict(self._settings), self._settings["corpora"], theirs["corpora"]
        assert isinstance(corpora, dict) and isinstance(others, dict)
        # A grid may name other corpora: only those of the same name have to agree.
        union: dict[str, Json] = dict(sorted({**others, **corpora}.items()))
        both = {name: others.get(name, fingerprint) for name, fingerprint in union.items()}
        if changed := differing_fields({**ours, "corpora": union}, {**theirs, "corpora": both}):
            raise ValueError(
                f"{self.folder} holds a comparison with other settings, whose cells cannot stand beside these: "
                f"{'; '.join(changed)}; name another --output_dir"
            )
        self._settings["corpora"] = union
        for row in _rows(old):
            self.rows[_cell(row)] = row
        if (self.folder / CLOCKS).exists():
            clocks = json.loads((self.folder / CLOCKS).read_text(encoding="utf-8"))
            self._clocks = {_cell(row): row for row in _rows(clocks)}

    def _read(self, cell: Cell) -> None:
        folder = self.run_folder(cell)
        summary = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
        identity = json.loads((folder / IDENTITY).read_text(encoding="utf-8"))
        corpora = self._settings["corpora"]
        assert isinstance(corpora, dict)
        if identity["corpus_fingerprint"] != corpora[cell.corpus]:
            raise ValueError(f"{folder} was run on another corpus than {cell.corpus} is now; name another --output_dir")
        self.rows[cell] = _result_row(cell, identity, summary)
        self._clocks[cell] = {
            **_key(cell),
            **{name: summary[name] for name in ("wall_seconds", "train_seconds", "spent", "lost", "peak_worker_bytes")},
            **{name: summary.get(name) for name in ("latency", "peak_train_bytes")},  # early summaries have none
        }
        for other, row in self.rows.items():
            same = (other.student, other.seed) == (cell.student, cell.seed) and "error" not in row
            if same and row["student_digest"] != identity["student_digest"]:
                raise ValueError(
                    f"{folder} was run with another student {cell.student} than {row['folder']}; its weights changed; "
                    "name another --output_dir"
                )

    def _check_policy(self, cell: Cell, config: RunConfig) -> None:
        theirs = self.rows[cell]["policy_spec"]
        assert isinstance(theirs, dict)
        if changed := differing_fields(policy_spec(config.policy), theirs):
            raise ValueError(
                f"{self.run_folder(cell)} was run with another {cell.policy}: {'; '.join(changed)}; "
                "name another --output_dir"
            )


def read_rows(folder: Path) -> list[Row]:
    """The rows of a comparison's compare.json, failed cells among them.

    Raises:
        ValueError: there is none.
    """
    path = folder / COMPARISON
    if not path.exists():
        raise ValueError(f"{folder} holds no comparison (no {COMPARISON})")
    return _rows(json.loads(path.read_text(encoding="utf-8")))


def _result_row(cell: Cell, identity: Mapping[str, Json], summary: Mapping[str, Json]) -> Row:
    charges, recorded, promise = summary["charges"], summary["recorded"], summary["replay"]
    assert isinstance(charges, dict) and isinstance(recorded, dict) and isinstance(promise, dict)
    return {
        **_key(cell),
        "folder": f"{RUNS}/{cell.folder}",
        "policy_spec": summary["policy"],
        "student_digest": identity["student_digest"],
        **{split: summary[split] for split in ("dev", "test") if split in summary},
        "flops": {**charges, **recorded},
        "spent_flops": summary["spent_flops"],
        "stages": summary["stages"],
        "mix_by_examples": summary["mix_by_examples"],
        "mix_by_flops": summary["mix_by_flops"],
        "difficulty": summary["difficulty"],
        "serving_bytes": summary.get("serving_bytes"),
        "bitwise": promise["bitwise"],
    }


def _key(cell: Cell) -> Row:
    return {field.name: vars(cell)[field.name] for field in dataclasses.fields(cell)}


def _cell(row: Mapping[str, Json]) -> Cell:
    return Cell(
        corpus=str(row["corpus"]),
        student=str(row["student"]),
        total_flops=int(str(row["total_flops"])),
        policy=str(row["policy"]),
        seed=int(str(row["seed"])),
    )


def _rows(data: Mapping[str, Json]) -> list[Row]:
    rows = data["rows"]
    assert isinstance(rows, list)
    return [row for row in rows if isinstance(row, dict)]


def _text(data: Sequence[Json] | Mapping[str, Json]) -> str:
    return json.dumps(data, indent=1, ensure_ascii=False) + "\n"
