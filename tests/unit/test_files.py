"""Files appear complete or not at all."""

import pytest

from dummy_forcing.core.errors import DummyForcingError
from dummy_forcing.core.files import check_writable, hidden_sibling, make_folder, remove_empty, write_file


def test_write_replaces_as_a_whole(tmp_path):
    write_file(tmp_path / "new/a.txt", b"one")
    write_file(tmp_path / "new/a.txt", b"two")
    assert (tmp_path / "new/a.txt").read_bytes() == b"two"
    assert len(list((tmp_path / "new").iterdir())) == 1


def test_failed_write_leaves_no_draft(tmp_path):
    (tmp_path / "a.txt").mkdir()
    with pytest.raises(DummyForcingError, match=r"a\.txt"):
        write_file(tmp_path / "a.txt", b"one")
    assert list(tmp_path.iterdir()) == [tmp_path / "a.txt"]


def test_failed_write_leaves_no_new_folder(tmp_path):
    with pytest.raises(DummyForcingError, match="choose a folder"):
        write_file(tmp_path / "new/deep" / ("x" * 300) / "a.txt", b"one")
    assert list(tmp_path.iterdir()) == []


def test_check_says_what_is_in_the_way_and_changes_nothing(tmp_path):
    (tmp_path / "file").write_text("in the way")
    for path, reason in ((tmp_path, "it is a folder"), (tmp_path / "file/a.txt", "choose a folder")):
        with pytest.raises(DummyForcingError, match=reason):
            check_writable(path)
    check_writable(tmp_path / "a/b/c.txt")
    check_writable(tmp_path / "file")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["in the way"]


def test_siblings_are_hidden_new_and_short(tmp_path):
    path = tmp_path / ("\u732b" * 80 + ".mp4")
    one, other = hidden_sibling(path), hidden_sibling(path, ".mp4")
    assert one.parent == tmp_path and one.name.startswith(".") and one.suffix == ".tmp" and other.suffix == ".mp4"
    assert one.stem != other.stem and len(one.name.encode()) < 255


def test_only_new_and_empty_folders_are_removed(tmp_path):
    (tmp_path / "old").mkdir()
    created = make_folder(tmp_path / "old/a/b")
    assert created == [tmp_path / "old/a/b", tmp_path / "old/a"]
    (tmp_path / "old/a/file").touch()
    remove_empty(created)
    assert sorted(tmp_path.rglob("*")) == [tmp_path / "old", tmp_path / "old/a", tmp_path / "old/a/file"]
