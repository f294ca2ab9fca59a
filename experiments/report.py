"""Run folders as one page to read, for one run or a comparison of many. The page asks nothing of a network.

python -m experiments.report runs/first                                rewrites runs/first/report.html
python -m experiments.report runs/procedural                           a comparison: writes into its folder
python -m experiments.report runs/a runs/b --output_dir reports/both   any runs and comparisons together

report.html answers four questions in order: how good the students are, on what, what a correct answer costs, and so
which supervision to use. Prices, volumes and limits are flags (docs/report.md).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from controller.files import write_whole
from controller.record import IDENTITY, read_run
from experiments.command_line import CommandLine, HelpFormatter, fail, one_line
from experiments.findings.finding import find
from experiments.findings.findings import Findings, Reader
from experiments.findings.reader import ReaderFlags, reader_of
from experiments.findings.reading import read_runs
from experiments.findings.writing import write_findings
from experiments.page.whole import report_page

PAGE = "report.html"


def write_report(run_dir: Path) -> Path:
    """Write report.html into a run's folder, finished or not, and return its path. The same record, the same bytes.

    Raises:
        ValueError: the folder holds no run, or its record cannot be read.
    """
    findings, _ = gather([run_dir], ReaderFlags())
    return write_page(findings, run_dir)


def gather(folders: Sequence[Path], flags: ReaderFlags) -> tuple[Findings, Reader]:
    """Read the folders and find what their runs say together, under what the reader states.

    Raises:
        ValueError: none of them holds a run, or a flag is out of range.
    """
    read = read_runs(folders)
    reader = reader_of(flags, read.runs)
    return find(read, reader), reader


def write_page(findings: Findings, folder: Path) -> Path:
    """Write report.html, whole, and return its path.

    Raises:
        ValueError: the record of an unfinished run cannot be read.
    """
    unfinished = [(path, read_run(path)) for path in findings.unfinished]
    path = folder / PAGE
    write_whole(path, report_page(findings, unfinished))
    return path


def command_line() -> CommandLine:
    """The flags of this command."""
    parser = CommandLine(
        prog="python -m experiments.report",
        usage="%(prog)s DIR [DIR ...] [--output_dir DIR] [--field value]",
        description=__doc__,
        formatter_class=HelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("folders", type=Path, nargs="+", help="run folders, and folders of comparisons")
    parser.add_argument(
        "--output_dir", type=Path, default=None, help="where to write; one folder is written into itself"
    )
    parser.add_class_arguments(ReaderFlags, None)
    parser.describe(ReaderFlags)
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    given = command_line().read(arguments)
    flags = ReaderFlags(**{field.name: given[field.name] for field in dataclasses.fields(ReaderFlags)})
    folders, output_dir = given["folders"], given["output_dir"]
    if output_dir is None and len(folders) > 1:
        fail("several folders have no page of their own: name an --output_dir")
    try:
        findings, _ = gather(folders, flags)
        into = folders[0] if output_dir is None else output_dir
        into.mkdir(parents=True, exist_ok=True)
        is_run = output_dir is None and (into / IDENTITY).exists()  # its folder holds a run's files and nothing else
        for path in (write_page(findings, into), *(() if is_run else write_findings(findings, into))):
            print(path)
    except (ValueError, OSError) as error:
        fail(one_line(str(error), ()))


if __name__ == "__main__":
    main()
