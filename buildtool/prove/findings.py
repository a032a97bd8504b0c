"""Findings: what is wrong with a wheel, each with a stable code, a level, what was expected and seen, and a remedy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Literal

Level = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class Kind:
    """A kind of finding: its level and the remedy that is always the same."""

    level: Level
    remedy: str


@dataclass(frozen=True)
class Finding:
    """One thing found in one wheel. ``where`` is a member, symbol or field, empty if it is the wheel itself."""

    code: str
    where: str
    expected: str
    seen: str

    @property
    def level(self) -> Level:
        return CATALOGUE[self.code].level

    @property
    def remedy(self) -> str:
        return CATALOGUE[self.code].remedy

    def __str__(self) -> str:
        place = f" {self.where}:" if self.where else ""
        return f"{self.level} {self.code}:{place} expected {self.expected}; saw {self.seen}; {self.remedy}"

    def to_json(self) -> dict[str, str]:
        return {**asdict(self), "level": self.level, "remedy": self.remedy}


_REBUILD = "build the wheel again from a clean cache"
_BACKEND = "build the wheel with buildtool's backend and do not edit it afterwards"
_LINK = "link the binding with the flags of buildtool's own build"
_CONTAINER = "link the release build in the container of the platform tag, or keep the linux_* tag"

_TABLE: dict[str, Kind] = {
    # The zip
    "zip.unreadable": Kind("error", "the file is cut off or no zip: fetch or build it again"),
    "zip.member": Kind("error", "the file is damaged: fetch or build it again"),
    "zip.bomb": Kind("error", "do not install this file"),
    "zip.encrypted": Kind("error", "wheels are never encrypted: build it again"),
    "zip.method": Kind("error", "store or deflate members; installers read nothing else"),
    "zip.traversal": Kind("error", "do not install this file: it writes outside the environment"),
    "zip.name": Kind("error", _BACKEND),
    "zip.duplicate": Kind("error", _BACKEND),
    "zip.case": Kind("error", "rename one: both are one file on Windows and macOS"),
    "zip.link": Kind("error", "put a real file there: installers do not make links"),
    "zip.local-name": Kind("error", "do not install this file: tools would disagree about what it holds"),
    "zip.padding": Kind("error", _BACKEND),
    "zip.timestamp": Kind("error", "set SOURCE_DATE_EPOCH and build again"),
    "zip.order": Kind("error", _BACKEND),
    "zip.mode": Kind("error", "use mode 644, or 755 for programs"),
    # What is in it
    "content.foreign": Kind("error", "keep tests, docs and sources out of the wheel"),
    "content.bytecode": Kind("error", "leave byte-code to the installer"),
    "content.source": Kind("error", "ship compiled code only; sources belong in the sdist"),
    "content.ptx": Kind("error", "compile to cubins: PTX would be compiled again on every user's machine"),
    "content.build-path": Kind("error", "map build paths away (-ffile-prefix-map) and write relative paths"),
    "content.package": Kind("error", _BACKEND),
    # Names
    "name.invalid": Kind("error", "name the file as PEP 427 says: name-version-build-python-abi-platform.whl"),
    "name.plan": Kind("error", "rename the file as the plan says, or verify it against its own cell"),
    "name.dist-info": Kind("error", _BACKEND),
    "wheel.missing": Kind("error", _BACKEND),
    "wheel.version": Kind("error", "write Wheel-Version: 1.0"),
    "wheel.tag": Kind("error", _BACKEND),
    "wheel.build": Kind("error", _BACKEND),
    "wheel.purelib": Kind("error", "write Root-Is-Purelib: false: there is machine code inside"),
    # Metadata
    "metadata.missing": Kind("error", _BACKEND),
    "metadata.invalid": Kind("error", "correct the field in pyproject.toml"),
    "metadata.name": Kind("error", _BACKEND),
    "metadata.version": Kind("error", _BACKEND),
    "metadata.python": Kind("error", "make requires-python admit the Python of the wheel's tag"),
    "metadata.torch": Kind("error", "run buildtool pins for this cell: installers must not pair it with another torch"),
    "metadata.direct-url": Kind("error", "name a version, not a URL: indexes refuse it"),
    "metadata.licence": Kind("error", "declare license and license-files in pyproject.toml"),
    "metadata.licence-file": Kind("error", "put the licence file into .dist-info/licenses/"),
    # RECORD
    "record.missing": Kind("error", _BACKEND),
    "record.malformed": Kind("error", _BACKEND),
    "record.unlisted": Kind("error", _BACKEND),
    "record.absent": Kind("error", _BACKEND),
    "record.hash": Kind("error", "the file was changed after the build: build again"),
    "record.size": Kind("error", _BACKEND),
    "record.algorithm": Kind("error", "use sha256"),
    "record.duplicate": Kind("error", _BACKEND),
    # record.json, what the wheel says it is
    "stamp.missing": Kind("error", _REBUILD),
    "stamp.malformed": Kind("error", _REBUILD),
    "stamp.format": Kind("error", "verify with the buildtool that built it"),
    "stamp.distribution": Kind("error", _REBUILD),
    "stamp.version": Kind("error", _REBUILD),
    "stamp.build-tag": Kind("error", _REBUILD),
    "stamp.torch": Kind("error", _REBUILD),
    "stamp.torch-requirement": Kind("error", _REBUILD),
    "stamp.cuda": Kind("error", _REBUILD),
    "stamp.python": Kind("error", _REBUILD),
    "stamp.platform": Kind("error", _REBUILD),
    "stamp.archs": Kind("error", _REBUILD),
    "stamp.min-driver": Kind("error", _REBUILD),
    "stamp.instances": Kind("error", _REBUILD),
    "stamp.pins": Kind("error", _REBUILD),
    "stamp.cxx-standard": Kind("error", _REBUILD),
    "stamp.source-digest": Kind("error", _REBUILD),
    # The binding
    "library.missing": Kind("error", _REBUILD),
    "library.malformed": Kind("error", _REBUILD),
    "library.machine": Kind("error", "compile with the compiler of the wheel's platform"),
    "library.kind": Kind("error", "link with -shared"),
    "library.cuda-runtime": Kind("error", "reach the driver through dlopen; do not link libcudart or libcuda"),
    "library.python": Kind("error", "register operators with TORCH_LIBRARY; do not link or call Python"),
    "library.needed": Kind("error", "link only libc10, libc10_cuda, libtorch_cpu, libtorch and the C and C++ runtimes"),
    "library.run-path": Kind("error", "remove -rpath: torch has loaded its libraries already"),
    "library.executable-stack": Kind("error", "link with -z noexecstack"),
    "library.text-relocations": Kind("error", "compile with -fPIC"),
    "library.glibc": Kind("error", _CONTAINER),
    "library.glibcxx": Kind("error", _CONTAINER),
    "library.cxxabi": Kind("error", _CONTAINER),
    "library.gcc": Kind("error", _CONTAINER),
    "library.undefined": Kind("error", "compile against the headers of the exact torch of this cell"),
    "library.cxx11-abi": Kind("error", "compile with the _GLIBCXX_USE_CXX11_ABI of the exact torch build"),
    "library.unchecked": Kind("warning", "give the torch of this cell, so that its symbols can be compared"),
    "library.debug": Kind("error", "strip the library"),
    "library.build-path": Kind("error", "compile with -ffile-prefix-map and relative paths"),
    # The binding of a Windows wheel
    "dll.missing": Kind("error", _REBUILD),
    "dll.malformed": Kind("error", _REBUILD),
    "dll.machine": Kind("error", "compile for x64"),
    "dll.kind": Kind("error", "link with /DLL"),
    "dll.hardening": Kind("error", "link with /DYNAMICBASE /HIGHENTROPYVA /NXCOMPAT, as is the default"),
    "dll.debug-path": Kind("error", "link with /PDBALTPATH:%_PDB% or without /DEBUG"),
    "dll.build-path": Kind("error", "compile with /d1trimfile or /pathmap and relative paths"),
    "dll.needed": Kind("error", "link only c10, c10_cuda, torch_cpu, torch and the Visual C++ runtime"),
    "dll.debug-runtime": Kind("error", "compile with /MD, not /MDd: users do not have the debug runtime"),
    "dll.cuda-runtime": Kind("error", "reach the driver through LoadLibrary; do not link cudart or nvcuda"),
    "dll.python": Kind("error", "register operators with TORCH_LIBRARY; do not link Python"),
    "dll.undefined": Kind("error", "compile against the headers of the exact torch of this cell"),
    "dll.unchecked": Kind("note", "verify on Windows, where the torch of this cell can be installed"),
    # Device code
    "cubin.archive-missing": Kind("error", _REBUILD),
    "cubin.archive-extra": Kind("error", _REBUILD),
    "cubin.archive-malformed": Kind("error", _REBUILD),
    "cubin.archive-order": Kind("error", _REBUILD),
    "cubin.archive-stamp": Kind("error", "write zero timestamps, owners and groups"),
    "cubin.duplicate": Kind("error", _REBUILD),
    "cubin.missing": Kind("error", "compile the missing instances, or take them out of instances.toml"),
    "cubin.extra": Kind("error", "remove it: nothing in this wheel can ask for it"),
    "cubin.dispatch": Kind("error", "add the architecture to the family in instances.toml, or take the path off it"),
    "cubin.ptx": Kind("error", "compile with --gpu-architecture=sm_NN, not compute_NN"),
    "cubin.fatbin": Kind("error", "store the plain cubin"),
    "cubin.malformed": Kind("error", _REBUILD),
    "cubin.arch": Kind("error", "compile it for the architecture of its archive"),
    "cubin.suffix": Kind(
        "error", "compile it with the exact suffix: sm_90a code and sm_90 code do not stand in for each other"
    ),
    "cubin.suffix-contradiction": Kind("error", "the image was altered: compile it again"),
    "cubin.toolkit": Kind("error", "compile it with the NVRTC of the cell's CUDA version"),
    "cubin.unsupported": Kind("error", "drop this architecture from that CUDA version in matrix.toml"),
    "cubin.entry": Kind("error", 'declare the kernel extern "C" under the instance\'s name'),
    "cubin.entries": Kind("error", "one instance, one entry: split the source"),
    "cubin.undefined": Kind("error", "compile whole programs: nothing links device code on the user's machine"),
    "cubin.debug": Kind("error", "compile without --lineinfo and -G for wheels"),
    "cubin.build-path": Kind("error", "give NVRTC relative source names"),
    "cubin.shared-memory": Kind("error", "ask for more than 48 KiB as dynamic shared memory"),
    "cubin.spills": Kind("note", "lower the register pressure of the kernel, or accept the cost knowingly"),
    # SBOM
    "sbom.missing": Kind("error", _BACKEND),
    "sbom.malformed": Kind("error", _BACKEND),
    "sbom.format": Kind("error", "write CycloneDX 1.6 JSON"),
    "sbom.subject": Kind("error", _BACKEND),
    "sbom.pins": Kind("error", _BACKEND),
    "sbom.hashes": Kind("error", "lock the toolchain of this cell: python -m buildtool lock"),
    "sbom.digest": Kind("error", _BACKEND),
    # Checks beyond the bytes
    "platform.manylinux": Kind("error", _CONTAINER),
    "platform.unchecked": Kind("warning", "install auditwheel beside buildtool and verify again"),
    "import.failed": Kind("error", "run the printed command by hand to see the whole of it"),
    "import.place": Kind("error", "run the import outside the source tree"),
    "import.operators": Kind("error", "register the operator in the binding, or correct the list of operators"),
    "import.record": Kind("error", _REBUILD),
    "import.torch": Kind("error", "install the exact torch of the cell"),
    "import.skipped": Kind("error", "make that interpreter or torch available, or verify with --level static"),
    "import.no-torch": Kind("note", "verify with --full-torch, or with --python where that torch is installed"),
    "import.foreign": Kind(
        "note", "verify with --level import on a machine of that kind, or emulate it (verification.md)"
    ),
    "gpu.numerics": Kind("error", "do not publish: the kernel computes wrong results on this device"),
    "gpu.skipped": Kind("error", "verify with --level import on a machine without a GPU"),
    "rebuild.differs": Kind("error", "find what differs between the two builds: time, path, order or tool"),
}

CATALOGUE: Mapping[str, Kind] = MappingProxyType(_TABLE)
"""Every code there is. Codes are stable: they are never renamed or reused."""


def catalogue_markdown() -> str:
    """The catalogue as a Markdown page: every code, its level, and what to do about it."""
    lines = [
        "# Findings of `buildtool verify`",
        "",
        "Every code that verification can report. Codes are stable: none is ever renamed or used for something else. A",
        "wheel with an `error` is not published; a `warning` fails with `--strict`; a `note` is shown with `-v`.",
        "",
    ]
    area = ""
    for code, kind in CATALOGUE.items():
        if code.partition(".")[0] != area:
            area = code.partition(".")[0]
            lines += ["", f"## {area}", "", "| code | level | remedy |", "|---|---|---|"]
        remedy = kind.remedy.replace("|", "\\|").replace("*", "\\*")
        lines.append(f"| `{code}` | {kind.level} | {remedy} |")
    return "\n".join(line for at, line in enumerate(lines) if line or lines[at - 1]) + "\n"
