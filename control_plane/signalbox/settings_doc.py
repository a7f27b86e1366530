"""Makes ``docs/configuration.md`` of the settings: ``signalbox settings-doc [--check] docs/configuration.md``."""

from __future__ import annotations

import json
import types
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
import click
from pydantic import BaseModel

from signalbox.settings import ENV_PREFIX, Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic.fields import FieldInfo

HEAD = f"""# Configuration

<!-- Made by `signalbox settings-doc` from control_plane/signalbox/settings/: change that, not this. -->

Every process reads one TOML file, `signalbox <process> --config FILE`, and the environment, which wins. Settings are
checked once at start: an unknown key or a wrong value ends the process with exit code 2 and the name of the key.

A setting has one name everywhere. `routing.listen` is

```toml
[routing]
listen = "0.0.0.0:7410"
```

in the file and `{ENV_PREFIX}ROUTING__LISTEN=0.0.0.0:7410` in the environment; two underscores go deeper. Lists in
the environment are JSON: `{ENV_PREFIX}ETCD__ENDPOINTS='["10.0.0.1:2379", "10.0.0.2:2379"]'`. Paths are relative to
the directory that the process is started in.
"""


def render() -> str:
    """The document as Markdown: a table for each section, in the order of the settings."""
    parts = [HEAD]
    for name, field in Settings.model_fields.items():
        parts += _section(name, field)
    return "\n".join(parts)


def _section(name: str, field: FieldInfo) -> Iterator[str]:
    model = _model(field)
    assert model is not None, "the settings are made of sections"
    yield f"## {name}\n"
    yield f"{_sentence(model.__doc__)}\n"
    yield "| setting | value | default | meaning |\n|---|---|---|---|"
    yield from _rows(name, model)
    yield ""


def _rows(path: str, model: type[BaseModel]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        here = f"{path}.{name}"
        inner = _model(field)
        if inner is not None:
            meaning = " ".join(filter(None, (_sentence(inner.__doc__), field.description)))
            yield f"| **{here}** | | | {_cell(meaning)} |"
            yield from _rows(here, inner)
        else:
            yield f"| `{here}` | {_cell(_value(field))} | {_default(field)} | {_cell(field.description or '')} |"


def _model(field: FieldInfo) -> type[BaseModel] | None:
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _value(field: FieldInfo) -> str:
    """What may be given, for people: type and limits."""
    return " ".join([_type(field.annotation), *filter(None, map(_limit, field.metadata))])


def _type(kind: Any) -> str:
    if get_origin(kind) is Annotated:
        return _type(get_args(kind)[0])
    if get_origin(kind) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(kind))
    if get_origin(kind) is list:
        return "list of " + _type(get_args(kind)[0])
    if get_origin(kind) in (types.UnionType, Union):
        return ", ".join(_type(part) for part in get_args(kind) if part is not type(None))
    return {str: "text", int: "integer", float: "number", bool: "`true`, `false`", Path: "path"}[kind]


def _limit(limit: object) -> str:
    match limit:
        case annotated_types.Ge(ge=least):
            return f"≥ {least}"
        case annotated_types.Gt(gt=bound):
            return f"> {bound}"
        case annotated_types.Le(le=most):
            return f"≤ {most}"
    pattern = getattr(limit, "pattern", None)
    return f"matching `{pattern}`" if pattern else ""


def _default(field: FieldInfo) -> str:
    default = field.get_default(call_default_factory=True)
    if default is None:
        return ""
    return f"`{json.dumps(str(default) if isinstance(default, Path) else default)}`"


def _sentence(text: str | None) -> str:
    return " ".join((text or "").split())


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


@click.command("settings-doc")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--check", is_flag=True, help="Write nothing; fail if the file is not what would be written.")
def settings_doc(file: Path, check: bool) -> None:
    """Write the configuration reference to FILE."""
    text = render()
    if not check:
        file.write_text(text)
    elif not file.exists() or file.read_text() != text:
        raise click.ClickException(f"{file} is out of date: run signalbox settings-doc {file}")
