"""Coverage-guided fuzzing of everything that reads a wheel: ``python tests/fuzz_parsers.py KIND [libFuzzer options]``.

KIND is one of zip, ar, library, cubin, symbols, wheel, matrix, instances; ``-max_total_time=60`` ends it after a
minute. Needs ``atheris``. Any exception but the parser's own is a crash, which libFuzzer prints and saves.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
with atheris.instrument_imports(include=["buildtool"]):
    from buildtool.errors import ConfigError
    from buildtool.prove.reader import MalformedError
    from buildtool.prove.verify import verify_bytes
    from tests.unit.plan import test_fuzz as declarations
    from tests.unit.prove import synthetic as s
    from tests.unit.prove import test_fuzz as binaries


def _wheel(data: bytes) -> object:
    return verify_bytes(s.cell().wheel, data, s.cell(), s.INSTANCES, symbols=s.symbols())


def _text(parse: Callable[[str], object]) -> Callable[[bytes], object]:
    return lambda data: parse(data.decode("utf-8", "replace"))


TARGETS: dict[str, tuple[Callable[[bytes], object], tuple[bytes, ...]]] = {
    **binaries.SEEDS,
    "wheel": (_wheel, (binaries.GOOD_WHEEL,)),
    **{kind: (_text(parse), (text.encode(),)) for kind, (parse, text) in declarations.PARSERS.items()},
}


def main(kind: str, *options: str) -> None:
    parse, seeds = TARGETS[kind]

    def one(data: bytes) -> None:
        with suppress(MalformedError, ConfigError):
            parse(data)

    with tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(seeds):
            Path(corpus, str(number)).write_bytes(seed)
        atheris.Setup([sys.argv[0], "-max_len=65536", *options, corpus], one)
        atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
