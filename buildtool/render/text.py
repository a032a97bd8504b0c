"""Filling templates, and replacing the generated part of a file that people write."""

from __future__ import annotations

import re
from collections.abc import Mapping

from buildtool.errors import ConfigError, Fault

_PLACEHOLDER = re.compile(r"@([A-Z][A-Z0-9_]*)@")


def fill(template: str, values: Mapping[str, str], file: str) -> str:
    """Replace every ``@NAME@`` of a template.

    A placeholder that stands alone on its line takes its indentation to every line of its value. Raises ConfigError for
    placeholders without a value and values without a placeholder.
    """
    used = set(_PLACEHOLDER.findall(template))
    faults = [
        *(Fault(file, name, "the template asks for a value that nothing gives") for name in sorted(used - set(values))),
        *(Fault(file, name, "the template has no place for this value") for name in sorted(set(values) - used)),
    ]
    if faults:
        raise ConfigError(faults)

    def alone(match: re.Match[str]) -> str:
        indent, lines = match[1], values[match[2]].splitlines()
        return "\n".join(indent + line if line else "" for line in lines)

    filled = re.sub(r"^([ \t]*)@([A-Z][A-Z0-9_]*)@$", alone, template, flags=re.MULTILINE)
    return _PLACEHOLDER.sub(lambda match: values[match[1]], filled)


def replace_section(text: str, name: str, content: str, file: str) -> str:
    """Put ``content`` between ``<!-- NAME: begin -->`` and ``<!-- NAME: end -->``.

    Raises ConfigError unless the pair stands in the text exactly once.
    """
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        hint = f"put {begin} and {end} where the generated text belongs"
        raise ConfigError([Fault(file, name, "its two markers must be there exactly once, in order", hint=hint)])
    before, after = text[: text.index(begin) + len(begin)], text[text.index(end) :]
    return f"{before}\n{content.strip()}\n{after}"
