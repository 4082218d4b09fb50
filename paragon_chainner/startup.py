"""Make spandrel know the family, and chaiNNer our nodes; called by every start of the Python that this is installed in.

A start-up file beside the packages (``paragonsr.pth``, from Python 3.15 on ``paragonsr.start``) calls `install`. That
puts one finder into `sys.meta_path`, which waits for three modules:

1. ``spandrel`` has been imported: import ``paragon_arch.spandrel_support``.
2. ``paragon_arch.spandrel_support`` has been imported: call its ``register``.
3. ``packages.chaiNNer_pytorch.pytorch`` has been imported, where chaiNNer makes its groups of PyTorch nodes: add ours.

The first two are apart because our own module imports spandrel: when it is the one that was asked for, step 1 finds it
half-imported and leaves the rest to step 2.

At start-up only `sys` is needed. Whatever goes wrong later is one line in the log; the import that was asked for goes
on as if this package were not there.
"""

import sys

TYPE_CHECKING = False  # typing's constant, without the cost of importing typing
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from importlib.machinery import ModuleSpec
    from types import ModuleType


class Finder:
    """A meta path finder that finds what the others find, and acts once the module has been imported."""

    def __init__(self, actions: "Mapping[str, Callable[[ModuleType], object]]") -> None:
        self.actions = actions

    def find_spec(self, name: str, path: object = None, target: object = None) -> "ModuleSpec | None":
        """The spec that the other finders have for `name`, made to report; None for modules that do not matter here."""
        if name not in self.actions:
            return None
        for finder in sys.meta_path:
            find = None if finder is self else getattr(finder, "find_spec", None)
            spec: ModuleSpec | None = None if find is None else find(name, path, target)
            if spec is not None:
                self._report(spec)
                return spec
        return None

    def _report(self, spec: "ModuleSpec") -> None:
        """Replace ``exec_module`` of this one loader, so that type and data of the loader stay what others expect."""
        loader, action = spec.loader, self.actions[spec.name]
        execute = getattr(loader, "exec_module", None)

        def exec_module(module: "ModuleType") -> None:
            assert execute is not None
            execute(module)
            if module.__name__ == spec.name:  # a loader may serve several modules
                _attempt(action, module)

        if execute is not None:
            _attempt(setattr, loader, "exec_module", exec_module)


def install() -> None:
    """Start waiting for spandrel. Again is harmless, also from another copy of this package."""
    if not any(type(finder).__module__ == __name__ for finder in sys.meta_path):
        sys.meta_path.insert(0, Finder(ACTIONS))


def _attempt(function: "Callable[..., object]", *arguments: object) -> None:
    """Call `function`; a failure is logged, since somebody else's import is in progress."""
    try:
        function(*arguments)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit and panics of native libraries too
        _log(error)


def _log(error: BaseException) -> None:
    try:
        import logging

        logging.getLogger("paragonsr").warning(
            "ParagonSR is not fully available: %s: %s. Reinstall or uninstall comfyui-paragonsr (%s -m pip).",
            type(error).__name__,
            error,
            sys.executable,
        )
    except Exception:  # noqa: S110 - there is nowhere left to say it
        pass


def _import_support(_: "ModuleType") -> None:
    try:
        import paragon_arch.spandrel_support  # noqa: F401  # pyright: ignore[reportUnusedImport]
    except RuntimeError as error:
        if type(error).__name__ != "_DeadlockError":
            raise
        # another thread is importing it at this moment, waits for spandrel, and will come to step 2


def _register(support: "ModuleType") -> None:
    support.register()


def _add_nodes(_: "ModuleType") -> None:
    from importlib.util import find_spec

    if find_spec("spandrel") is not None:  # chaiNNer installs it at the user's wish, and shows no PyTorch nodes before
        from paragon_chainner.nodes import add_nodes

        add_nodes()


ACTIONS: "dict[str, Callable[[ModuleType], object]]" = {
    "spandrel": _import_support,
    "paragon_arch.spandrel_support": _register,
    "packages.chaiNNer_pytorch.pytorch": _add_nodes,
}
"""What is done after which import."""
