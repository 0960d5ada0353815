"""The nodes Save Head Profile and Load Head Profile: files in models/head_profiles."""

from __future__ import annotations

import os
from pathlib import Path

import folder_paths
from comfy_api.latest import io, ui

from ...core.errors import DummyForcingError
from ...core.heads.profile import HeadProfile
from ...core.heads.roles import describe_roles
from ..host.frontend import named
from ..live.live_view import show_result
from ..schema import node_schema
from ..types import HeadProfileType

FOLDER = "head_profiles"
_SUFFIX = ".safetensors"
_NO_FILE = "(none saved yet)"


def register_folder() -> None:
    """Make `models/head_profiles` known to the host, and with it to extra_model_paths.yaml."""
    folder_paths.add_model_folder_path(FOLDER, str(_own_folder()))
    folders, _ = folder_paths.folder_names_and_paths[FOLDER]
    folder_paths.folder_names_and_paths[FOLDER] = (folders, {_SUFFIX})


class SaveHeadProfile(io.ComfyNode):
    """Keeps a profile for later runs."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return node_schema(
            node_id="DummyForcingSaveHeadProfile",
            display_name="Save Head Profile",
            description="Saves a head profile in models/head_profiles, for Load Head Profile and the command line.",
            search_aliases=["store heads", "write profile"],
            is_output_node=True,
            inputs=[
                HeadProfileType.Input("profile", tooltip="From Profile Dummy Heads."),
                io.String.Input(
                    "name",
                    default="my_model",
                    tooltip="Name of the file, without folders. An older profile of that name is replaced.",
                ),
            ],
            outputs=[],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(cls, profile: HeadProfile, name: str) -> io.NodeOutput:
        path = _own_folder() / f"{_file_stem(name)}{_SUFFIX}"
        profile.save(path)
        said = f"saved {path.name}: {describe_roles(profile.roles)}"
        shown = show_result(said, cls.hidden.unique_id)
        return io.NodeOutput(ui={**ui.PreviewText(said).as_dict(), **shown})


class LoadHeadProfile(io.ComfyNode):
    """Reads a profile that was saved before."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return node_schema(
            node_id="DummyForcingLoadHeadProfile",
            display_name="Load Head Profile",
            description="Loads a head profile of models/head_profiles for the Dummy Forcing Patch.",
            search_aliases=["read heads", "open profile"],
            inputs=[
                io.Combo.Input(
                    "name",
                    options=saved_profiles() or [_NO_FILE],
                    tooltip="A file of models/head_profiles; press R to refresh the list.",
                )
            ],
            outputs=[
                HeadProfileType.Output(
                    display_name="profile", tooltip="Head roles and what they were measured on, for one model only."
                )
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, name: str | None = None) -> list[float]:
        paths = [folder_paths.get_full_path(FOLDER, each) for each in named("name", name)]
        return [os.path.getmtime(path) if path else 0.0 for path in paths]

    @classmethod
    def execute(cls, name: str) -> io.NodeOutput:
        path = folder_paths.get_full_path(FOLDER, name)
        if path is None:
            raise DummyForcingError(
                f"there is no head profile {name!r} in models/{FOLDER}; save one with Save Head Profile and press R"
            )
        return io.NodeOutput(HeadProfile.load(path))


def _own_folder() -> Path:
    return Path(folder_paths.models_dir) / FOLDER


def saved_profiles() -> list[str]:
    """Files that Load Head Profile can load, by name."""
    try:
        return folder_paths.get_filename_list(FOLDER)
    except (KeyError, OSError):  # before the extension has loaded, or an unreadable folder
        return []


def _file_stem(name: str) -> str:
    """A name that stays in the folder; names come from the graph and are not to be trusted."""
    stem = name.strip().removesuffix(_SUFFIX)
    if not stem or stem.startswith(".") or not all(char.isalnum() or char in " ._-" for char in stem):
        raise DummyForcingError(
            f"{name!r} is no name for a head profile; use letters, digits, spaces, dots, dashes and underscores"
        )
    return stem
