"""Names, tooltips and the browser's own words in every language, as the frontend gets them from `/i18n`."""

import importlib.util
import re

import pytest

from .conftest import PACK

TRANSLATED = ["zh", "ja", "ko"]
SYNTAX = set("@|{}")  # vue-i18n takes these for commands
PLACEHOLDER = re.compile(r"\{\w+\}")
OURS = ("dummyForcing", "nodeDefs")


@pytest.fixture(scope="module")
def tool():
    """tools/locales.py, which makes the files."""
    spec = importlib.util.spec_from_file_location("locales_tool", PACK / "tools" / "locales.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def english(server, tool):
    """The texts as `/i18n` has them: those of main.json without the file's name."""
    files = tool.english(server.get("/object_info"))
    return {**files["main"], "nodeDefs": files["nodeDefs"]}


@pytest.fixture(scope="module")
def served(server):
    return server.get("/i18n")


def test_english_is_what_the_nodes_say(english, served, node_classes):
    assert english["nodeDefs"].keys() == node_classes.keys()
    assert served["en"] == english
    assert tuple(english) == OURS


@pytest.mark.parametrize("language", TRANSLATED)
def test_translations_are_complete_and_current(language, english, served, tool):
    """Missing: python tests/host/server/comfy_server.py python3 tools/locales.py {url}"""
    dictionary = tool.dictionary(language)
    assert sorted(tool.texts(english) - dictionary.keys()) == []
    assert sorted(dictionary.keys() - tool.texts(english)) == [], "no longer used"
    assert served[language] == tool.translate(english, dictionary)
    assert by_key(served[language]).keys() == by_key(english).keys()


@pytest.mark.parametrize("language", TRANSLATED)
def test_translations_have_the_places_of_the_english(language, english, served):
    expected, found = by_key(english), by_key(served[language])
    assert [text for key, text in found.items() if places(text) != places(expected[key])] == []


def test_no_text_has_characters_of_the_frontends_syntax(served):
    """Places for values are the only ones, and only where the browser's side fills them."""
    for language in ("en", *TRANSLATED):
        words, nodes = (by_key(served[language][name]).values() for name in OURS)
        found = [*(PLACEHOLDER.sub("", text) for text in words), *nodes]
        assert [text for text in found if SYNTAX & set(text)] == []


def test_refusals_are_worded_in_the_browser_too(served):
    from dummy_forcing.nodes.live.answers import REFUSALS

    words = served["en"]["dummyForcing"]
    assert {code: words.get(f"live.refused.{code}") for code in REFUSALS} == REFUSALS


def places(text: str) -> list[str]:
    return sorted(PLACEHOLDER.findall(text))


def by_key(tree: dict, parent: str = "") -> dict[str, str]:
    found = {}
    for key, value in tree.items():
        found |= by_key(value, f"{parent}{key}.") if isinstance(value, dict) else {parent + key: value}
    return found
