"""Light decoders among the files of models/vae and models/vae_approx."""

from __future__ import annotations

from pathlib import Path

import folder_paths

_FOLDERS = ("vae", "vae_approx")


def find_decoder(names: tuple[str, ...]) -> Path | None:
    """The file whose name begins with the first of these that there is; None if there is none of any."""
    files = [(folder, file) for folder in _FOLDERS for file in folder_paths.get_filename_list(folder)]
    for name in names:
        for folder, file in files:
            if Path(file).name.lower().startswith(name):
                return Path(folder_paths.get_full_path_or_raise(folder, file))
    return None


def open_decoder(path: Path):
    """A VAE object of the file, as ComfyUI's own Load VAE makes it."""
    import comfy.sd
    import comfy.utils

    state, metadata = comfy.utils.load_torch_file(str(path), return_metadata=True)
    vae = comfy.sd.VAE(sd=state, metadata=metadata)
    vae.throw_exception_if_invalid()
    vae.patcher.cached_patcher_init = (comfy.sd.load_vae_patcher, (str(path), metadata, None))
    return vae
