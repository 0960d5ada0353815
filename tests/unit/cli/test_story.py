"""--prompts and what a change does."""

import json

import pytest

from dummy_forcing.cli.arguments import SWITCHES, build_parser
from dummy_forcing.cli.main import main
from dummy_forcing.cli.story import read_story
from dummy_forcing.core.media.video_file import read_video
from dummy_forcing.core.stream.prompts import SWITCH_METHODS

FIRST, LATER = "a red circle moving up", "a blue square moving left"


@pytest.fixture
def story(tmp_path):
    """A function: a file of prompts."""

    def write(text, name="story.txt"):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


def read(path, *options):
    return read_story(build_parser().parse_args(["generate", "--prompts", str(path), *options]))


def test_all_switches_can_be_typed():
    assert SWITCHES == SWITCH_METHODS


def test_lines_and_json_say_the_same(story):
    lines = read(story(f"# a story\n\nchunk 1: {LATER}\n 2.5s :{FIRST}\n"))
    listed = [{"at": "chunk 1", "prompt": LATER}, {"at": "2.5 s", "prompt": FIRST}]
    as_json = read(story(json.dumps(listed), "story.json"))
    named_txt = read(story("\n" + json.dumps(listed, indent=1), "listed.txt"))
    for found in (lines, as_json, named_txt):
        assert found.prompts == (LATER, FIRST)
        assert [str(time) for time in found.plan.times] == ["chunk 1", "2.5s"]
        assert found.plan.method is None


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("name", ["story.txt", "story.json"])
def test_files_of_every_editor_are_read(tmp_path, name, encoding, end):
    lines = ["# a story", f"chunk 1: {LATER}", f"2.5s: {FIRST}", ""]
    listed = [{"at": "chunk 1", "prompt": LATER}, {"at": "2.5s", "prompt": FIRST}]
    text = end.join(lines) if name == "story.txt" else json.dumps(listed, indent=1).replace("\n", end)
    mark = "\ufeff" if encoding in ("utf-16-le", "utf-16-be") else ""  # the others write their own, or none
    (tmp_path / name).write_bytes((mark + text).encode(encoding))
    found = read(tmp_path / name)
    assert found.prompts == (LATER, FIRST) and [str(time) for time in found.plan.times] == ["chunk 1", "2.5s"]


def test_a_file_that_is_no_text(fails, tmp_path):
    (tmp_path / "story.txt").write_bytes(b"chunk 1: \xff\xfe\xe4")
    assert "is not text in UTF-8; save the text again as UTF-8" in fails(
        "generate", "--prompts", tmp_path / "story.txt"
    )


@pytest.mark.parametrize("data", [b"GIF89a\x00\xff\xfe", b"chunk\x00", "chunk 1: a".encode("utf-16-le")])
def test_a_binary_file_is_not_to_be_saved_as_text(fails, tmp_path, data):
    (tmp_path / "story.txt").write_bytes(data)
    said = fails("generate", "--prompts", tmp_path / "story.txt")
    assert "is no text file" in said and "; give a text file in UTF-8" in said and "save" not in said


def test_options_of_the_switch(story):
    plan = read(story(f"chunk 1: {LATER}"), "--switch", "recache", "--recache-frames", "6").plan
    assert (plan.method, plan.recache_frames) == ("recache", 6)
    plan = read(story(f"chunk 1: {LATER}"), "--switch", "interpolate", "--interpolate-chunks", "2").plan
    assert (plan.method, plan.chunks) == ("interpolate", 2)


@pytest.mark.parametrize("switch", SWITCHES)
def test_frames_change_from_the_chunk_on(run, tmp_path, capsys, story, switch):
    path = story(f"chunk 1: {LATER}")
    common = ("--prompt", FIRST, "--policy", "dense", "--json", "-")
    assert run("generate", "--output", "a.gif", *common) == 0
    capsys.readouterr()
    assert run("generate", "--output", "b.gif", "--prompts", path, "--switch", switch, *common) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["prompt"] == FIRST
    assert report["later_prompts"] == {"prompts": [{"at": "chunk 1", "prompt": LATER}], "switch": switch}
    before, after = (read_video(tmp_path / name)[0] for name in ("a.gif", "b.gif"))
    assert (before[:9] == after[:9]).all()
    assert (before[9:] != after[9:]).any()


def test_seconds_are_latent_frames_of_16_a_second(run, capsys, story):
    path = story(f"1s: {LATER}")
    assert run("generate", "--output", "a.gif", "--prompts", path, "--json", "-") == 0
    by_time = json.loads(capsys.readouterr().out)
    assert by_time["later_prompts"]["prompts"] == [{"at": "1s", "prompt": LATER}]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no prompts"),
        ("a blue square", "line 1 of"),
        ("chunk 1:", "line 1 of"),
        (f"soon: {LATER}", "line 1 of {path}: 'soon' is no time; write seconds as 5s or a chunk as chunk 8"),
        (f"# one\n00:01: {LATER}", "line 2 of {path}: '00:01' is no time; write seconds as 5s"),
        (f"0:01:02.5 : {LATER}", "line 1 of {path}: '0:01:02.5' is no time; write seconds as 5s"),
        (
            f"chunk 1: {LATER}\nchunk 2: chunk 3: {FIRST}",
            "line 2 of {path} has two times, 'chunk 2' and 'chunk 3'; give",
        ),
        (f"chunk 1: a purple square\nsoon: {LATER}", "line 2 of {path}: 'soon' is no time"),
        (
            "\nchunk 1: a purple square moving left",
            "line 2 of {path}: the toy world does not know the word 'purple'",
        ),
        (f"chunk 0: {LATER}", "begins at 'chunk 0', with the video itself"),
        (
            f"0.1s: {LATER}",
            "the video's first prompt would never be seen: the prompt at '0.1s' begins with the same",
        ),
        (
            f"chunk 2: {LATER}\nchunk 1: {FIRST}",
            "begins at 'chunk 2' and the next at 'chunk 1'; put the prompts in the order",
        ),
        (
            f"1.9s: {LATER}\n 1.00 S : {FIRST}",
            "begins at '1.9s' and the next at '1.00 S'; put the prompts in the order",
        ),
        (
            f"chunk 1: {LATER}\n1s: {FIRST}",
            "the prompt at 'chunk 1' would never be seen: the prompt at '1s' begins",
        ),
        (
            f"chunk 3: {LATER}",
            "begins at 'chunk 3', but the video lasts 2.062 s and its last chunk is chunk 2; make the video longer",
        ),
        (f"99s: {LATER}", "begins at '99s', but the video lasts 2.062 s"),
    ],
)
def test_bad_stories(fails, story, text, said):
    path = story(text)
    assert said.replace("{path}", str(path)) in fails("generate", "--prompts", path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is not JSON"),
        ("{}", "is not a list"),
        ('["a"]', 'entry 1 of {path} is "a"; write a list of'),
        ('[{"at": "chunk 1"}]', "write a list of"),
        ('[{"at": 1, "prompt": "a"}]', "write both values as texts"),
        ('[{"at": "1 min", "prompt": "a"}]', "entry 1 of {path}: '1 min' is no time"),
        ('[{"at": "chunk 1", "prompt": "a"}]', "entry 1 of {path}: the toy world needs one or two objects"),
    ],
)
def test_bad_json(fails, story, text, said):
    for name in ("story.json", "story.txt"):  # what begins like JSON is read as such
        path = story(text, name)
        assert said.replace("{path}", str(path)) in fails("generate", "--prompts", path)


def test_files_and_options_that_do_not_fit(fails, tmp_path):
    assert "cannot read" in fails("generate", "--prompts", tmp_path / "none.txt")
    assert "--switch goes with --prompts FILE" in fails("generate", "--switch", "flush")
    assert "--recache-frames goes with" in fails("generate", "--recache-frames", 6)
    assert "invalid choice" in fails("generate", "--switch", "fade")


def test_embeddings_lie_beside_the_file(story, tmp_path, monkeypatch):
    """With --model PATH; their width is checked as that of the first prompt."""
    import torch
    from safetensors.torch import save_file

    (tmp_path / "texts").mkdir()
    for name, width in (("first", 16), ("later", 16), ("wrong", 8)):
        save_file({"context": torch.zeros(1, 5, width)}, tmp_path / "texts" / f"{name}.safetensors")
    (tmp_path / "texts/story.txt").write_text("chunk 1: later.safetensors")
    argv = ["generate", "--model", "x.pt", "--embedding", str(tmp_path / "texts/first.safetensors")]
    found = read_story(build_parser().parse_args([*argv, "--prompts", str(tmp_path / "texts/story.txt")]))
    assert found.plan.texts[0].shape == (1, 5, 16)
    (tmp_path / "texts/story.txt").write_text("chunk 1: none.safetensors")
    assert main([*argv, "--prompts", str(tmp_path / "texts/story.txt")]) == 2
