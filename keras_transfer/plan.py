"""Reads and writes a plan: TOML file, `key=value` overrides, and errors in one sentence."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import ValidationError

from keras_transfer.errors import UsageError, unknown
from keras_transfer.files import read_text
from keras_transfer.specs import Plan, Stage


def make(values: Mapping[str, Any], *, where: str = "plan") -> Plan:
    """Return a checked plan from plain values.

    >>> make({"data": "sample:fashion", "backbone": "MobileNetV2"}).backbone
    'MobileNetV2'

    Raises UsageError, in one sentence, for a key that does not exist or a value out of range.
    """
    for key, value in values.items():
        if isinstance(value, str) and "\0" in value:
            raise UsageError(f"{where}: '{key}' must hold no NUL byte. Received: {value!r}")
    try:
        return Plan.model_validate(dict(values))
    except ValidationError as error:
        raise UsageError(f"{where}: {_sentence(error)}") from None


def read(path: Path, overrides: Iterable[str] = ()) -> Plan:
    """Return the plan of a TOML file, `key=value` overrides applied (`stages.0.epochs=3`)."""
    try:
        values = tomllib.loads(read_text(path))
    except FileNotFoundError:
        raise UsageError(f"There is no plan at '{path}'. Write one, or name a SOURCE instead.") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"'{path}' is not a TOML file that can be read: {error}") from None
    except RecursionError:
        raise UsageError(f"'{path}' is not a plan: its values are nested too deep to be read.") from None
    return make(override(values, overrides), where=str(path))


def override(values: Mapping[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """Return `values` with each `key=value` set; values are read as TOML, else as text.

    >>> override({"seed": 0}, ["seed=3", "backbone=MobileNetV2"])
    {'seed': 3, 'backbone': 'MobileNetV2'}
    """
    result = _copied(values)
    for item in overrides:
        key, equals, text = item.partition("=")
        if not (key and equals):
            raise UsageError(f"An override must be key=value. Received: '{item}'")
        *parents, last = key.split(".")
        if parents and parents[0] not in result:
            raise UsageError(f"The plan has nothing at '{key}'.{_instead(parents[0], last)}")
        target: Any = result
        try:
            for parent in parents:
                target = target[int(parent)] if isinstance(target, list) else target[parent]
            target[int(last) if isinstance(target, list) else last] = _toml_value(text)
        except (IndexError, KeyError, ValueError, TypeError):
            raise UsageError(f"The plan has nothing at '{key}'.") from None
    return result


def with_epochs(values: Mapping[str, Any], epochs: int | None) -> dict[str, Any]:
    """Return plain values of a plan in which every stage has that many epochs; as they are where it is None.

    >>> with_epochs({"stages": [{"name": "head"}]}, 3)
    {'stages': [{'name': 'head', 'epochs': 3}]}
    """
    if epochs is None:
        return dict(values)
    if not values.get("stages"):
        return {**values, "epochs": epochs}
    return {**values, "stages": [{**stage, "epochs": epochs} for stage in values["stages"]]}


def to_toml(plan: Plan) -> str:
    """Return the plan as TOML text that `read` gives back unchanged."""
    return tomli_w.dumps(plan.model_dump(mode="json", exclude_none=True))


def _copied(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _copied(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_copied(each) for each in value]
    return value


def _toml_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, RecursionError):
        return text


def _instead(parent: str, key: str) -> str:
    """What to do where a plan has no such list: stages stand in a plan only where they are spelled out."""
    if parent != "stages":
        return ""
    shorter = " --epochs sets them for all stages of a recipe." if key == "epochs" else ""
    return f" Only a plan that spells its stages out has them: give one with --plan.{shorter}"


def _unknown_key(key: str, *, of_stage: bool) -> str:
    """Say which key was meant: of the plan, else of its stages."""
    plain = key.replace("-", "_")
    if of_stage or plain in Plan.model_fields or plain not in Stage.model_fields:
        return unknown("key", plain, (Stage if of_stage else Plan).model_fields)
    return f"Unknown key '{key}'. It belongs to a stage: stages.0.{plain}"


def _sentence(error: ValidationError) -> str:
    first = error.errors()[0]
    path = ".".join(str(part) for part in first["loc"] if not str(part).startswith(("tuple[", "literal[")))
    if first["type"] == "extra_forbidden":
        return _unknown_key(str(first["loc"][-1]), of_stage=first["loc"][0] == "stages")
    if first["type"] == "missing":
        return f"'{path}' is missing."
    message = first["msg"].removeprefix("Value error, ")
    return f"'{path}': {message}" if "Received" in message else f"'{path}': {message}. Received: {first['input']!r}"
