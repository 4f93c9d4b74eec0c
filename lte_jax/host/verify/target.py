"""A worker's target, `package.module:function`: loaded and checked, its value as JSON, its error in one line."""

import functools
import importlib
import inspect
import json
import os
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from numbers import Real
from typing import Any

from lte_jax.config import ConfigError
from lte_jax.plugins import arguments

# First parameters of other libraries' rewards: called with ours, such a function may return numbers of no meaning.
_FOREIGN = {"prompts": "TRL's", "completions": "TRL's", "data_source": "verl's", "solution_str": "verl's"}
_LOADERS = (os.path.dirname(__file__), importlib.__file__, "<frozen importlib")


def load_target(path: str, parameters: Sequence[str] = (), settings: Mapping[str, Any] | None = None) -> Callable:
    """`package.module:function` as a callable that takes as many arguments as `parameters` names; none: not checked.

    `settings`: its own, validated by the pydantic model `function.Args`. A function that has one takes them as its last
    argument, `args`.

    Raises ValueError, also for settings that it has not, TypeError for other parameters, or whatever importing the
    module raises.
    """
    module, colon, name = path.partition(":")
    if not colon or not module or not name:
        raise ValueError(f"wanted package.module:function, got {path!r}")
    target = getattr(importlib.import_module(module), name, None)
    if not callable(target):
        raise ValueError(f"module {module!r} has no function {name!r}")
    model = getattr(target, "Args", None)
    if parameters:
        _check_parameters(target, name, (*parameters, *(["args"] if model else [])))
    if settings is None:
        return target
    args = arguments("reward_args", settings, model)
    return target if model is None else _with_last(target, args)


def _with_last(target: Callable, args: Any) -> Callable:
    @functools.wraps(target)
    def call(*arguments_: Any) -> Any:
        return target(*arguments_, args)

    return call


def _check_parameters(target: Callable, name: str, parameters: Sequence[str]) -> None:
    try:
        signature = inspect.signature(target)
    except ValueError:  # a builtin may have none: the first call says more
        return
    wanted = f"wanted a function of ({', '.join(parameters)})"
    if inspect.iscoroutinefunction(target) or inspect.isasyncgenfunction(target):
        raise TypeError(f"{wanted}, got async def {name}{signature}: wanted a plain function")
    first = next(iter(signature.parameters), "")
    if first in _FOREIGN:
        raise TypeError(f"{wanted}, got {name}{signature}, {_FOREIGN[first]} form: docs/how-to.md shows how to wrap it")
    try:
        signature.bind(*parameters)
    except TypeError as error:
        raise TypeError(f"{wanted}, got {name}{signature}: {error}") from None


def as_json(value: Any) -> str:
    """What a target returned as JSON. Arrays and scalars of numpy, or whatever else has `tolist`, become lists and
    numbers, and so does what an iterator yields. Raises TypeError for what is no plain value."""
    if inspect.isawaitable(value):
        if inspect.iscoroutine(value):
            value.close()  # Python warns of one that nobody awaits
        raise TypeError(f"wanted a plain value, got {_kind(value)}: the function must not be async")
    return json.dumps(list(value) if isinstance(value, Iterator) else value, default=_plain)


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Real):  # a Fraction
        return float(value)
    raise TypeError(f"wanted numbers, text, lists and dicts, got {_kind(value)}")


def _kind(value: Any) -> str:
    return f"a value of type {type(value).__name__}"


def reason(error: BaseException, target: Callable | None = None) -> str:
    """`FILE:LINE, in NAME: KeyError: 'x'`: the innermost line of the target's own file that the error came through;
    else the target's first line. Without a target: the innermost line that is none of the loaders'."""
    if isinstance(error, ConfigError):  # settings that the target has not: it says which by itself
        return str(error)
    what = f"{type(error).__name__}: {' '.join(str(error).split())}"
    frames = traceback.extract_tb(error.__traceback__)
    code = getattr(inspect.unwrap(target), "__code__", None) if target else None
    if code:
        own = [frame for frame in frames if frame.filename == code.co_filename]
        line, name = (own[-1].lineno, own[-1].name) if own else (code.co_firstlineno, code.co_name)
        return f"{code.co_filename}:{line}, in {name}: {what}"
    theirs = [f for f in frames if not f.filename.startswith(_LOADERS)]
    return f"{theirs[-1].filename}:{theirs[-1].lineno}: {what}" if theirs else what
