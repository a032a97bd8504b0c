from __future__ import annotations

from buildtool.plan.matrix import Matrix
from buildtool.render.tables import archs_table, cells_table, markdown, readme_sections, sets_table


def rows(table: str) -> list[list[str]]:
    return [[part.strip() for part in line.strip("|").split("|")] for line in table.splitlines()]


def test_markdown_reads_as_a_table_in_the_source() -> None:
    assert markdown(["a", "bb"], [["ccc", ""]]) == "| a   | bb |\n| --- | -- |\n| ccc |    |"


def test_marks_of_the_cells(matrix: Matrix) -> None:
    header, _, *body = rows(cells_table(matrix))
    marks = {line[0]: dict(zip(header, line, strict=True)) for line in body}
    assert marks["2.8"]["CUDA 12.8"] == "●"
    assert marks["2.8"]["CUDA 12.6"] == "○"
    assert marks["2.8"]["CUDA 12.9"] == "◌"
    assert marks["2.8"]["CUDA 13.0"] == ""
    assert marks["2.8"]["Python"] == "3.9–3.13"
    counts = {mark: sum(line.count(mark) for line in body) for mark in "●○◌"}
    declared = sum(len(torch.cuda) + len(torch.experimental_cuda) for torch in matrix.facts.torch.values())
    assert sum(counts.values()) == declared


def test_architectures_name_what_only_arm_has(matrix: Matrix) -> None:
    [line] = [line for line in rows(archs_table(matrix)) if line[0] == "13.0"]
    assert line[1].endswith("; on Arm `sm_110f`")


def test_sets_count_their_wheels(matrix: Matrix) -> None:
    assert ["`all`", matrix.facts.set["all"].about, str(len(matrix.sets["all"]))] in rows(sets_table(matrix))


def test_every_section_is_a_table(matrix: Matrix) -> None:
    for content in readme_sections(matrix).values():
        assert content.startswith("| ")
