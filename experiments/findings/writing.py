"""Findings as files: report.md in tables and words, and a CSV file for each table of figures."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path

from experiments.findings.findings import Findings
from experiments.findings.tables import Row, TextOrNumber, tables
from experiments.findings.words import report_text

REPORT = "report.md"


def write_findings(findings: Findings, output_dir: Path) -> tuple[Path, ...]:
    """Write report.md and the CSV files; the same findings, the same bytes.

    A table without rows has no file, and one of an earlier report in this folder is deleted.
    """
    output_dir.mkdir(parents=True, exist_ok=True)
    (output_dir / REPORT).write_text(report_text(findings), encoding="utf-8")
    written = [output_dir / REPORT]
    for name, rows in tables(findings).items():
        path = output_dir / f"{name}.csv"
        if rows:
            path.write_text(csv_text(rows), encoding="utf-8")
            written.append(path)
        else:
            path.unlink(missing_ok=True)
    return tuple(written)


def csv_text(rows: Sequence[Row]) -> str:
    """Rows as CSV with a header, columns in the order in which they come up; nothing where a row has no such cell.

    A spreadsheet takes text that begins with =, +, -, @ or a tab for a formula: such text gets an apostrophe before it.
    Line ends in text become spaces. Numbers are written as they are.
    """
    columns = list(dict.fromkeys(name for row in rows for name in row))
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([_cell(name) for name in columns])
    writer.writerows([[_cell(row.get(name)) for name in columns] for row in rows])
    return file.getvalue()


def _cell(value: TextOrNumber) -> TextOrNumber:
    if not isinstance(value, str):
        return value
    line = re.sub(r"[\r\n]+", " ", value)
    return f"'{line}" if re.match(r"\s*[=+\-@\t]", line) else line
