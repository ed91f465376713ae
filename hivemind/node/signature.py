"""How a function of the user's wants to be called: looked at once, when it is bound."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from pydantic import PydanticSchemaGenerationError, TypeAdapter, ValidationError

from ..constants import did_you_mean
from ..errors import DeclarationError
from .resources import Resource, wanted_resource

Function = Callable[..., Any]
_PLAIN = (str, int, float, bool, list, dict, bytes)  # what needs no validator when the type is exactly this
_OF_JSON = ((dict[str, Any], dict), (list[Any], list))  # nor these: JSON has no other ones
_GIVEN = ("message", "node")


class InvalidPayload(ValueError):
    """A payload that does not fit a handler's annotation."""


@dataclass(frozen=True, slots=True)
class Handler:
    """A handler and what it asks for."""

    function: Function
    is_async: bool
    payload: str | None  # the parameter that takes it; None where none does
    wants: frozenset[str]  # of ``message`` and ``node``
    check: Callable[[Any], Any] | None  # returns the validated payload or raises InvalidPayload
    is_responder: bool = False
    resources: Mapping[str, str] = field(default_factory=dict)  # parameters, each with the resource that it gets
    annotation: Any = Any  # of the payload

    @property
    def is_plain(self) -> bool:
        """Whether it wants the payload and nothing else."""
        return self.payload is not None and not self.wants and not self.resources

    @property
    def name(self) -> str:
        """What to call it in logs and tables."""
        return getattr(self.function, "__qualname__", repr(self.function))


def is_async(function: Function) -> bool:
    """Whether calling it gives something to await."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)


def handler(
    function: Function, resources: Mapping[str, Resource] | None = None, *, is_responder: bool = False
) -> Handler:
    """Look at a handler. Raises DeclarationError when it cannot be called with a payload, a message, a node and what
    there is of ``resources``; or takes none of them, unless it is a responder: a question may be without arguments.
    """
    parameters, known = _parameters(function), resources or {}
    given = _resources(function, parameters, known)
    others = [one for one in parameters if one.name not in _GIVEN and one.name not in given]
    payloads = [one for one in others if one.kind in _POSITIONAL]
    needed = [one.name for one in payloads[1:] if one.default is one.empty]
    needed += [one.name for one in others if one.kind is one.KEYWORD_ONLY and one.default is one.empty]
    if needed:
        there = ["message", "node", *known]
        named = f"{', '.join(there[:-1])} and {there[-1]}"
        what = "responder" if is_responder else "handler"
        raise DeclarationError(
            f"{_where(function)}: a {what} takes the payload and, if it names them, {named}; "
            f"not {', '.join(needed)}{did_you_mean(needed[0], there)}"
        )
    wants = frozenset(one.name for one in parameters if one.name in _GIVEN)
    if not payloads and not wants and not given and not is_responder:
        raise DeclarationError(f"{_where(function)}: a handler has to take the payload")
    payload = payloads[0].name if payloads else None
    check = _check(function, payload) if payload else None
    annotation = _annotation(function, payload) if payload else Any
    return Handler(function, is_async(function), payload, wants, check, is_responder, given, annotation)


def _resources(
    function: Function, parameters: list[inspect.Parameter], known: Mapping[str, Resource]
) -> dict[str, str]:
    """Which parameters ask for a resource, and which."""
    found = {}
    for one in parameters if known else ():
        if one.name not in _GIVEN and one.kind in _NAMED:
            resource = wanted_resource(one.name, partial(_annotation, function, one.name), known)
            if resource is not None:
                found[one.name] = resource
    return found


def service_wants(function: Function, resources: Mapping[str, Resource] | None = None) -> tuple[str, dict[str, str]]:
    """Which parameter of a service function takes the service ("" for none), and which get which resource.

    Raises DeclarationError when it wants more.
    """
    parameters, known = _parameters(function), resources or {}
    given = _resources(function, parameters, known)
    needed = [one for one in parameters if one.default is one.empty and one.kind in _NEEDED and one.name not in given]
    if len(needed) > 1 or any(one.kind is one.KEYWORD_ONLY for one in needed):
        names = [one.name for one in needed]
        hint = did_you_mean(names[-1], known)
        more = f", and the resources {', '.join(known)}" if known else ""
        raise DeclarationError(
            f"{_where(function)}: a service function takes nothing or the service{more}, not {', '.join(names)}{hint}"
        )
    return needed[0].name if needed else "", given


_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_NEEDED = (*_POSITIONAL, inspect.Parameter.KEYWORD_ONLY)


def _parameters(function: Function) -> list[inspect.Parameter]:
    if not callable(function):
        raise DeclarationError(f"{function!r} is no function")
    try:
        return list(inspect.signature(function).parameters.values())
    except ValueError as error:
        raise DeclarationError(f"{function!r}: its parameters cannot be read: {error}") from error


def _where(function: Function) -> str:
    code = getattr(inspect.unwrap(function), "__code__", None)
    name = getattr(function, "__qualname__", repr(function))
    return f"{code.co_filename}:{code.co_firstlineno}: {name}" if code else name


def result_check(function: Function, *, is_stream: bool = False) -> Callable[[Any], Any] | None:
    """What validates the function's result, or what it yields, by its annotation; None where there is nothing to do."""
    annotation = result_annotation(function, is_stream=is_stream)
    return _checker(annotation, f"{_where(function)}: what it returns", _plain(annotation))


def result_annotation(function: Function, *, is_stream: bool) -> Any:
    """What the function says that it returns, or yields; Any where it says nothing."""
    annotation = _annotation(function, "return")
    return next(iter(typing.get_args(annotation)), Any) if is_stream else annotation


def _check(function: Function, parameter: str) -> Callable[[Any], Any] | None:
    annotation = _annotation(function, parameter)
    of_json = next((kind for shape, kind in _OF_JSON if shape == annotation), None)
    return _checker(annotation, f"{_where(function)}: {parameter}", _plain(annotation) or of_json)


def _plain(annotation: Any) -> type | None:
    return annotation if annotation in _PLAIN else None


def _checker(annotation: Any, where: str, plain: type | None) -> Callable[[Any], Any] | None:
    if annotation in (Any, object, inspect.Parameter.empty):
        return None
    try:
        validate = TypeAdapter(annotation).validate_python
    except PydanticSchemaGenerationError as error:
        raise DeclarationError(f"{where}: {error}") from error

    def check(payload: Any) -> Any:
        if payload.__class__ is plain:
            return payload
        try:
            return validate(payload)
        except ValidationError as error:
            raise InvalidPayload(_in_words(error)) from None

    return check


def _annotation(function: Function, parameter: str) -> Any:
    target = function if inspect.isroutine(function) else type(function).__call__
    try:
        return typing.get_type_hints(target, include_extras=True).get(parameter, Any)
    except NameError as error:
        raise DeclarationError(f"{_where(function)}: the annotation of {parameter} cannot be read: {error}") from error


def _in_words(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    path = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in first["loc"])
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    came = "" if first["type"] == "missing" else f", not {type(first['input']).__name__}"
    return f"payload{path}: {first['msg']}{came}{more}"
