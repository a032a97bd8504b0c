"""``index``: verified wheels become a static site of package indexes, one per CUDA and torch."""

from __future__ import annotations

import argparse
import platform as host
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from buildtool.commands.registry import Commands, project_root
from buildtool.console import Console
from buildtool.errors import PublishError, ToolchainError, UsageError
from buildtool.make.interpreters import find_uv
from buildtool.make.runner import Processes
from buildtool.make.store import Store, default_root
from buildtool.prove.package import load_causes
from buildtool.publish.attestations import parse_publisher, provenance_path, provenance_urls, read_provenance
from buildtool.publish.clients import provide_clients
from buildtool.publish.dist import PublishedWheel, read_dist
from buildtool.publish.environments import Environments
from buildtool.publish.index import MANIFEST, Hosting, render_indexes, render_manifest, render_reports
from buildtool.publish.page import render_page
from buildtool.publish.selftest import Bench, Outcome, self_test
from buildtool.publish.site import check_growth, read_previous, write_site
from buildtool.publish.variants import make_variants, render_variants

SIGNATURE_NAMESPACE = "wheels"


def register(commands: Commands) -> None:
    """Add the command."""
    index = commands.add("index", _index, "Make a static package index of verified wheels.")
    index.add_argument("dist", type=Path, nargs="?", default=Path("dist"), metavar="DIST", help="folder of wheels")
    index.add_argument("--out", type=Path, default=Path("site"), metavar="DIR", help="where the site goes")
    index.add_argument("--base-url", default="", metavar="URL", help="where the wheels are, if not in the site itself")
    index.add_argument("--with-metadata", action="store_true", help="the .metadata files are at --base-url, too")
    index.add_argument("--site-url", default="", metavar="URL", help="where the site will be; shown in its commands")
    index.add_argument("--previous", type=Path, metavar="FILE", help="wheels.json that is published now")
    index.add_argument("--allow-removal", action="store_true", help="let published wheels disappear")
    index.add_argument("--sign-key", type=Path, metavar="KEY", help="sign wheels.json with this SSH key")
    index.add_argument(
        "--publisher",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="who made the attestations beside the wheels (PEP 740): kind=GitHub repository=OWNER/NAME workflow=FILE",
    )
    index.add_argument(
        "--variants", action="store_true", help="add a page of wheel variants (PEP 817 and 825; provisional)"
    )
    index.add_argument("--self-test", action="store_true", help="install from every channel with real pip and real uv")
    index.add_argument("--real-torch", default="", metavar="CHANNEL", help="test this channel with the real torch")
    index.add_argument("--json", action="store_true", help="the outcome as JSON")


def _index(args: argparse.Namespace, console: Console) -> int:
    wheels = read_dist(args.dist)
    provenance = read_provenance(wheels, parse_publisher(args.publisher))
    hosting = Hosting(
        args.base_url,
        with_metadata=not args.base_url or args.with_metadata,
        provenance=provenance_urls(provenance, args.site_url),
    )
    if args.variants and args.base_url:
        raise UsageError("variant wheels are made with the site and served by it", "leave out --base-url or --variants")
    check_growth(read_previous(args.out, args.previous), wheels, allow_removal=args.allow_removal)
    manifest = render_manifest(wheels, hosting)
    files = {
        **render_indexes(wheels, hosting),
        **render_reports(wheels),
        **{provenance_path(name): content for name, content in provenance.items()},
        MANIFEST: manifest,
        "index.html": render_page(manifest, load_causes(project_root(args)), args.site_url).encode(),
    }
    if args.sign_key:
        files[f"{MANIFEST}.sig"] = _sign(manifest, args.sign_key, console)
    with tempfile.TemporaryDirectory(prefix="buildtool-index-") as name:
        scratch = Path(name)
        variants = make_variants(wheels, scratch) if args.variants else ()
        pages = render_variants(variants)
        if args.self_test:
            _prove(wheels, variants, pages, scratch, args, console)
        served = () if args.base_url else (*wheels, *variants)
        write_site(args.out, {**files, **pages}, served)
    channels = {wheel.channel for wheel in wheels}
    console.info(f"{len(wheels)} wheels in {len(channels)} channels: {args.out}")
    return 0


def _prove(
    wheels: tuple[PublishedWheel, ...],
    variants: tuple[PublishedWheel, ...],
    pages: Mapping[str, bytes],
    scratch: Path,
    args: argparse.Namespace,
    console: Console,
) -> None:
    """Serve what will be published, install from it, and raise PublishError if anything went wrong."""
    local, trial = Hosting(), scratch / "site"
    channels = {**render_indexes(wheels, local), MANIFEST: render_manifest(wheels, local)}
    write_site(trial, {**channels, **pages}, (*wheels, *variants))
    outcomes = _self_test(trial, scratch, args, console)
    failed = [outcome for outcome in outcomes if not outcome.ok]
    _show(outcomes, console, as_json=args.json)
    if failed:
        raise PublishError(
            f"{len(failed)} of {len(outcomes)} installations went wrong; the site was not written",
            "see the rows that are not ok",
        )


def _self_test(site: Path, scratch: Path, args: argparse.Namespace, console: Console) -> tuple[Outcome, ...]:
    runner = Processes(console.detail)
    uv = find_uv()
    clients = provide_clients(Store(default_root()), runner, uv, Path(sys.executable), scratch)
    return self_test(site, Bench(Environments(runner, uv, scratch), clients, _own_platforms(), args.real_torch))


def _own_platforms() -> frozenset[str]:
    machine = host.machine().lower().replace("amd64", "x86_64").replace("arm64", "aarch64")
    if sys.platform == "win32":
        return frozenset({"win_amd64"})
    return frozenset({f"linux_{machine}", f"manylinux_2_28_{machine}"})


def _show(outcomes: tuple[Outcome, ...], console: Console, *, as_json: bool) -> None:
    if as_json:
        console.json([outcome.to_json() for outcome in outcomes])
        return
    rows = [
        ("ok" if o.ok else "NOT OK", o.client, o.channel, o.package, o.python, o.platform, o.case, o.seen)
        for o in outcomes
    ]
    title = f"{len(outcomes)} installations, {sum(o.ok for o in outcomes)} as they must be"
    console.table(title, ("", "client", "channel", "package", "Python", "platform", "case", "seen"), rows)


def _sign(manifest: bytes, key: Path, console: Console) -> bytes:
    """A detached OpenSSH signature (``ssh-keygen -Y sign``) that ``ssh-keygen -Y verify`` checks."""
    with tempfile.TemporaryDirectory(prefix="buildtool-sign-") as name:
        path = Path(name) / MANIFEST
        path.write_bytes(manifest)
        argv: list[str | Path] = ["ssh-keygen", "-Y", "sign", "-n", SIGNATURE_NAMESPACE, "-f", key, path]
        result = Processes(console.detail).run(argv, timeout=60)
        signature = path.with_suffix(".json.sig")
        if result.returncode or not signature.is_file():
            raise ToolchainError(f"ssh-keygen could not sign: {result.stderr.strip()}", "name an unencrypted SSH key")
        return signature.read_bytes()
