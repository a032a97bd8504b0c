from __future__ import annotations

from pathlib import PurePosixPath, PureWindowsPath

from buildtool.make.binding import Spec, gnu_command, msvc_command
from buildtool.make.schedule import work_of
from buildtool.plan.cells import BuildPlan, Cell
from buildtool.plan.instances import parse_instances
from tests.integration.faults import INSTANCES, cell

GNU = """
c++ -std=c++20 -O2 -DNDEBUG -D_GLIBCXX_USE_CXX11_ABI=1 -fPIC -shared -fvisibility=hidden -fvisibility-inlines-hidden
-ffunction-sections -fdata-sections -Wall -Wextra -Werror -ffile-prefix-map=/t/torch/include=include
-ffile-prefix-map=/t/cuda=include -I. -Iinclude -isystem /t/torch/include -isystem /t/cuda binding/sageattention.cpp
-o /o/libsageattention.so -L/t/lib -Wl,--no-as-needed -lc10 -lc10_cuda -ltorch_cpu -ltorch -Wl,--as-needed -ldl
-Wl,--allow-shlib-undefined -Wl,--gc-sections -Wl,--build-id=none -Wl,-z,relro,-z,now,-z,noexecstack -Wl,-s
"""
MSVC = r"""
cl.exe /nologo /std:c++20 /O2 /DNDEBUG /MD /EHsc /bigobj /permissive- /Zc:__cplusplus /Zc:preprocessor /W3 /external:W0
/I. /Iinclude /external:I C:\t\include /d1trimfile:C:\t\include binding/sageattention.cpp /LD /FeC:\o\sageattention.dll
/FoC:\o\sageattention.obj /link /Brepro /LIBPATH:C:\t\lib c10.lib c10_cuda.lib torch_cpu.lib torch.lib /INCREMENTAL:NO
/OPT:REF /IMPLIB:C:\o\sageattention.lib /PDBALTPATH:%_PDB%
"""


def spec(platform: str = "linux_x86_64", *, cxx11_abi: bool = True, twin: bool = True) -> Spec:
    return Spec("binding/sageattention.cpp", platform, "2.13.0", 20, cxx11_abi, ("torch==2.13.0",), twin)


def test_the_command_for_gnu_compilers() -> None:
    includes = [PurePosixPath("/t/torch/include"), PurePosixPath("/t/cuda")]
    lib, output = PurePosixPath("/t/lib"), PurePosixPath("/o/libsageattention.so")
    assert gnu_command(spec(), "c++", includes, lib, output) == GNU.split()


def test_the_command_for_msvc() -> None:
    lib, output = PureWindowsPath(r"C:\t\lib"), PureWindowsPath(r"C:\o\sageattention.dll")
    assert msvc_command(spec("win_amd64"), "cl.exe", [PureWindowsPath(r"C:\t\include")], lib, output) == MSVC.split()


def test_symbols_that_the_linked_torch_does_not_have_are_let_through() -> None:
    for twin in (True, False):
        command = gnu_command(spec(twin=twin), "c++", [], PurePosixPath("l"), PurePosixPath("o"))
        assert ("-Wl,--unresolved-symbols=ignore-all" in command) is not twin
    old = gnu_command(spec(cxx11_abi=False), "c++", [], PurePosixPath("l"), PurePosixPath("o"))
    assert "-D_GLIBCXX_USE_CXX11_ABI=0" in old


def test_libraries_are_named_as_the_system_has_them() -> None:
    assert spec("linux_x86_64").library == "libsageattention.so"
    assert spec("win_amd64").library == "sageattention.dll"


def test_cells_share_cubins_and_bindings() -> None:
    cells: tuple[Cell, ...] = (cell("3.11"), cell("3.12"))
    work = work_of(BuildPlan(cells), parse_instances(INSTANCES))
    assert len(work.kernels) == 4
    assert len(work.bindings) == 1
    assert [set(kernels) for kernels in work.kernels_of] == [set(work.kernels)] * 2
    assert work.binding_of == work.bindings * 2
