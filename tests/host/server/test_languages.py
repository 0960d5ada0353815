"""Names and tooltips in every language, as the frontend gets them from `/i18n`."""

import importlib.util

import pytest

from .conftest import PACK

SYNTAX = set("@|{}")  # vue-i18n takes these for commands


@pytest.fixture(scope="module")
def tool():
    """tools/locales.py, which makes the files."""
    spec = importlib.util.spec_from_file_location("locales_tool", PACK / "tools" / "locales.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def english(server, tool):
    return tool.english(server.get("/object_info"))


@pytest.fixture(scope="module")
def served(server):
    return server.get("/i18n")


def test_english_is_what_the_nodes_say(english, served, node_classes):
    assert english.keys() == node_classes.keys()
    assert served["en"]["nodeDefs"] == english


@pytest.mark.parametrize("language", ["zh", "ja", "ko"])
def test_translations_are_complete_and_current(language, english, served, tool):
    """Missing: python tests/host/server/comfy_server.py python3 tools/locales.py {url}"""
    dictionary = tool.dictionary(language)
    assert sorted(tool.texts(english) - dictionary.keys()) == []
    assert sorted(dictionary.keys() - tool.texts(english)) == [], "no longer used"
    assert served[language]["nodeDefs"] == tool.translate(english, dictionary)
    assert keys(served[language]["nodeDefs"]) == keys(english)


def test_no_text_has_characters_of_the_frontends_syntax(served, tool):
    languages = {name: tool.texts(tree["nodeDefs"]) for name, tree in served.items() if "nodeDefs" in tree}
    assert {"en", "zh", "ja", "ko"} <= languages.keys()
    assert [text for found in languages.values() for text in found if SYNTAX & set(text)] == []


def keys(tree: dict, parent: str = "") -> set[str]:
    found = set()
    for key, value in tree.items():
        found |= keys(value, f"{parent}{key}.") if isinstance(value, dict) else {parent + key}
    return found
