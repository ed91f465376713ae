"""Resources: values that a node makes when it starts and frees when it stops, such as a pool of connections."""

from __future__ import annotations

import asyncio
import inspect
import typing
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, overload

from ..cancelling import RAISED, end, is_ending
from ..errors import DeclarationError, HivemindError, in_words
from .places import place_of

if TYPE_CHECKING:
    from .base import BaseNode

F = TypeVar("F", bound=Callable[..., Any])
MARK = "__hivemind_resource__"
GIVEN = ("message", "node", "payload", "service")  #: names of parameters that mean something else
_ITERATED = {
    typing.get_origin(kind)
    for kind in (
        typing.AsyncIterator[Any],
        typing.AsyncGenerator[Any, Any],
        typing.AsyncIterable[Any],
        typing.Iterator[Any],
        typing.Generator[Any, Any, Any],
        typing.Iterable[Any],
    )
}


@overload
def resource(function: F) -> F: ...


@overload
def resource(*, name: str) -> Callable[[F], F]: ...


def resource(function: F | None = None, *, name: str = "") -> Any:
    """Declare that the function makes a value that handlers, services and responders get where they name it.

    It is called when the node starts, before ``on_start``. A ``def`` or ``async def`` returns the value; a generator
    yields it once, and what stands behind the ``yield`` frees it, after ``on_shutdown``. What is no ``async def`` runs
    on a thread. It may take ``node``, and resources that are declared above it. Its name is the function's. ::

        @resource
        async def pool(self) -> AsyncIterator[Pool]:
            async with create_pool() as pool:
                yield pool

        @subscription("order-*")
        async def store(self, order: dict, pool: Pool): ...
    """

    def mark(marked: F) -> F:
        if not callable(marked):
            raise DeclarationError(f"@resource decorates a function, not {marked!r}")
        called = name or marked.__name__
        if not called.isidentifier() or called in GIVEN:
            raise DeclarationError(f"resource {called!r}: it cannot have that name, it would not be a parameter's own")
        setattr(marked, MARK, called)
        return marked

    return mark if function is None else mark(function)


def is_resource(function: object) -> bool:
    """Whether it was declared a resource."""
    return isinstance(getattr(function, MARK, None), str)


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource that was declared: what makes it, what type it is of (None if that is not said), what it takes."""

    name: str
    function: Callable[..., Any]
    kind: Any
    takes: tuple[str, ...]


def declared_resources(functions: Mapping[str, Callable[..., Any]], where: str) -> dict[str, Resource]:
    """The resources among ``functions``, by name, in their order. Raises DeclarationError where one takes what is not
    there, and where two have one name.
    """
    found: dict[str, Resource] = {}
    for function in functions.values():
        if not is_resource(function):
            continue
        name = getattr(function, MARK)
        if name in found:
            raise DeclarationError(f"{place_of(function)}{where}: there are two resources called {name!r}")
        takes = tuple(inspect.signature(function).parameters)
        if unknown := [one for one in takes if one != "node" and one not in found]:
            raise DeclarationError(
                f"{place_of(function)}{where}: resource {name!r} takes {', '.join(unknown)}: it can take node, and "
                f"resources that are declared above it ({', '.join(found) or 'none'})"
            )
        found[name] = Resource(name, function, _kind(function), takes)
    return found


def _kind(function: Callable[..., Any]) -> Any:
    try:
        said = typing.get_type_hints(function).get("return")
    except NameError:
        return None
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        return typing.get_args(said)[0] if typing.get_origin(said) in _ITERATED and typing.get_args(said) else None
    return said


class Resources:
    """The resources of a node that runs. They are made and freed in one task: some can be freed nowhere else."""

    def __init__(self, declared: Mapping[str, Resource]) -> None:
        self.made: dict[str, Any] = {}
        self._declared = declared
        self._open: list[tuple[str, Iterator[Any] | AsyncIterator[Any]]] = []
        self._is_over = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def make(self, node: BaseNode) -> None:
        """Make all of them, in order; nothing if that is done. When one fails those before it are freed, and
        HivemindError says which it was.
        """
        if self._task is not None or not self._declared:
            return
        self._is_over.clear()
        made: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        task = self._task = asyncio.create_task(self._keep(node, made), name=f"resources of {node.name}")
        try:
            await made
        except BaseException:
            await end(task)
            self._task = None
            raise

    async def free(self) -> None:
        """Free them, the last one first. May be called twice."""
        if self._task is not None:
            self._is_over.set()
            try:
                await asyncio.shield(self._task)
            finally:
                await end(self._task)
                self._task = None

    async def _keep(self, node: BaseNode, made: asyncio.Future[None]) -> None:
        try:
            try:
                for one in self._declared.values():
                    await self._make(one, node)
            except HivemindError as error:
                await self._free(node)
                made.set_exception(error)
                return
            made.set_result(None)
            await self._is_over.wait()
        finally:
            await self._free(node)

    async def _make(self, one: Resource, node: BaseNode) -> None:
        arguments = {name: node if name == "node" else self.made[name] for name in one.takes}
        try:
            self.made[one.name] = await self._first(one, arguments)
        except RAISED as error:
            if is_ending(error):
                raise
            raise HivemindError(f"resource {one.name!r} of {node.name} cannot be made: {in_words(error)}") from error

    async def _first(self, one: Resource, arguments: Mapping[str, Any]) -> Any:
        function = one.function
        if inspect.isasyncgenfunction(function):
            opened = function(**arguments)
            value = await anext(opened, _NOTHING)
        elif inspect.isgeneratorfunction(function):
            opened = function(**arguments)
            value = await asyncio.to_thread(next, opened, _NOTHING)
        elif inspect.iscoroutinefunction(function):
            return await function(**arguments)
        else:
            return await asyncio.to_thread(function, **arguments)
        if value is _NOTHING:
            raise DeclarationError("it yielded nothing")
        self._open.append((one.name, opened))
        return value

    async def _free(self, node: BaseNode) -> None:
        while self._open:
            name, opened = self._open.pop()
            self.made.pop(name, None)
            try:
                await _finish(opened)
            except RAISED as error:
                if is_ending(error):
                    raise
                node.logger.error("resource %r could not be freed: %s", name, in_words(error), exc_info=error)
        self.made.clear()


_NOTHING = object()


async def _finish(opened: Iterator[Any] | AsyncIterator[Any]) -> None:
    """Run what stands behind the yield."""
    more = await (anext(opened, _NOTHING) if isinstance(opened, AsyncIterator) else _next_on_thread(opened))
    if more is not _NOTHING:
        raise DeclarationError("it yielded twice")


async def _next_on_thread(opened: Iterator[Any]) -> Any:
    return await asyncio.to_thread(next, opened, _NOTHING)


def wanted_resource(name: str, annotation: Callable[[], Any], resources: Mapping[str, Resource]) -> str | None:
    """The resource that a parameter asks for, by its name or else by its type; None if it asks for none.

    Raises DeclarationError when several are of that type.
    """
    if name in resources:
        return name
    kind = annotation() if any(one.kind is not None for one in resources.values()) else None
    if not _tells(kind):
        return None
    found = [one.name for one in resources.values() if one.kind == kind]
    if len(found) > 1:
        raise DeclarationError(f"{name}: {', '.join(found)} are all of the type {kind!r}: name the parameter like one")
    return found[0] if found else None


def _tells(kind: Any) -> bool:
    """Whether a type tells one resource from a payload: that of any JSON does not."""
    return kind not in (None, Any, object, str, int, float, bool, bytes, list, dict) and typing.get_origin(kind) is None
