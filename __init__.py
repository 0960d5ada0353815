"""Dummy Forcing: streaming autoregressive video diffusion for ComfyUI and the command line.

This file imports nothing at module level, so that hosts, pytest and plain Python can all load the folder under any
name.
"""

__version__ = "0.1.0"
WEB_DIRECTORY = "./web"  # help pages, and every .js file in it is loaded as an extension


async def comfy_entrypoint():
    """Called by ComfyUI; imports the nodes only then."""
    from .nodes.extension import DummyForcingExtension

    return DummyForcingExtension()
