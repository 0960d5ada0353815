"""Results that a stop has cut short: they are delivered, but never reused from ComfyUI's cache as complete ones.

ComfyUI takes a result from its cache where a node's inputs, and what its `fingerprint_inputs` answers, are as they
were when the result was made. A node that can be stopped answers how often it has been stopped, so that after a
stop it runs again, and with it all that follows from it. Stops are counted by what a node is asked for, its links
included; as in the cache itself, neither the node's id nor its graph matters.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Mapping
from typing import Any

from comfy_execution.utils import get_executing_context

from ..host.frontend import running_signature


class Stops:
    """Counts stops of nodes that are asked for the same; never reset, as the cache may keep a stopped result."""

    def __init__(self) -> None:
        self._counts: Counter[Hashable] = Counter()
        self._prompt_id: str | None = None
        self._keys: dict[str, Hashable] = {}  # of the prompt's nodes, by id

    def count(self, inputs: Mapping[str, Any]) -> int:
        """Stops so far; for `fingerprint_inputs`, whose inputs are constants, and None where they are linked."""
        # Inputs alone would be equal for two nodes that differ only in what their links lead to.
        key = running_signature() or frozenset((name, repr(value)) for name, value in inputs.items())
        context = get_executing_context()
        if context is not None:
            if context.prompt_id != self._prompt_id:
                self._prompt_id, self._keys = context.prompt_id, {}
            self._keys[context.node_id] = key
        return self._counts[key]

    def counter(self) -> Callable[[], None]:
        """A function to call, also later, when the result of the node that is executed now is cut short."""
        context = get_executing_context()
        known = context is not None and context.prompt_id == self._prompt_id
        key = self._keys.get(context.node_id) if known else None

        def stopped() -> None:
            if key is not None:  # else ComfyUI has not asked for a fingerprint, so it caches nothing
                self._counts[key] += 1

        return stopped


STOPS = Stops()
"""The stops of this ComfyUI."""
