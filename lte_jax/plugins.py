"""Names in a config that stand for code: one of the package, or `module:Name` of the user's own.

A plug-in is imported from the Python path, so it may be in any installed package or in the folder that `lte` is
started from. Its own settings are validated by a pydantic model of its own.
"""

import importlib
import os
import sys
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from lte_jax.config import ConfigError, known_names

T = TypeVar("T")


def resolve(setting: str, name: str, known: Mapping[str, T], kind: type | None = None) -> T:
    """What `name` stands for. Raises ConfigError that says which setting, what was wanted and what went wrong.

    `kind`: what a user's object has to be an instance of."""
    if ":" not in name:
        if name not in known:
            raise ConfigError(f"{setting} = {name}: {known_names(known, name)}")
        return known[name]
    module_name, _, attribute = name.partition(":")
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.append(os.getcwd())
    try:
        found = getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"{setting} = {name}: cannot load it ({type(error).__name__}: {error})") from error
    if kind and not isinstance(found, kind):
        wanted = f"{kind.__module__}.{kind.__name__}"
        raise ConfigError(f"{setting} = {name}: wanted a {wanted}, got {type(found).__name__}")
    return found


def resolve_class(setting: str, name: str, known: Mapping[str, type[T]], base: type[T]) -> type[T]:
    """As `resolve`, for classes that build on `base`."""
    found = resolve(setting, name, known, type)
    if not issubclass(found, base):
        raise ConfigError(f"{setting} = {name}: wanted a subclass of {base.__module__}.{base.__name__}")
    return found


def arguments(setting: str, given: Mapping[str, Any], model: type[BaseModel] | None) -> BaseModel | None:
    """A plug-in's own settings, validated. Raises ConfigError that names each wrong one."""
    if model is None:
        if given:
            raise ConfigError(f"{setting}: this choice has no settings of its own, got {dict(given)}")
        return None
    try:
        return model.model_validate(dict(given))
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}, got {e['input']!r}" for e in error.errors())
        raise ConfigError(f"{setting}: {wrong}; its settings are {', '.join(model.model_fields) or 'none'}") from None
