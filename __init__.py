"""Dummy Forcing: streaming autoregressive video diffusion for ComfyUI and the command line.

This file imports nothing, so that hosts, pytest and plain Python can all load the folder under any name.
"""

__version__ = "0.1.0"
