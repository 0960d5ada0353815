"""What is refused to people in a browser, by code: the player words it in their language.

`locales/<language>/main.json` has them as `live.refused.<code>`; the English here is for other clients.
"""

REFUSALS = {
    "no_clip": "To change the prompt while the video is made, connect a CLIP to the node.",
    "no_prompt": "A comparison has no prompt.",
    "over": "The video is over.",
    "no_stream": "There is no such stream.",
    "no_chunk": "This chunk is not there.",
}
