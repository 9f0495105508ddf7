"""The statements of a module in a normal form, whose equal text means equal behaviour, and what each refers to.

The form leaves out what changes no result: comments, docstrings, annotations, positions, messages to `logger`, the
texts of our own errors and the help of commands. Local names are numbered, so that renaming one changes nothing.
Imports are written as what they import, not from where, so that moving a function changes nothing. Nothing is imported
or run.
"""

from __future__ import annotations

import ast
import builtins
import functools
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

# Annotations that make a dataclass treat a field differently.
_SPECIAL = ("ClassVar", "InitVar", "KW_ONLY")
# Functions that let code see its local names.
_SEE_NAMES = {"locals", "vars", "eval", "exec", "dir"}
# Without `_`, the last value, which an interactive session or a doctest adds.
_BUILTINS = frozenset(vars(builtins)) - {"_"}
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_SCOPES = (*_FUNCTIONS, ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


@dataclass(frozen=True)
class ImportedName:
    """What an import binds: `module`, or `name` in it."""

    module: str
    name: str = ""

    def __str__(self) -> str:
        return f"{self.module}.{self.name}" if self.name else self.module


class Statement:
    """A statement of a module's top level; its normal form is made when it is first needed.

    Attributes:
        lines: first and last line in its file.
    """

    def __init__(self, node: ast.stmt, writer: _Writer) -> None:
        self._node, self._writer = node, writer
        starts = [node.lineno, *(decorator.lineno for decorator in getattr(node, "decorator_list", ()))]
        self.lines = (min(starts), node.end_lineno or node.lineno)

    @functools.cached_property
    def _read(self) -> _Writer:
        self._writer.write(self._node)
        return self._writer

    @functools.cached_property
    def digest(self) -> str:
        """Hash of its normal form."""
        return hashlib.sha256("\n".join(self._read.parts).encode()).hexdigest()[:32]

    @property
    def names(self) -> set[str]:
        """Dotted names that it refers to, `a` or `a.b.c`, without local ones."""
        return self._read.names

    @property
    def imports(self) -> dict[str, ImportedName]:
        """What the imports inside it bind."""
        return self._read.imports

    @property
    def loads(self) -> set[tuple[str, str]]:
        """Families of members that it loads by id, `nearid.heads.objectives`, with the name that it takes of a member.

        The name is empty if it takes the module.
        """
        return self._read.loads

    @property
    def strings(self) -> set[str]:
        """Its string constants, which may name files."""
        return self._read.strings


@dataclass
class Module:
    """A module's statements by what they bind.

    Attributes:
        defined: name -> the statements that bind it.
        always: statements that bind nothing and run whenever the module is imported.
        imports: name -> what a top-level import binds it to, those for type checkers included.
        runs: modules that are imported whenever this one is.
    """

    name: str
    defined: dict[str, list[Statement]] = field(default_factory=dict)
    always: list[Statement] = field(default_factory=list)
    imports: dict[str, ImportedName] = field(default_factory=dict)
    runs: set[str] = field(default_factory=set)

    @property
    def statements(self) -> Iterator[Statement]:
        """All of them; a statement that binds two names occurs twice."""
        yield from self.always
        for statements in self.defined.values():
            yield from statements


def read_module(name: str, path: Path) -> Module:
    """The statements of the module `name` in the file `path`."""
    return _read_module(name, name if path.name == "__init__.py" else name.rpartition(".")[0], path.read_bytes())


@functools.cache
def _read_module(name: str, package: str, content: bytes) -> Module:
    module = Module(name)
    tree = ast.parse(content)
    known = {name for node in tree.body for name in _known_from(node, package)}
    for node in tree.body:
        if _is_typing_only(node):
            for inner in _walk([node]):
                if isinstance(inner, ast.Import | ast.ImportFrom):
                    module.imports |= dict(_bindings(inner, package))
        elif isinstance(node, ast.Import | ast.ImportFrom):
            module.imports |= dict(_bindings(node, package))
            module.runs |= _imported(node, package)
        elif not _is_idle(node):
            _add(module, node, package, known)
    return module


def _add(module: Module, node: ast.stmt, package: str, known: set[str]) -> None:
    statement = Statement(node, _Writer(module.name, package, known))
    bound = sorted(_bound_at_top(node))
    for name in bound:
        module.defined.setdefault(name, []).append(statement)
    compound = not isinstance(node, (*_FUNCTIONS, ast.ClassDef, ast.Assign, ast.AnnAssign))
    if compound or not bound:
        module.always.append(statement)
        module.imports |= statement.imports


def _bound_at_top(node: ast.stmt) -> set[str]:
    if isinstance(node, (*_FUNCTIONS, ast.ClassDef)):
        return {node.name}
    return {inner.id for inner in _walk([node]) if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store)}


def _known_from(node: ast.stmt, package: str) -> Iterator[str]:
    if isinstance(node, ast.Import | ast.ImportFrom):
        yield from (name for name, _ in _bindings(node, package))
    else:
        yield from _bound_at_top(node)


class _Writer:
    def __init__(self, module: str, package: str, known: set[str]) -> None:
        self.parts: list[str] = []
        self.names: set[str] = set()
        self.imports: dict[str, ImportedName] = {}
        self.loads: set[tuple[str, str]] = set()
        self.strings: set[str] = set()
        self._module, self._package, self._known = module, package, known
        self._local: dict[str, str] | None = None  # of the outermost function: name -> its number, once it has occurred
        self._unmet: set[str] = set()

    def write(self, node: object) -> None:
        if isinstance(node, list):
            self.parts.append("[")
            for item in node:
                self.write(item)
            self.parts.append("]")
        elif not isinstance(node, ast.AST):
            self.parts.append(repr(node))
        elif not (isinstance(node, ast.stmt) and _is_idle(node)):
            method = getattr(self, f"_write_{type(node).__name__.lower()}", self._plain)
            method(node)

    def _plain(self, node: ast.AST) -> None:
        self.parts.append(f"({type(node).__name__}")
        for name in node._fields:
            if name not in ("ctx", "kind", "type_comment"):
                self.write(getattr(node, name))
        self.parts.append(")")

    def _write_constant(self, node: ast.Constant) -> None:
        self.parts.append(repr(node.value))
        if isinstance(node.value, str):
            self.strings.add(node.value)

    def _write_name(self, node: ast.Name) -> None:
        self.parts.append(self._called(node.id))
        if isinstance(node.ctx, ast.Load) and not self._is_local(node.id):
            self.names.add(node.id)

    def _write_attribute(self, node: ast.Attribute) -> None:
        family = _loaded_family(node.value, self._module)
        if family:
            self.loads.add((family, node.attr))
            assert isinstance(node.value, ast.Call)
            self.parts.append("(member")
            self.write(node.value.args)
            self.parts.append(f".{node.attr})")
            return
        dotted = _dotted(node)
        if dotted and not self._is_local(dotted.split(".")[0]):
            self.names.add(dotted)
            self.parts.append(f"({dotted})")
        else:
            self._plain(node)

    def _write_call(self, node: ast.Call) -> None:
        family = _loaded_family(node, self._module)
        if family:
            self.loads.add((family, ""))
        self.parts.append("(call")
        self.write(node.func)
        self.write(node.args)
        # Only people read the help of a command's option.
        self.write([keyword for keyword in node.keywords if keyword.arg != "help"])
        self.parts.append(")")

    def _write_raise(self, node: ast.Raise) -> None:
        ours = ("UserError", "ImageError")
        if isinstance(node.exc, ast.Call) and isinstance(node.exc.func, ast.Name) and node.exc.func.id in ours:
            self.parts.append(f"(raise {node.exc.func.id})")
        else:
            self._plain(node)

    def _write_functiondef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self.write(node.decorator_list)
        self.parts.append(f"({type(node).__name__} {self._called(node.name)}")
        outermost = self._local is None
        if outermost:
            self._local, self._unmet = {}, _local_names(node, self._known)
        self.write(node.args)
        self.write(node.body)
        self.parts.append(")")
        if outermost:
            self._local = None

    _write_asyncfunctiondef = _write_functiondef

    def _write_arguments(self, node: ast.arguments) -> None:
        groups = (node.posonlyargs, node.args, [node.vararg], node.kwonlyargs, [node.kwarg])
        self.parts.append(repr([[arg.arg if arg else None for arg in group] for group in groups]))
        self.write(node.defaults)
        self.write(node.kw_defaults)

    def _write_annassign(self, node: ast.AnnAssign) -> None:
        words = {inner.id for inner in ast.walk(node.annotation) if isinstance(inner, ast.Name)}
        if self._local is not None:
            if node.value is not None:  # else it is only an annotation
                self._plain(ast.Assign([node.target], node.value))
            return
        self.parts.append(f"(field {[word for word in _SPECIAL if word in words]}")
        self.write(node.target)
        self.write(node.value)
        self.parts.append(")")

    def _write_import(self, node: ast.Import | ast.ImportFrom) -> None:
        for name, target in _bindings(node, self._package):
            self.imports[name] = target
            if not target.module.startswith("nearid"):
                self.parts.append(f"(import {target})")

    _write_importfrom = _write_import

    def _is_local(self, name: str) -> bool:
        return self._local is not None and (name in self._local or name in self._unmet)

    def _called(self, name: str) -> str:
        if not self._is_local(name):
            return name
        assert self._local is not None
        return self._local.setdefault(name, f"%{len(self._local)}")

    def _write_excepthandler(self, node: ast.ExceptHandler) -> None:
        self.parts.append("(except")
        self.write(node.type)
        self.parts.append(self._called(node.name) if node.name else "-")
        self.write(node.body)
        self.parts.append(")")


def _local_names(function: ast.FunctionDef | ast.AsyncFunctionDef, known: set[str]) -> set[str]:
    """The local names of a function, without parameters, which callers may use, and imports, which mean something."""
    kept: set[str] = set()
    own: set[str] = set()
    inner: set[str] = set()
    nodes: list[tuple[ast.AST, bool]] = [(child, True) for child in function.body]
    kept |= _parameters(function.args)
    while nodes:
        node, direct = nodes.pop()
        if isinstance(node, ast.Name):
            if node.id in _SEE_NAMES:
                return set()
            if not isinstance(node.ctx, ast.Load):
                (own if direct else inner).add(node.id)
        elif isinstance(node, (*_FUNCTIONS, ast.ClassDef, ast.ExceptHandler)) and node.name:
            (own if direct else inner).add(node.name)
        elif isinstance(node, ast.Global | ast.Nonlocal):
            kept |= set(node.names)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            kept |= {name for name, _ in _bindings(node, "")}
        elif isinstance(node, ast.MatchAs | ast.MatchStar | ast.MatchMapping):
            kept |= {getattr(node, "name", None) or "", getattr(node, "rest", None) or ""}
        if isinstance(node, (*_FUNCTIONS, ast.Lambda)):
            kept |= _parameters(node.args)
        if isinstance(node, ast.ClassDef):
            # Its body's names are attributes.
            kept |= {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
            kept |= {n.name for n in ast.walk(node) if isinstance(n, _FUNCTIONS)}
        below = direct and not isinstance(node, _SCOPES)
        nodes += [(child, below) for child in ast.iter_child_nodes(node)]
    # A name that is bound in an inner scope only may be global elsewhere in the function.
    return (own | {name for name in inner - known if name not in _BUILTINS}) - kept


def _parameters(arguments: ast.arguments) -> set[str]:
    listed = (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg)
    return {argument.arg for argument in listed if argument}


def _is_idle(node: ast.stmt) -> bool:
    if isinstance(node, ast.Expr):
        called = _dotted(node.value.func) if isinstance(node.value, ast.Call) else None
        return isinstance(node.value, ast.Constant) or (called or "").startswith("logger.")
    return isinstance(node, ast.Pass) or _is_typing_only(node)


def _is_typing_only(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def _bindings(node: ast.Import | ast.ImportFrom, package: str) -> Iterator[tuple[str, ImportedName]]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield (
                (alias.asname, ImportedName(alias.name))
                if alias.asname
                else (
                    alias.name.split(".")[0],
                    ImportedName(alias.name.split(".")[0]),
                )
            )
        return
    module = _absolute(node, package)
    for alias in node.names:
        yield alias.asname or alias.name, ImportedName(module, alias.name)


def _imported(node: ast.Import | ast.ImportFrom, package: str) -> set[str]:
    if isinstance(node, ast.Import):
        return {alias.name for alias in node.names}
    module = _absolute(node, package)
    return {module, *(f"{module}.{alias.name}" for alias in node.names)}


def _absolute(node: ast.ImportFrom, package: str) -> str:
    if not node.level:
        return node.module or ""
    parts = package.split(".")
    base = parts[: len(parts) - node.level + 1]
    return ".".join([*base, *([node.module] if node.module else [])])


def _loaded_family(node: ast.AST, module: str) -> str:
    """The package whose modules `import_module(f"...{id}")` loads; empty if `node` is something else."""
    if not (isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.JoinedStr)):
        return ""
    if (_dotted(node.func) or "").split(".")[-1] != "import_module":
        return ""
    start = ""
    for part in node.args[0].values:
        if isinstance(part, ast.Constant):
            start += str(part.value)
        elif isinstance(part, ast.FormattedValue) and isinstance(part.value, ast.Name) and part.value.id == "__name__":
            start += module
        else:
            break
    return start.rstrip(".")


def _dotted(node: ast.AST) -> str | None:
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(names)]) if isinstance(node, ast.Name) else None


def _walk(nodes: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """Nodes and all below them, but not what is inside functions and classes."""
    for node in nodes:
        yield node
        if not isinstance(node, (*_SCOPES, ast.ClassDef)):
            yield from _walk(ast.iter_child_nodes(node))
