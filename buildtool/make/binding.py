"""The host library: one C++ file compiled against torch's headers, cached per torch release and platform.

Its dynamic section names torch's libraries and the C and C++ runtimes, nothing of CUDA: the driver is opened at run
time. It carries no paths of the building machine and no symbols beyond what loading needs.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from buildtool.errors import CompileError
from buildtool.make.compilers import Compiler
from buildtool.make.runner import Runner
from buildtool.make.sources import closure
from buildtool.make.store import Store, digest
from buildtool.make.toolchain import TorchTree

KIND = "binding"
INCLUDE_FOLDERS = (".", "include")
_TORCH_LIBRARIES = ("c10", "c10_cuda", "torch_cpu", "torch")
_RECIPE = 1


@dataclass(frozen=True)
class Spec:
    """One binding to be."""

    source: str
    """Path below ``kernels/``, e.g. ``binding/sageattention.cpp``."""
    platform: str
    torch: str
    cxx_standard: int
    cxx11_abi: bool
    header_pins: tuple[str, ...]
    twin: bool = True
    """Whether the torch that it is linked against has the ABI of the torch that it is for."""

    @property
    def library(self) -> str:
        """File name of the result."""
        stem = PurePath(self.source).stem
        return f"{stem}.dll" if self.platform.startswith("win") else f"lib{stem}.so"


def gnu_command(spec: Spec, compiler: str, includes: Sequence[PurePath], lib: PurePath, output: PurePath) -> list[str]:
    """The g++ command line, to be run in ``kernels/``: compile and link in one step."""
    foreign = [] if spec.twin else ["-Wl,--unresolved-symbols=ignore-all"]
    return [
        compiler,
        f"-std=c++{spec.cxx_standard}",
        "-O2",
        "-DNDEBUG",
        f"-D_GLIBCXX_USE_CXX11_ABI={int(spec.cxx11_abi)}",
        "-fPIC",
        "-shared",
        "-fvisibility=hidden",
        "-fvisibility-inlines-hidden",
        "-ffunction-sections",
        "-fdata-sections",
        "-Wall",
        "-Wextra",
        "-Werror",
        *(f"-ffile-prefix-map={folder}=include" for folder in includes),
        *(f"-I{folder}" for folder in INCLUDE_FOLDERS),
        *(word for folder in includes for word in ("-isystem", str(folder))),
        spec.source,
        "-o",
        str(output),
        f"-L{lib}",
        "-Wl,--no-as-needed",
        *(f"-l{name}" for name in _TORCH_LIBRARIES),
        "-Wl,--as-needed",
        "-ldl",  # where glibc is older than 2.34, dlopen is not in libc
        "-Wl,--allow-shlib-undefined",
        *foreign,
        "-Wl,--gc-sections",
        "-Wl,--build-id=none",
        "-Wl,-z,relro,-z,now,-z,noexecstack",
        "-Wl,-s",
    ]


def msvc_command(spec: Spec, compiler: str, includes: Sequence[PurePath], lib: PurePath, output: PurePath) -> list[str]:
    """The cl.exe command line, to be run in ``kernels/``: deterministic (``/Brepro``), without paths (``/pathmap``)."""
    return [
        compiler,
        "/nologo",
        f"/std:c++{spec.cxx_standard}",
        "/O2",
        "/DNDEBUG",
        "/MD",
        "/EHsc",
        "/bigobj",
        "/permissive-",
        "/Zc:__cplusplus",
        "/Zc:preprocessor",
        "/W3",
        "/external:W0",
        *(f"/I{folder}" for folder in INCLUDE_FOLDERS),
        *(word for folder in includes for word in ("/external:I", str(folder))),
        *(f"/d1trimfile:{folder}" for folder in includes),
        spec.source,
        "/LD",
        f"/Fe{output}",
        f"/Fo{output.with_suffix('.obj')}",
        "/link",
        "/Brepro",
        f"/LIBPATH:{lib}",
        *(f"{name}.lib" for name in _TORCH_LIBRARIES),
        "/INCREMENTAL:NO",
        "/OPT:REF",
        f"/IMPLIB:{output.with_suffix('.lib')}",
        "/PDBALTPATH:%_PDB%",
    ]


def command_for(spec: Spec, compiler: str, includes: Sequence[PurePath], lib: PurePath, output: PurePath) -> list[str]:
    """The command line of the compiler that the platform has."""
    if spec.platform.startswith("win"):
        return msvc_command(spec, compiler, includes, lib, output)
    return gnu_command(spec, compiler, includes, lib, output)


def make(spec: Spec, *, kernels: Path, tree: TorchTree, compiler: Compiler, store: Store, runner: Runner) -> Path:
    """Compile the binding and keep it; returns the library in the store."""
    key = cache_key(spec, kernels, compiler, runner)

    def fill(folder: Path) -> None:
        command = command_for(spec, compiler.program, tree.include_folders, tree.lib, folder / spec.library)
        result = runner.run(command, cwd=kernels, env=compiler.env, timeout=1800)
        for name in (".obj", ".lib", ".exp"):  # what cl.exe leaves beside the library
            (folder / spec.library).with_suffix(name).unlink(missing_ok=True)
        if result.returncode != 0:
            raise CompileError(
                f"kernels/{spec.source} does not compile against torch {spec.torch} for {spec.platform}:\n"
                f"{_messages(result.stderr)}",
                f"correct it, or see the whole command with -v; the compiler is {compiler.program}",
            )

    return store.put(KIND, key, fill) / spec.library


def cached(spec: Spec, *, kernels: Path, compiler: Compiler, store: Store, runner: Runner) -> Path | None:
    """The binding from the store, if it was built before."""
    folder = store.get(KIND, cache_key(spec, kernels, compiler, runner))
    return folder / spec.library if folder is not None else None


def cache_key(spec: Spec, kernels: Path, compiler: Compiler, runner: Runner) -> str:
    """Everything the library's bytes depend on."""
    return digest(
        {
            "recipe": _RECIPE,
            "command": command_for(spec, "c++", (), PurePath("lib"), PurePath("out")),
            "compiler": compiler.identity(runner),
            "torch": spec.torch,
            "platform": spec.platform.removeprefix("manylinux_2_28_").removeprefix("linux_"),
            "headers": spec.header_pins,
            "files": closure(kernels, spec.source, INCLUDE_FOLDERS).files,
        }
    )


def _messages(stderr: str, limit: int = 40) -> str:
    lines = [re.sub(r"^((?:binding|launch|include)/)", r"kernels/\1", line) for line in stderr.splitlines()]
    kept = [line for line in lines if "error" in line or line.startswith("kernels/")] or lines
    return "\n".join(kept[:limit])
