from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildtool.errors import UsageError
from buildtool.plan.matrix import AXES, Matrix, sort
from buildtool.plan.planner import make_plan
from buildtool.plan.selection import on_machine, select, words_for


def wheels(matrix: Matrix, *words: str) -> list[str]:
    return [cell.wheel for cell in make_plan(matrix, select(matrix, words)).cells]


def test_the_headline_command_is_one_wheel_of_each_package(matrix: Matrix) -> None:
    assert wheels(matrix, "torch=2.8", "cuda=12.8") == [
        "sageattention-2.2.0-280.128-cp312-cp312-linux_x86_64.whl",
        "sageattn3-1.0.0-280.128-cp312-cp312-linux_x86_64.whl",
    ]


def test_no_words_mean_the_set_default(matrix: Matrix) -> None:
    assert select(matrix, []) == matrix.sets["default"] == select(matrix, ["set=default"])


def test_values_may_be_listed_and_repeated(matrix: Matrix) -> None:
    rest = ["cuda=12.8", "platform=linux_x86_64", "package=sageattention"]
    listed = select(matrix, ["torch=2.8,2.9", *rest])
    assert listed == select(matrix, ["torch=2.9", *rest, "torch=2.8"])
    assert [combo.torch for combo in listed] == ["2.8.0", "2.9.0"]


def test_sets_are_added_until_every_value_is_found(matrix: Matrix) -> None:
    both = select(matrix, ["torch=2.9,2.11", "cuda=12.8,13.0", "platform=linux_x86_64", "package=sageattention"])
    assert [(c.torch, c.cuda) for c in both] == [("2.9.0", "12.8"), ("2.11.0", "13.0")]


def test_beyond_the_sets_everything_declared_can_be_chosen(matrix: Matrix) -> None:
    assert {combo.torch for combo in select(matrix, ["torch=2.7.1", "cuda=12.8"])} == {"2.7.1"}


def test_sets_are_united(matrix: Matrix) -> None:
    united = select(matrix, ["set=release,h200"])
    assert set(united) == {*matrix.sets["release"], *matrix.sets["h200"]}


def test_within_a_set_only_its_cells(matrix: Matrix) -> None:
    chosen = select(matrix, ["set=release", "torch=2.7", "package=sageattention"])
    assert [combo.platform for combo in chosen] == ["linux_x86_64", "win_amd64"]


def test_all_pythons_of_the_selection_without_python(matrix: Matrix) -> None:
    chosen = select(matrix, ["set=all", "torch=2.8", "cuda=12.8", "platform=linux_x86_64"])
    assert [c.python for c in chosen] == ["3.9", "3.10", "3.11", "3.12", "3.13"]


def test_on_machine(matrix: Matrix) -> None:
    native = on_machine(matrix, select(matrix, ["set=release,manylinux"]), "linux", "x86_64")
    assert {combo.platform for combo in native} == {"linux_x86_64"}


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (["trch=2.8"], "unknown key 'trch'", "did you mean torch?"),
        (["torch"], "'torch' is not a selection", "write key=value"),
        (["torch="], "no declared torch matches ''", "valid: 2.5.0"),
        (["torch=2.88"], "no declared torch matches '2.88'", "did you mean 2.8?"),
        (["cuda=12.8,12.7"], "no declared cuda matches '12.7'", "valid: 12.1"),
        (["python=312"], "no declared python matches '312'", "did you mean 3.12?"),
        (["platform=linux_x86-64"], "no declared platform", "did you mean linux_x86_64?"),
        (["package=sageattn"], "no declared package", "valid: sageattention, sageattn3"),
        (["set=relase"], "no declared set", "did you mean release?"),
        (["torch=2.7", "cuda=13.0"], "no declared cell has cuda=13.0 together with torch=2.7", "valid: 12.6, 12.8"),
        (["torch=2.8", "python=3.14"], "has python=3.14 together with torch=2.8", "did you mean 3.13?"),
        (["set=h200", "cuda=12.8"], "no declared cell in set h200 has cuda=12.8", "valid: 13.0"),
        (["torch=2.7,2.8", "cuda=12.9"], "torch=2.7 together with cuda=12.9", "2.8"),
    ],
)
def test_what_matches_nothing_names_the_nearest(matrix: Matrix, words: list[str], message: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        select(matrix, words)
    assert message in caught.value.message
    assert hint in caught.value.hint


@given(st.data())
def test_any_cell_can_be_chosen_by_its_coordinates(matrix: Matrix, data: st.DataObject) -> None:
    combo = data.draw(st.sampled_from(matrix.combos))
    assert select(matrix, [f"{axis}={getattr(combo, axis)}" for axis in AXES]) == (combo,)


@given(st.data())
def test_a_selection_satisfies_its_words(matrix: Matrix, data: st.DataObject) -> None:
    axes = data.draw(st.sets(st.sampled_from(AXES)))
    combo = data.draw(st.sampled_from(matrix.combos))
    chosen = select(matrix, [f"{axis}={getattr(combo, axis)}" for axis in axes])
    assert chosen
    assert list(chosen) == sort(chosen)
    assert all(getattr(c, axis) == getattr(combo, axis) for c in chosen for axis in axes)


@given(st.data())
def test_words_for_choose_exactly_these(matrix: Matrix, data: st.DataObject) -> None:
    chosen = data.draw(st.sets(st.sampled_from(sort(matrix.sets["all"])), min_size=1, max_size=12))
    again = [select(matrix, words.split()) for words in words_for(matrix, chosen)]
    assert sorted(combo for found in again for combo in found) == sorted(chosen)


def test_words_for_a_block_are_one_selection(matrix: Matrix) -> None:
    words = ("package=sageattention", "torch=2.9.0,2.10.0", "cuda=12.6,12.8", "python=3.12", "platform=linux_x86_64")
    block = select(matrix, words)
    assert len(block) == 4
    assert words_for(matrix, block) == (" ".join(words),)
    assert len(words_for(matrix, block[:3])) == 2
