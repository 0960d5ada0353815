"""Help pages, fetched as the frontend does: `docs/<node_id>/<language>.md`, then `docs/<node_id>.md`."""

import pytest

from .comfy_server import PACK_FOLDER, Refused

FALLBACK = "en"


def page(server, name: str, language: str) -> str:
    try:
        return server.get_bytes(f"/extensions/{PACK_FOLDER}/docs/{name}/{language}.md").decode()
    except Refused:
        return server.get_bytes(f"/extensions/{PACK_FOLDER}/docs/{name}.md").decode()


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_node_has_a_page_on_all_its_inputs(server, node_classes, language):
    info, titles = server.get("/object_info"), server.get("/i18n")[language]["nodeDefs"]
    for name in node_classes:
        text = page(server, name, language)
        assert text.startswith(f"# {titles[name]['display_name']}\n"), name
        assert [each for each in inputs_of(info[name]) if f"**{each}**" not in text] == [], name


def test_other_languages_get_the_english_page(server, node_classes):
    name = next(iter(node_classes))
    assert page(server, name, "fr") == page(server, name, FALLBACK)


def inputs_of(node: dict) -> list[str]:
    """Inputs, and those that the choices of a dynamic combo bring."""
    found = []
    for group in ("required", "optional"):
        for name, (_, *rest) in node["input"].get(group, {}).items():
            found.append(name)
            for choice in (rest[0] if rest else {}).get("options") or []:
                found += inputs_of({"input": choice["inputs"]}) if isinstance(choice, dict) else []
    return found
