"""--merge."""

import json

from dummy_forcing.core.memory_config import MemoryConfig
from dummy_forcing.core.methods.temp_cache import TempCache

MERGE = ("--policy", "dense", "--merge", "temp-cache")


def test_the_options_reach_the_memory(run, capsys):
    assert run("generate", "--output", "a.gif", *MERGE, "--json", "-") == 0
    assert MemoryConfig.from_dict(json.loads(capsys.readouterr().out)["memory"]).merge == TempCache()
    options = ("--similarity", 0.95, "--budget", 9, "--correspondence", "nearest", "--merged-values", "newest")
    assert run("generate", "--output", "b.gif", *MERGE, *options, "--json", "-") == 0
    found = MemoryConfig.from_dict(json.loads(capsys.readouterr().out)["memory"]).merge
    assert found == TempCache(0.95, 9, correspondence="nearest", values="newest")


def test_what_does_not_go_together(fails):
    assert "--similarity belongs to --merge temp-cache" in fails("generate", "--similarity", 0.9)
    assert "leave out --kv int8" in fails("generate", *MERGE, "--kv", "int8")
    assert "a local context of 2 chunks or more" in fails("generate", "--merge", "temp-cache")
    assert "budget of 2 latent frames" in fails("generate", *MERGE, "--budget", 2)
