"""Writes locales/<language>/: names and tooltips of nodes (nodeDefs.json), the browser's own words (main.json).

English comes from the nodes' schemas in a running ComfyUI, and from locales/en/main.json, which is written by hand.
`tools/translations/<language>.json` maps each English text to its translation, so that a text that changes is
missing until somebody translates it anew.

    ~/ComfyUI/.venv/bin/python tests/host/server/comfy_server.py python3 tools/locales.py {url}

It says what is missing and what is no longer used, and exits with 1 where something is missing. `--check` writes
nothing.
"""

from __future__ import annotations

import argparse
import json
import sys
import urllib.request
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
LOCALES = ROOT / "locales"
TRANSLATIONS = ROOT / "tools" / "translations"
TRANSLATED = ("zh", "ja", "ko")

Tree = dict[str, Any]
"""Texts in nested dicts, as ComfyUI's frontend looks them up."""


def english(info: Tree) -> Tree:
    """The pack's texts by file, the nodes' from what `/object_info` says of all nodes."""
    nodes = {name: _node(node) for name, node in sorted(info.items()) if name.startswith("DummyForcing")}
    return {"main": json.loads((LOCALES / "en" / "main.json").read_text("utf-8")), "nodeDefs": nodes}


def texts(tree: Tree) -> set[str]:
    """Every text of a tree."""
    found = set()
    for value in tree.values():
        found |= texts(value) if isinstance(value, dict) else {value}
    return found


def translate(tree: Tree, dictionary: dict[str, str]) -> Tree:
    """The tree in another language; a text without a translation is left out, and English shown in its place."""
    translated = {
        key: translate(value, dictionary) if isinstance(value, dict) else dictionary.get(value)
        for key, value in tree.items()
    }
    return {key: value for key, value in translated.items() if value}


def dictionary(language: str) -> dict[str, str]:
    """English to another language."""
    return json.loads((TRANSLATIONS / f"{language}.json").read_text("utf-8"))


def written(tree: Tree) -> str:
    """A tree as its file holds it."""
    return json.dumps(tree, ensure_ascii=False, indent=2) + "\n"


def write(language: str, files: Tree) -> None:
    """The files of a language; main.json of English is the source, and comes out as it is."""
    folder = LOCALES / language
    folder.mkdir(parents=True, exist_ok=True)
    for name, tree in files.items():
        (folder / f"{name}.json").write_text(written(tree), encoding="utf-8")


def _node(node: Tree) -> Tree:
    inputs: Tree = {}
    for group in ("required", "optional"):
        inputs |= _inputs(node["input"].get(group, {}))
    outputs = {
        str(index): {"name": name, "tooltip": tip}
        for index, (name, tip) in enumerate(zip(node["output_name"], node["output_tooltips"] or [], strict=True))
    }
    found = {"display_name": node["display_name"], "description": node["description"], "inputs": inputs}
    return found | ({"outputs": outputs} if outputs else {})


def _inputs(specs: Tree, parent: str = "") -> Tree:
    """Inputs by name, those inside of a dynamic combo as `combo_child`."""
    found: Tree = {}
    for name, (_, *rest) in specs.items():
        options = rest[0] if rest else {}
        found[parent + name] = {"name": options.get("display_name") or name, "tooltip": options["tooltip"]}
        for choice in options.get("options") or []:
            for group in choice.get("inputs", {}).values() if isinstance(choice, dict) else ():
                found |= _inputs(group, f"{parent}{name}_")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("url", help="address of a ComfyUI that has the pack")
    parser.add_argument("--check", action="store_true", help="write nothing")
    options = parser.parse_args()
    with urllib.request.urlopen(f"{options.url}/object_info") as response:
        tree = english(json.load(response))
    missing = 0
    for language in ("en", *TRANSLATED):
        known = dictionary(language) if language != "en" else {text: text for text in texts(tree)}
        lacking, unused = texts(tree) - known.keys(), known.keys() - texts(tree)
        print(f"{language}: {len(texts(tree)) - len(lacking)} texts, {len(lacking)} missing, {len(unused)} unused")
        print("\n".join([f"  missing: {json.dumps(text)}" for text in sorted(lacking)]
                        + [f"  unused: {json.dumps(text)}" for text in sorted(unused)]))  # fmt: skip
        missing += len(lacking)
        if not options.check:
            write(language, translate(tree, known))
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
