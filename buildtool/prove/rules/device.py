"""Device code: exactly the cubins that this wheel can ask for, each for exactly its architecture."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from buildtool.plan.instances import for_arch
from buildtool.prove.cubin import Cubin
from buildtool.prove.facts import NATIVE, DeviceImage, Facts
from buildtool.prove.findings import Finding
from buildtool.prove.library import build_paths
from buildtool.prove.rules import Expectation

STATIC_SHARED_LIMIT = 48 * 1024
"""Bytes of static shared memory per block on every architecture (CUDA C++ Programming Guide, compute capabilities)."""
_SYSTEM_SHARED = 1024
"""Reserved by the system from sm_90 and counted in the image."""

_FATBIN = b"\x50\xed\x55\xba"
_ARCH = re.compile(r"sm_(\d+)([af]?)\Z")

# First CUDA version that targets each architecture (PTX ISA, release notes of the .target directive). On purpose not
# read from matrix.toml: a verifier that shares the builder's table would share its mistakes.
_SINCE = {75: (10, 0), 80: (11, 0), 86: (11, 1), 87: (11, 4), 89: (11, 8), 90: (11, 8), 100: (12, 8), 101: (12, 8),
          103: (12, 9), 110: (13, 0), 120: (12, 8), 121: (12, 9)}  # fmt: skip
# First CUDA version that no longer does: 13.0 dropped what is older than sm_75 and renamed sm_101 to sm_110.
_UNTIL = {101: (13, 0)}
_SUFFIX_A_SINCE, _SUFFIX_F_SINCE = {90: (12, 0)}, (12, 9)


def can_target(cuda: str, arch: str) -> bool:
    """Whether that CUDA version can make code for that architecture, suffix included."""
    match = _ARCH.match(arch)
    if match is None:
        return False
    sm, version = int(match[1]), tuple(int(part) for part in cuda.split("."))
    if sm not in _SINCE or version < _SINCE[sm] or version >= _UNTIL.get(sm, (99,)):
        return False
    if match[2] == "a":
        return sm >= 90 and version >= _SUFFIX_A_SINCE.get(sm, _SINCE[sm])  # noqa: PLR2004  (the first with 'a')
    return match[2] == "" or (sm >= 100 and version >= _SUFFIX_F_SINCE)  # noqa: PLR2004  (the first with 'f')


def check_archives(facts: Facts, expected: Expectation) -> Iterator[Finding]:
    """One archive per architecture of the plan, each well formed, ordered and without traces of when it was made."""
    if facts.archive is None:
        return
    folder = f"{expected.cell.combo.package}/{NATIVE}cubins"
    for arch in expected.cell.archs:
        if arch not in facts.cubins:
            yield Finding("cubin.archive-missing", f"{folder}/{arch}.ar", f"cubins for {arch}", "no archive")
        if not can_target(expected.cell.combo.cuda, arch):
            yield Finding("cubin.unsupported", arch, f"an architecture of CUDA {expected.cell.combo.cuda}", arch)
    for arch, images in facts.cubins.items():
        where = f"{folder}/{arch}.ar"
        if arch not in expected.cell.archs:
            yield Finding("cubin.archive-extra", where, ", ".join(expected.cell.archs), arch)
        if images is None:
            problem = next(reason for name, reason in facts.problems.items() if name.endswith(f"/cubins/{arch}.ar"))
            yield Finding("cubin.archive-malformed", where, "a Unix ar archive", problem)
            continue
        names = [image.member.name for image in images]
        if names != sorted(names):
            yield Finding("cubin.archive-order", where, "members in name order", "another order")
        for image in images:
            member = image.member
            if member.timestamp or member.owner or member.group:
                seen = f"timestamp {member.timestamp}, owner {member.owner}, group {member.group}"
                yield Finding("cubin.archive-stamp", f"{where}({member.name})", "zeros", seen)
                break


def check_set(facts: Facts, expected: Expectation) -> Iterator[Finding]:
    """The members of each archive are exactly the instances that the dispatch table has for it, family by family."""
    cell = expected.cell
    for arch, images in facts.cubins.items():
        if images is None or arch not in cell.archs:
            continue
        held = Counter(image.member.name.removesuffix(".cubin") for image in images)
        for name, count in held.items():
            if count > 1:
                yield Finding("cubin.duplicate", f"{arch}.ar({name})", "each instance once", f"{count} members")
        if expected.instances is None:
            continue
        families = {i.name: i.family for i in expected.instances}
        wanted = {i.name for i in for_arch(expected.instances, cell.combo.package, arch, cell.combo.cuda)}
        for name in sorted(wanted - set(held)):
            yield Finding("cubin.missing", f"{arch}.ar", f"{name} (family {families[name]})", "no such member")
        for name in sorted(set(held) - wanted):
            about = f"family {families[name]} is not for {arch}" if name in families else "no instance has that name"
            yield Finding(
                "cubin.extra", f"{arch}.ar({name})", f"only instances of {cell.combo.package} for {arch}", about
            )


def check_dispatch(facts: Facts, expected: Expectation) -> Iterator[Finding]:
    """Whatever the package's dispatch table may choose on an architecture is there: no kernel is asked for in vain."""
    for arch, images in facts.cubins.items():
        held = [image.member.name for image in images or ()]
        for family in expected.families.get(arch, ()):
            if images is not None and not any(name.startswith(f"{family}_") for name in held):
                yield Finding("cubin.dispatch", f"{arch}.ar", f"kernels of family {family}", "none")


def check_images(facts: Facts, expected: Expectation) -> Iterator[Finding]:
    """Each image: a cubin for its archive's architecture, made by the cell's CUDA version, with its one entry."""
    for arch, images in facts.cubins.items():
        for image in images or ():
            where = f"{arch}.ar({image.member.name})"
            if image.cubin is None:
                yield _malformed(where, image)
                continue
            yield from _check_target(where, image.cubin, arch, expected.cell.combo.cuda)
            yield from _check_body(where, image, image.cubin)
        yield from _check_spills(f"{arch}.ar", images or ())


def _malformed(where: str, image: DeviceImage) -> Finding:
    data = image.member.data
    if data[:4] == _FATBIN:
        return Finding("cubin.fatbin", where, "a cubin", "a fat binary")
    if b".version " in data[:4096] and b".target " in data[:4096]:
        return Finding("cubin.ptx", where, "a cubin", "PTX")
    return Finding("cubin.malformed", where, "a cubin", f"a file that {image.problem}")


def _check_target(where: str, cubin: Cubin, arch: str, cuda: str) -> Iterator[Finding]:
    if cubin.contradiction:
        yield Finding("cubin.suffix-contradiction", where, "marks that agree", cubin.contradiction)
    elif cubin.arch != arch:
        same = cubin.arch.rstrip("af") == arch.rstrip("af")
        yield Finding("cubin.suffix" if same else "cubin.arch", where, arch, cubin.arch)
    if cubin.toolkit != cuda:
        yield Finding("cubin.toolkit", where, f"CUDA {cuda}", f"CUDA {cubin.toolkit or 'unknown'}")


def _check_body(where: str, image: DeviceImage, cubin: Cubin) -> Iterator[Finding]:
    name = image.member.name.removesuffix(".cubin")
    entries = [kernel.name for kernel in cubin.kernels]
    if name not in entries:
        yield Finding("cubin.entry", where, f"entry {name}", ", ".join(entries) or "no entry")
    elif len(entries) > 1:
        yield Finding("cubin.entries", where, f"{name} alone", ", ".join(entries))
    if cubin.undefined:
        yield Finding("cubin.undefined", where, "no undefined device symbols", ", ".join(cubin.undefined))
    if cubin.debug_sections:
        yield Finding("cubin.debug", where, "no debug information", ", ".join(cubin.debug_sections))
    if paths := build_paths(image.member.data):
        yield Finding("cubin.build-path", where, "no paths of the build machine", paths[0])
    for kernel in cubin.kernels:
        limit = STATIC_SHARED_LIMIT + (_SYSTEM_SHARED if cubin.sm >= 90 else 0)  # noqa: PLR2004
        if kernel.shared > limit:
            yield Finding(
                "cubin.shared-memory", f"{where}: {kernel.name}", f"at most {limit} bytes", str(kernel.shared)
            )


def _check_spills(where: str, images: tuple[DeviceImage, ...]) -> Iterator[Finding]:
    kernels = [kernel for image in images if image.cubin for kernel in image.cubin.kernels]
    spilling = [f"{k.name} ({k.stack} bytes)" for k in kernels if k.local_loads or k.local_stores]
    if spilling:
        yield Finding("cubin.spills", where, "no local memory traffic", ", ".join(spilling))
