"""The benchmark runs through its own command line, and counts the memory of whom it says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from curricula.corpus import Corpus
from curricula.procedural import generate
from experiments.benchmark import main
from experiments.speed.bars import verdicts
from experiments.speed.bf16 import in_bf16
from experiments.speed.figures import Measured, figures_of
from experiments.speed.generation import Round as Answered
from experiments.speed.generation import figures_of as generation_figures
from experiments.speed.memory import WORKER, PeakMemory, memory_now
from experiments.speed.sides import Match, Played, Process, Round, RowSet, SideError

HELD_BYTES = 60 << 20
_HOLD = f"held = bytearray({HELD_BYTES}); held[::4096] = b'x' * len(held[::4096]); print(flush=True); input()"


@pytest.mark.parametrize("name", [f"{WORKER}(MapBatches)", "ray::Other"])
def test_a_process_below_counts_by_its_name(name: str) -> None:
    with PeakMemory() as peak:
        before = memory_now()
        with subprocess.Popen(
            [name, "-c", _HOLD], executable=sys.executable, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            during = memory_now()
            process.communicate("\n")
    grown = during.workers_bytes - before.workers_bytes, during.daemons_bytes - before.daemons_bytes
    worker = name.startswith(WORKER)
    assert grown[0 if worker else 1] >= HELD_BYTES
    assert grown[1 if worker else 0] < HELD_BYTES
    assert peak.memory.driver_bytes > 0


def test_traces_are_measured_and_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sizes = ["--rows", "700", "--small_rows", "400", "--repeats", "2", "--workers", "0"]
    main(["traces", "--output", str(tmp_path / "speed.json"), "--work_dir", str(tmp_path), *sizes])
    figures = json.loads((tmp_path / "speed.json").read_text())
    assert [(one["step"], one["rows"]) for one in figures["large"]] == [
        ("import", 700),
        ("verify", 700),
        ("compress", 700),
    ]
    assert [one["rows"] for one in figures["small"]] == [400] * 6
    assert all(one["rows_per_second"] > 0 and one["peak"]["driver_bytes"] > 0 for one in figures["small"])
    assert set(figures["small_median_rows_per_second"]) == {"import", "verify", "compress"}
    assert [path.name for path in tmp_path.iterdir()] == ["speed.json"]
    assert "rows/s" in capsys.readouterr().out


def test_planning_is_measured_and_held_against_its_bars(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sizes = ["--parts", "[planning]", "--many_rows", "300", "--few_rows", "300", "--examples", "300", "--rounds", "2"]
    main(["trainer", "--output", str(tmp_path / "speed.json"), "--work_dir", str(tmp_path), "--only", "tiny", *sizes])
    figures = json.loads((tmp_path / "speed.json").read_text())
    assert set(figures["seconds"]) == {"plan_million_fixed", "plan_million_routed"}
    assert set(figures["bars"]) == {f"plan_million_{name}" for name in ("fixed", "mixed", "routed", "adaptive")}
    assert [one["policy"] for one in figures["rows"]["planning"]] == [
        name for name in ("Fixed", "Mixed", "Routed", "Adaptive") for _ in range(2)
    ]
    assert all(one["steps"] > 0 and one["peak_bytes"] > 0 for one in figures["rows"]["planning"])
    assert figures["environment"]["cores"] >= 1
    assert "at least" not in capsys.readouterr().out  # only the bars of what was measured


def test_ratios_are_of_medians_and_named_by_student() -> None:
    speeds = {"ours": [300, 100, 200], "trl_default": [100, 90, 110], "trl_grouped": [150, 160, 140]}
    speeds |= {"trl_bare": [50, 50, 50], "bare_loop": [210, 190, 200]}
    rounds = tuple(
        Round(side=side, steps=10, seconds=10.0, cpu_seconds=5.0, tokens=10 * speed, positions=20 * speed)
        for side, found in speeds.items()
        for speed in found
    )
    figures = figures_of(
        Measured(
            played=tuple(
                Played(match=_match(student, rows), rounds=rounds, told={}, load_before=0.0, load_after=0.0)
                for student in ("tiny", "folder/of/a/larger-one")
                for rows in ("similar", "mixed")
            ),
            next_stage_seconds={"ours": (0.02, 0.5, 0.04), "trl": (7.0, 6.0, 8.0)},
            many_rows=10,
        )
    )
    assert figures.ratios == {
        "tiny_similar_vs_default": 2.0,
        "tiny_similar_vs_bare_loop": 1.0,
        "tiny_mixed_vs_default": 2.0,
        "tiny_mixed_vs_grouped": pytest.approx(4 / 3),
        "smollm_similar_vs_default": 2.0,
        "smollm_mixed_vs_default": 2.0,
    }
    assert figures.seconds == {"next_stage_warm": 0.04, "next_stage_plain_trl": 7.0}
    found = verdicts(figures)
    assert found["tiny_mixed_vs_default"] == "at least 2.5: MISS"
    assert found["tiny_mixed_vs_grouped"] == "at least 1.1: pass"
    assert found["next_stage_warm"] == "under 0.1: pass"
    assert "next_stage_plain_trl" not in found


def _match(student: str, rows: RowSet) -> Match:
    return Match(
        student=student,
        rows=rows,
        corpus=Path("corpus"),
        cache_dir=Path("cache"),
        max_tokens=64,
        max_rows=10,
        step_tokens=64,
        micro_batch_tokens=64,
        threads=1,
        warmup_steps=1,
        round_steps=1,
        rounds=1,
    )


def test_a_side_that_fails_says_why_in_one_line() -> None:
    flags = ["--policy", "no-such-policy", "--rows", "1"]
    with (
        pytest.raises(SideError, match="no-such-policy"),
        Process("experiments.speed.planning", flags, threads=1) as process,
    ):
        process.answers()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["trace"], "unknown command 'trace' (did you mean traces"),
        (["traces"], "output"),
        (["traces", "--output", "f", "--repeats", "0"], "at least 1"),
        (["trainer", "--output", "f", "--only", "tiny", "--rounds", "0"], "--rounds must be at least 1"),
        (["trainer", "--output", "f"], "--only tiny"),
        (["generation", "--output", "f"], "--only tiny"),
    ],
)
def test_what_cannot_be_measured_is_one_line(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(arguments)
    assert words in capsys.readouterr().err.splitlines()[-1]


def test_generation_is_compared_answer_by_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sizes = ["--only", "tiny", "--prompts", "3", "--examples", "300", "--train_steps", "2", "--rounds", "1"]
    main(["generation", "--output", str(tmp_path / "speed.json"), "--cache_dir", str(tmp_path / "cache"), *sizes])
    figures = json.loads((tmp_path / "speed.json").read_text())
    assert set(figures["ratios"]) == set(figures["identical"]) == {"tiny"}
    assert figures["identical"]["tiny"] == 1.0 and figures["ratios"]["tiny"] > 0
    assert [one["side"] for one in figures["rows"]] == ["ours", "plain"]
    assert all(len(one["output_tokens"]) == 3 and one["cpu_seconds"] > 0 for one in figures["rows"])
    accuracy = figures["accuracy_bf16"]["tiny"]
    assert accuracy["n"] == 3 and accuracy["difference"] == pytest.approx(accuracy["ours"] - accuracy["plain"])
    assert all(0 <= figures[name]["tiny"] <= 1 for name in ("identical_bf16_batches", "plain_bf16_itself"))
    assert figures["identical_bf16"] == {"tiny": 1.0}
    shown = capsys.readouterr().out
    assert "by CPU" in shown and "weights in bf16" in shown


def test_answers_in_bf16_are_compared_row_by_row_and_graded_by_the_rules() -> None:
    corpus = Corpus.build(generate(examples=600, seed=4), name="small")
    rows = corpus.rows("test")[:8].tolist()
    assert len(rows) == 8
    right = [(corpus.examples["answer"][row].as_py(), 3) for row in rows]
    unclosed = [(f"<think>{text}", tokens + 1) for text, tokens in right]
    plain = [*right[:6], *unclosed[6:]]
    ours = [*right[:3], *unclosed[3:5], *right[5:7], *unclosed[7:]]
    alone = [right[0], unclosed[1], right[2], unclosed[3]]
    found = in_bf16({"ours": ours, "plain": plain, "alone": alone}, corpus, mathematics=False)
    assert (found.identical, found.identical_to_batches, found.plain_itself) == (3 / 4, 5 / 8, 1 / 2)
    accuracy = found.accuracy
    assert (accuracy.ours, accuracy.plain, accuracy.n) == (5 / 8, 6 / 8, 8)
    assert accuracy.difference == -1 / 8
    assert accuracy.ci95 is not None and accuracy.ci95[0] < -1 / 8 < accuracy.ci95[1]
    same = in_bf16({"ours": plain, "plain": plain, "alone": plain}, corpus, mathematics=False)
    assert (same.identical, same.plain_itself, same.accuracy.difference, same.accuracy.ci95) == (1, 1, 0, None)


def test_answers_are_the_same_only_if_every_round_of_both_sides_gave_them() -> None:
    def one(side: str, seconds: float, *digests: str) -> Answered:
        return Answered(
            student="tiny", side=side, seconds=seconds, cpu_seconds=2 * seconds, output_tokens=(5, 5), digests=digests
        )

    figures = generation_figures(
        [
            one("ours", 1.0, "a", "b"),
            one("plain", 4.0, "a", "b"),
            one("ours", 3.0, "a", "b"),
            one("plain", 8.0, "a", "c"),
        ]
    )
    assert figures.identical == {"tiny": 0.5}
    assert figures.ratios["tiny"] == pytest.approx((10 / 1.0 + 10 / 3.0) / (10 / 4.0 + 10 / 8.0))
