"""The start-up hook: what it costs, that it registers the family, and that nothing about it can stop anybody.

Stand-ins for spandrel and paragon_arch keep this quick and free of torch; test_spandrel.py has the real ones.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable

import pytest

from tests.chainner.hook_environment import Environment

MODULES = "import sys; print(*sorted(sys.modules))"
REGISTERED = "import spandrel; print(spandrel.MAIN_REGISTRY.ids)"
SUPPORT = "paragon_arch/spandrel_support.py"
HOOK = "paragon_chainner/startup.py"


def test_starting_python_imports_the_hook_and_nothing_else(standin: Environment) -> None:
    added = set(standin.output(MODULES).split()) - set(standin.output(MODULES, "-S").split())
    (standin.packages / "paragonsr.pth").unlink()
    (standin.packages / "paragonsr.start").unlink()
    added -= set(standin.output(MODULES).split())
    assert added == {"paragon_chainner", "paragon_chainner.startup"}


def test_the_hook_costs_less_than_a_millisecond(standin: Environment) -> None:
    """Processor time of importing and installing it, which every start of that Python pays; the best of some starts."""
    code = f"""
import sys, time
sys.path.insert(0, {str(standin.packages)!r})
began = time.process_time()
import paragon_chainner.startup
paragon_chainner.startup.install()
print(time.process_time() - began)
"""
    assert min(float(standin.output(code, "-S")) for _ in range(6)) < 1e-3


@pytest.mark.parametrize("options", [(), ("-I",), ("-E",), ("-W", "error"), ("-O",), ("-X", "dev")])
def test_spandrel_knows_us_once_it_is_imported(standin: Environment, options: tuple[str, ...]) -> None:
    assert standin.output(REGISTERED, *options) == "['ours']"


def test_nothing_of_ours_is_imported_where_spandrel_is_not(standin: Environment) -> None:
    assert standin.output("import json, sys; print('paragon_arch' in sys.modules)") == "False"


def test_importing_ours_first_registers_too(standin: Environment) -> None:
    """Our module imports spandrel, which must not find it half-imported."""
    assert standin.output(f"import paragon_arch.spandrel_support; {REGISTERED}") == "['ours']"


def test_a_spawned_process_registers(standin: Environment) -> None:
    (standin.packages / "worker.py").write_text(
        "def ids(_):\n    import spandrel\n    return spandrel.MAIN_REGISTRY.ids\n"
    )
    code = "import multiprocessing as m, worker; print(m.get_context('spawn').Pool(1).map(worker.ids, [0]))"
    assert standin.output(code) == "[['ours']]"


def test_threads_that_import_both_at_once(standin: Environment) -> None:
    code = """
import importlib, threading
names = ["spandrel", "paragon_arch.spandrel_support"] * 4
threads = [threading.Thread(target=importlib.import_module, args=[name]) for name in names]
[thread.start() for thread in threads]
[thread.join(60) for thread in threads]
"""
    assert standin.output(code + REGISTERED) == "['ours']"


def test_installing_twice_leaves_one_finder(standin: Environment) -> None:
    code = "import sys, paragon_chainner.startup as s; s.install(); print(str(sys.meta_path).count('startup.Finder'))"
    assert standin.output(code) == "1"


def test_the_module_keeps_the_loader_that_it_would_have(standin: Environment) -> None:
    code = "import spandrel as s; print(type(s.__spec__.loader).__name__, s.__spec__.loader.is_package('spandrel'))"
    assert standin.output(code) == "SourceFileLoader True"


def test_importing_spandrel_again_after_it_failed(standin: Environment) -> None:
    standin.write(
        "spandrel/__init__.py", "import builtins\nif not hasattr(builtins, 'ready'):\n    raise ImportError\n"
    )
    code = "import builtins\ntry:\n    import spandrel\nexcept ImportError:\n    builtins.ready = 1\nimport spandrel"
    standin.write(SUPPORT, "def register():\n    print('registered')\n")
    assert standin.output(code) == "registered"


def remove_the_hook(standin: Environment) -> None:
    shutil.rmtree(standin.packages / "paragon_chainner")


def remove_paragon_arch(standin: Environment) -> None:
    shutil.rmtree(standin.packages / "paragon_arch")


def writing(name: str, text: str) -> Callable[[Environment], None]:
    return lambda standin: standin.write(name, text)


BROKEN: dict[str, Callable[[Environment], None]] = {
    "the hook is missing": remove_the_hook,
    "the hook has a syntax error": writing(HOOK, "def ("),
    "the hook fails when imported": writing(HOOK, "raise RuntimeError('broken')"),
    "the hook fails when called": writing(HOOK, "def install():\n    raise RuntimeError('broken')"),
    "the hook has no function to call": writing(HOOK, ""),
    "the finder has nothing to do": writing(HOOK, "import sys\ndef install():\n    sys.no_such_name"),
    "paragon_arch is missing": remove_paragon_arch,
    "paragon_arch has a syntax error": writing(SUPPORT, "def ("),
    "paragon_arch lacks a package": writing(SUPPORT, "import no_such_package"),
    "paragon_arch exits": writing(SUPPORT, "raise SystemExit(3)"),
    "paragon_arch panics": writing(SUPPORT, "class Panic(BaseException): ...\nraise Panic('native code')"),
    "registering fails": writing(SUPPORT, "def register():\n    raise ValueError('duplicate')"),
    "registering exits": writing(SUPPORT, "def register():\n    raise SystemExit(3)"),
    "there is nothing to register": writing(SUPPORT, ""),
    "the module is binary rubbish": writing(SUPPORT, "\0\1\2"),
}


@pytest.mark.parametrize("damage", BROKEN.values(), ids=BROKEN)
def test_a_broken_hook_stops_neither_python_nor_spandrel(
    standin: Environment, damage: Callable[[Environment], None]
) -> None:
    damage(standin)
    done = standin.run(REGISTERED)
    assert (done.returncode, done.stdout.strip()) == (0, "[]")
    assert done.stderr, "a failure must not be silent"


def test_a_failure_is_one_line_that_names_the_cure(standin: Environment) -> None:
    BROKEN["paragon_arch exits"](standin)
    text = standin.run(REGISTERED).stderr
    assert text.count("\n") == 1
    assert "ParagonSR" in text
    assert "pip" in text


def test_a_failure_without_standard_error(standin: Environment) -> None:
    """pythonw.exe has none."""
    BROKEN["registering fails"](standin)
    assert standin.output("import sys; sys.stderr = None; " + REGISTERED) == "[]"


def test_the_user_can_interrupt(standin: Environment) -> None:
    standin.write(SUPPORT, "raise KeyboardInterrupt")
    assert (
        standin.run("try:\n    import spandrel\nexcept KeyboardInterrupt:\n    print('stopped')").stdout == "stopped\n"
    )
