"""`actorkit graph`: what it prints, and what it says when something is wrong."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from actorkit.cli import main
from actorkit.policy.recovery import RecoveryPolicy

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted(path.parent.name for path in (ROOT / "examples").glob("*/__init__.py"))

TREE = """
from actorkit import Actor, OutPort, RecoveryAction, RecoveryPolicy, Rule, child, in_port, supervisor

class Source(Actor):
    out_number = OutPort(int)

    async def run(self):
        raise AssertionError("nobody is to run this")

class Sink(Actor):
    @in_port(durable=True)
    def in_number(self, number: int) -> None: ...

tree = supervisor(child(Source), child(Sink), wires=[Source.out_number >> Sink.in_number], name="numbers")
one = child(Sink)
number = 17

def made(): return tree
def needy(size, *, colour, more=1): return tree
def wrong(): return [tree]
def failing(): return {}["tree"]
async def late(): return tree
def unwired(): return supervisor(child(Source), wires=[Source.out_number >> Sink.in_number])
def lost(): return supervisor(child(Sink).options(depends_on=[Source]))
def misspelt(): return child(Sink).options(nmae="x")
def ruled():
    policy = RecoveryPolicy(rules=[Rule(RecoveryAction.ESCALATE, exception=KeyError)])
    return supervisor(child(Source), child(Sink).options(recovery=policy), name="numbers")

class Cautious(RecoveryPolicy): ...
def cautious(): return child(Sink).options(recovery=Cautious())
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory with trees; what is imported from there is forgotten afterwards."""
    (tmp_path / "trees.py").write_text(TREE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [each for each in sys.path if each])
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if not name.startswith("examples"):
            del sys.modules[name]


def complaint(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What the command says about what is wrong: one line, and nothing else."""
    assert main(["graph", *arguments]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert printed.err.startswith("actorkit graph: ")
    return printed.err.removeprefix("actorkit graph: ").rstrip("\n")


def output(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["graph", *arguments]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    return printed.out


# ---- what it prints


@pytest.mark.parametrize("tree", ["trees:tree", "trees:made"])
def test_mermaid_is_the_default_and_nothing_is_run(capsys: pytest.CaptureFixture[str], tree: str) -> None:
    assert output(capsys, tree) == (
        "flowchart LR\n"
        '    subgraph n1["numbers: one for one"]\n'
        '        n2(["source<br/>Source"])\n'
        '        n3["sink<br/>Sink<br/>durable: in_number"]\n'
        "    end\n"
        '    n2 ==>|"out_number → in_number (durable): int"| n3\n'
    )


def test_a_single_child_is_a_tree(capsys: pytest.CaptureFixture[str]) -> None:
    assert '["sink<br/>Sink<br/>durable: in_number"]' in output(capsys, "trees:one")


def test_json_is_plain_data(capsys: pytest.CaptureFixture[str]) -> None:
    data = json.loads(output(capsys, "trees:tree", "--format", "json"))

    assert [node["path"] for node in data["nodes"]] == ["root", "root/numbers", "root/numbers/source", "root/numbers/sink"]
    assert data["needs"] == {"root/numbers/source": ["root/numbers/sink"], "root/numbers/sink": []}


def test_a_file_is_written_in_the_form_that_its_ending_says(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    for name in ("a.svg", "a.json", "a.mmd"):
        assert output(capsys, "trees:tree", "--output", name) == ""

    assert (folder / "a.svg").read_text(encoding="utf-8").startswith("<svg ")
    assert (folder / "a.json").read_text(encoding="utf-8").startswith("{")
    assert (folder / "a.mmd").read_text(encoding="utf-8").startswith("flowchart")


def test_what_a_module_prints_does_not_get_into_the_picture(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    (folder / "loud.py").write_text("from trees import tree\nprint('hello')", encoding="utf-8")

    assert main(["graph", "loud:tree"]) == 0

    printed = capsys.readouterr()
    assert printed.out.startswith("flowchart")
    assert printed.err == "hello\n"


def test_policy_prints_the_table_and_whose_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert output(capsys, "trees:tree", "--policy") == f"For all actors of this tree:\n\n{RecoveryPolicy()}\n"
    assert output(capsys, "--policy") == f"{RecoveryPolicy()}\n"

    ruled = output(capsys, "trees:ruled", "--policy")
    assert "For root/numbers/source:\n" in ruled
    assert "For root/numbers/sink:\n" in ruled
    assert "exception KeyError" in ruled
    assert "(Cautious, whose own decide() may differ from this table)" in output(capsys, "trees:cautious", "--policy")


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.parametrize("form", ["mermaid", "svg", "json"])
def test_every_example_has_a_tree_that_can_be_drawn(capsys: pytest.CaptureFixture[str], name: str, form: str) -> None:
    given = importlib.import_module(f"examples.{name}").tree
    tree = given() if callable(given) else given

    assert tree.name in output(capsys, f"examples.{name}:tree", "--format", form)


# ---- what is wrong


def test_a_module_that_is_not_there(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    said = complaint(capsys, "nowhere.at_all:tree")

    assert said == f"there is no module 'nowhere' in {folder}, and none is installed; run this where it is"
    assert complaint(capsys, "trees.nowhere:tree").startswith("there is no module 'trees.nowhere'")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1\nraise ValueError('no such\\nthing')", "broken.py:2: ValueError: no such thing"),
        ("import not_there_either", "broken.py:1: ModuleNotFoundError: No module named 'not_there_either'"),
        ("error = OSError('late')\nerror.add_note('and tired')\nraise error", "broken.py:3: OSError: late"),
        ("raise RuntimeError", "broken.py:1: RuntimeError"),
        ("x = 1\nif:\n", "broken.py:2: SyntaxError: invalid syntax"),
        ("import trees\n\nx = trees.child(trees.Sink, 1, 2)", "broken.py:3: SpecError: child 'sink'"),
    ],
)
def test_an_import_that_raises(capsys: pytest.CaptureFixture[str], folder: Path, text: str, expected: str) -> None:
    (folder / "broken.py").write_text(text, encoding="utf-8")

    assert complaint(capsys, "broken:tree").startswith(f"broken could not be imported: {expected}")


def test_an_import_that_ends_the_process(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    (folder / "script.py").write_text("import sys\nsys.exit(3)", encoding="utf-8")

    assert "put that under if __name__ == '__main__'" in complaint(capsys, "script:tree")


@pytest.mark.parametrize(
    ("tree", "expected"),
    [
        ("tre", "module trees has no 'tre'; did you mean tree?"),
        ("unlike_all", "module trees has no 'unlike_all'; did you mean tree or one?"),
        ("number", "trees:number is 17: expected a spec, such as supervisor(…) or child(…) makes, or a function that returns one"),
        ("wrong", "what trees:wrong() returns is [<SupervisorSpec 'numbers'>]: expected a spec"),
        ("Sink", "trees:Sink is <class 'trees.Sink'>: expected a spec"),
        ("needy", "trees:needy needs arguments: size, colour; give them defaults, or name a function that needs none"),
        ("late", "trees:late is async"),
        ("failing", "trees:failing() failed: trees.py:21: KeyError: 'tree'"),
        ("misspelt", "trees:misspelt() failed: trees.py:25: SpecTypeError: child 'sink': unknown option 'nmae'"),
        ("unwired", "this tree is broken: WiringError: Source.out_number(int) >> Sink.in_number(int): there is no Sink in this tree"),
        ("lost", "this tree is broken: SpecError: child 'sink' depends on"),
    ],
)
def test_what_is_no_tree(capsys: pytest.CaptureFixture[str], tree: str, expected: str) -> None:
    assert complaint(capsys, f"trees:{tree}").startswith(expected)


def test_a_file_that_can_not_be_written(capsys: pytest.CaptureFixture[str]) -> None:
    assert complaint(capsys, "trees:tree", "--output", "no/such/a.svg") == "no/such/a.svg can't be written: No such file or directory"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "COMMAND"),
        (["graf"], "invalid choice: 'graf'"),
        (["graph"], "required: MODULE:TREE"),
        (["graph", "trees"], "'trees': expected MODULE:TREE, such as examples.bank:tree"),
        (["graph", "trees.py:tree:x"], "expected MODULE:TREE"),
        (["graph", "trees:tree", "--format", "gif"], "invalid choice: 'gif'"),
        (["graph", "trees:tree", "--format", "svg", "--policy"], "not allowed with"),
    ],
)
def test_wrong_usage_is_2(capsys: pytest.CaptureFixture[str], arguments: list[str], expected: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)

    assert ended.value.code == 2
    assert expected in capsys.readouterr().err


def test_help_names_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])

    assert ended.value.code == 0
    assert "graph     draw a tree" in capsys.readouterr().out


# ---- as a process


def process(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}
    command = [sys.executable, "-m", "actorkit", *arguments]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, encoding="utf-8", timeout=60, check=False)


def test_the_working_directory_is_importable(folder: Path) -> None:
    ended = process(folder, "graph", "trees:tree")

    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("flowchart LR\n")


def test_an_error_is_one_line_and_1(folder: Path) -> None:
    ended = process(folder, "graph", "trees:tre")

    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == "actorkit graph: module trees has no 'tre'; did you mean tree?\n"


def test_the_console_script_is_the_same_command(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    code = "import sys; sys.path.pop(0); from actorkit.cli import main; sys.exit(main(['graph', 'trees:one']))"  # as a script does
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=env, capture_output=True, encoding="utf-8", timeout=60, check=False
    )

    assert ended.stdout == output(capsys, "trees:one")
