"""Builds actorkit with the modules on the way of a message compiled, where ACTORKIT_COMPILE=1 asks for it; else as it is.

`python hatch_build.py FOLDER` compiles them in a copy of the sources that is in FOLDER.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any

try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface as Hook  # type: ignore[import-not-found, unused-ignore]
except ImportError:  # run as a script
    Hook = object

COMPILED = [f"actorkit/_runtime/{name}.py" for name in ("waits", "mailbox", "outlets", "cell", "dispatcher")]
"""They are compiled together, so that each calls the others' functions directly."""
NEEDED = ["mypy>=2", "setuptools>=65"]

SCRIPT = """
import sys
from mypyc.build import mypycify
from setuptools import setup
modules = mypycify(["--follow-imports=silent", "--ignore-missing-imports", *sys.argv[1:]], opt_level="3", debug_level="0")
setup(name="actorkit-compiled", packages=[], ext_modules=modules, script_args=["-q", "build_ext", "--inplace"])
"""


def compile_in(folder: Path) -> list[Path]:
    """Compiles them beside their sources; returns the files that came of it, relative to `folder`."""
    settings = folder / "pyproject.toml"
    hidden = settings.rename(folder / "pyproject.hidden") if settings.exists() else None  # setuptools need not read what is not for it
    try:
        subprocess.run([sys.executable, "-c", SCRIPT, *COMPILED], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    finally:
        if hidden is not None:
            hidden.rename(settings)
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    return sorted(path.relative_to(folder) for path in folder.rglob(f"*{suffix}") if "build" not in path.relative_to(folder).parts)


class CompiledHook(Hook):  # type: ignore[misc]
    """Adds what was compiled to the wheel."""

    _copy: Path | None = None

    def dependencies(self) -> list[str]:
        """What it takes to build it."""
        return NEEDED if self._is_wanted else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compiles, in a copy."""
        if not self._is_wanted or self.target_name != "wheel" or version == "editable":
            return
        self._copy = copy = Path(mkdtemp(prefix="actorkit-"))
        root = Path(self.root)
        for path in root.joinpath("actorkit").rglob("*.py"):
            to = copy / path.relative_to(root)
            to.parent.mkdir(parents=True, exist_ok=True)
            to.write_bytes(path.read_bytes())
        build_data["pure_python"], build_data["infer_tag"] = False, True
        for path in compile_in(copy):
            build_data["force_include"][str(copy / path)] = str(path)

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Removes the copy: what was compiled is in the wheel."""
        if self._copy is not None:
            rmtree(self._copy)

    @property
    def _is_wanted(self) -> bool:
        return os.environ.get("ACTORKIT_COMPILE") == "1"


if __name__ == "__main__":
    compile_in(Path(sys.argv[1]).resolve())
