import subprocess
import sys
from pathlib import Path

import pytest

import dummy_forcing
from dummy_forcing.cli.main import main

ROOT = Path(dummy_forcing.__file__).parent


@pytest.mark.parametrize("command", [[], ["generate"], ["profile"], ["demo"]])
def test_help(capsys, command):
    with pytest.raises(SystemExit) as exit:
        main([*command, "--help"])
    assert exit.value.code == 0
    assert capsys.readouterr().out.startswith("usage: dummy-forcing")


def test_version(capsys):
    with pytest.raises(SystemExit) as exit:
        main(["--version"])
    assert exit.value.code == 0
    assert capsys.readouterr().out == f"dummy-forcing {dummy_forcing.__version__}\n"


def test_help_does_not_wait_for_torch():
    code = """if True:
        import importlib.util, sys
        root = sys.argv[1]
        spec = importlib.util.spec_from_file_location(
            "dummy_forcing", root + "/__init__.py", submodule_search_locations=[root])
        module = sys.modules["dummy_forcing"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        from dummy_forcing.cli.main import main
        assert main(["generate", "--seconds", "x"]) == 2
        assert not {"torch", "numpy", "rich", "av", "PIL"} & set(sys.modules)
    """
    result = subprocess.run([sys.executable, "-c", code, str(ROOT)], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
