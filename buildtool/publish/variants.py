"""Wheel variants (PEP 817 and 825, provisional): the same wheels once more, named so that an installer can choose.

An installer that knows variants reads ``NAME-VERSION-variants.json`` beside the wheels, asks which of their properties
this machine has, and takes the best: here the PyTorch release that is installed, then the highest CUDA version that the
driver runs. One page with all of them is then safe. Today's pip and uv do not know such names and pass them over.

The formats are drafts, so they are ``variantlib``'s, the reference implementation, which follows them.
"""

from __future__ import annotations

import calendar
import hashlib
import importlib
import itertools
import json
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from buildtool.errors import ToolchainError
from buildtool.make.wheel import finish
from buildtool.plan.tags import minor_of
from buildtool.publish.dist import PublishedWheel
from buildtool.publish.index import FILES, Extra, Hosting, render_channel

CHANNEL = "variants"
_TORCH = "abi_dependency"
"""Namespace of properties that name the release of another package that is installed."""
_CUDA = "nvidia"
_CUDA_PROVIDER = "nvidia-variant-provider"
"""What tells an installer which values of ``nvidia`` a machine has."""


def label_of(wheel: PublishedWheel) -> str:
    """``cu128_torch2.8``: at most 16 characters, and for one version of a package one set of properties."""
    return f"cu{str(wheel.cell['cuda']).replace('.', '')}_torch{minor_of(str(wheel.cell['torch']))}"


def make_variant(wheel: PublishedWheel, folder: Path) -> PublishedWheel:
    """The wheel with ``variant.json`` in its ``.dist-info`` and its label in its name, written to ``folder``.

    Nothing else in it changes, and equal wheels give equal bytes.
    """
    name = f"{wheel.name.removesuffix('.whl')}-{label_of(wheel)}.whl"
    with zipfile.ZipFile(wheel.path) as archive:
        first = archive.infolist()[0]
        info = next(n.split("/")[0] for n in archive.namelist() if n.endswith(".dist-info/WHEEL"))
    tag = "-".join(wheel.name.removesuffix(".whl").split("-")[-3:])
    added = {f"{info}/variant.json": _metadata(wheel).encode()}
    build_tag = str(wheel.cell["build_tag"])
    date = calendar.timegm((*first.date_time, 0, 0, 0))
    path = folder / name
    finish(wheel.path, path, tag=tag, build_tag=build_tag, added=added, timestamp=date)
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return replace(wheel, path=path, name=name, sha256=digest, size=path.stat().st_size)


def variants_json(wheels: Iterable[PublishedWheel]) -> tuple[Extra, ...]:
    """``NAME-VERSION-variants.json`` for each version of each package: all labels with their properties."""
    read = _library("variant_dist_info").VariantDistInfo

    def version(wheel: PublishedWheel) -> tuple[str, str]:
        return wheel.package, wheel.version

    found: list[Extra] = []
    for (package, number), members in itertools.groupby(sorted(wheels, key=version), key=version):
        merged, *others = (read(text) for text in sorted({_metadata(wheel) for wheel in members}))
        for other in others:
            merged.merge(other)
        text = json.dumps(json.loads(merged.to_str()), sort_keys=True, indent=1) + "\n"
        found.append(Extra(package, f"{package.replace('-', '_')}-{number}-variants.json", text.encode()))
    return tuple(found)


def render_variants(variants: Sequence[PublishedWheel]) -> dict[str, bytes]:
    """The one page with all variants of each package, by path below the site's root; nothing for none."""
    if not variants:
        return {}
    metadata = {f"{FILES}/{wheel.name}.metadata": wheel.metadata for wheel in variants}
    return {**render_channel(CHANNEL, variants, Hosting(), variants_json(variants)), **metadata}


def make_variants(wheels: Sequence[PublishedWheel], folder: Path) -> tuple[PublishedWheel, ...]:
    """The variant of every wheel."""
    return tuple(make_variant(wheel, folder) for wheel in wheels)


def _metadata(wheel: PublishedWheel) -> str:
    """``variant.json`` of one wheel."""
    api, info = _library("api"), _library("models.variant_info")
    properties = [
        api.VariantProperty(_TORCH, "torch", minor_of(str(wheel.cell["torch"]))),
        api.VariantProperty(_CUDA, "cuda_version_lower_bound", str(wheel.cell["cuda"])),
    ]
    providers = {
        _TORCH: info.ProviderInfo(builtin=_TORCH),
        _CUDA: info.ProviderInfo(requires=[_CUDA_PROVIDER]),
    }
    return str(
        api.make_variant_dist_info(
            api.VariantDescription(properties, label=label_of(wheel)),
            info.VariantInfo(namespace_priorities=[_TORCH, _CUDA], providers=providers),
            expand_aot_plugin_properties=False,
        )
    )


def _library(module: str) -> Any:
    try:
        return importlib.import_module(f"variantlib.{module}")
    except ImportError as error:
        raise ToolchainError("wheel variants need variantlib", "pip install variantlib") from error
