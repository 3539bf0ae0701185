"""Reading drawings from archives and folders that may be broken or hostile, resizing, and the cache."""

import re
import zipfile
from pathlib import PurePosixPath

import numpy as np
import pytest

from jaxlqr.papers.nguyen2023.drawings import (
    Cache,
    Entry,
    find_sources,
    fingerprint,
    ink,
    read_entries,
    resize,
    user_cache,
)
from tests.papers.nguyen2023.fake_omniglot import drawings, png, write_folder, write_zip

PNG = re.compile(r"\.png$")
FILES = drawings({"Greek": 2}, count=2)


def read(source):
    return {str(entry.path): entry.content for entry in read_entries(source, PNG)}


def test_archive_and_folder_give_the_same_files_in_order(tmp_path):
    archive = write_zip(tmp_path / "a.zip", {**FILES, "note.txt": b"not a drawing"}, inside="")
    folder = write_folder(tmp_path / "a", FILES)
    assert read(archive) == read(folder) == FILES
    assert list(read(archive)) == sorted(FILES)


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.9, 0.999])
def test_truncated_archive_is_named(tmp_path, share):
    archive = write_zip(tmp_path / "a.zip", FILES)
    content = archive.read_bytes()
    archive.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match=r"a\.zip cannot be read as a zip archive; it is truncated"):
        read(archive)


def test_changed_byte_is_found_by_its_checksum(tmp_path):
    archive = write_zip(tmp_path / "a.zip", FILES)
    content = bytearray(archive.read_bytes())
    content[120] ^= 1  # inside the first drawing
    archive.write_bytes(bytes(content))
    with pytest.raises(ValueError, match="cannot be read as a zip archive"):
        read(archive)


def test_other_file_is_no_archive(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"<html>404</html>")
    with pytest.raises(ValueError, match="of another kind"):
        read(tmp_path / "a.zip")


@pytest.mark.parametrize("name", ["../b.png", "a/../../b.png", "/b.png", "..\\b.png", "C:\\b.png", "../b.txt"])
def test_path_out_of_the_archive_is_refused_and_nothing_written(tmp_path, name):
    (tmp_path / "in").mkdir()
    archive = write_zip(tmp_path / "in" / "a.zip", {name: png(np.eye(3))}, inside="")
    with pytest.raises(ValueError, match="which leads out of it"):
        read(archive)
    assert [path.name for path in tmp_path.rglob("*.*")] == ["a.zip"]


def test_archive_with_an_empty_name_is_read(tmp_path):
    archive = write_zip(tmp_path / "a.zip", {".": b"", **FILES}, inside="")
    assert read(archive) == FILES


def test_link_out_of_the_folder_is_refused(tmp_path):
    (tmp_path / "outside.png").write_bytes(png(np.eye(3)))
    folder = write_folder(tmp_path / "data", FILES)
    (folder / "Greek" / "character01" / "0001_09.png").symlink_to(tmp_path / "outside.png")
    with pytest.raises(ValueError, match="a link that leads out of the data folder"):
        read(folder)


def test_huge_file_is_refused_before_it_is_unpacked(tmp_path):
    archive = write_zip(tmp_path / "a.zip", {"a.png": bytes(2 << 20)})
    assert archive.stat().st_size < 10_000  # a small archive of a large file
    with pytest.raises(ValueError, match="which no drawing has"):
        read(archive)
    folder = write_folder(tmp_path / "a", {"a.png": bytes(2 << 20)})
    with pytest.raises(ValueError, match="which no drawing has"):
        read(folder)


def test_sources(tmp_path):
    with pytest.raises(ValueError, match=r"the data folder .*absent does not exist"):
        find_sources(tmp_path / "absent", ".*")
    one, two = (write_zip(tmp_path / f"images_{name}.zip", FILES) for name in "ab")
    write_folder(tmp_path / "images_c", FILES)
    (tmp_path / "images_d.txt").write_text("not a source")
    assert find_sources(tmp_path, "images_.*") == [one, two, tmp_path / "images_c"]
    assert find_sources(one, "images_.*") == [one]
    assert find_sources(tmp_path, "nothing") == [tmp_path]


def test_ink_is_where_a_drawing_is_dark():
    bits = np.random.default_rng(0).random((7, 5)) < 0.4
    entry = Entry("a.zip", PurePosixPath("b.png"), png(bits))
    np.testing.assert_array_equal(ink(entry), bits)


@pytest.mark.parametrize(
    "content",
    [b"", b"GIF89a", png(np.eye(9))[:40], png(np.eye(9))[:-30], png(np.zeros((2, 1025)))],
    ids=["empty", "other", "header", "cut", "large"],
)
def test_broken_drawing_is_named(content):
    entry = Entry("a.zip", PurePosixPath("Greek/x.png"), content)
    with pytest.raises(ValueError, match=r"a\.zip: Greek/x\.png is not a readable PNG drawing"):
        ink(entry)


@pytest.mark.parametrize(("size", "side"), [(105, 16), (105, 28), (20, 8), (9, 9), (6, 3), (5, 8)])
def test_resize_is_the_share_of_ink_in_each_part(size, side):
    bits = np.random.default_rng(1).random((3, size, size)) < 0.3
    # Every pixel cut into side x side pieces, every part made of size x size pieces.
    fine = np.kron(bits, np.ones((1, side, side), dtype=np.uint8))
    wanted = 255 * fine.reshape(3, side, size, side, size).mean(axis=(2, 4))
    resized = resize(bits, side)
    assert resized.dtype == np.uint8
    assert np.max(np.abs(resized - wanted)) < 0.501  # rounded to bytes, of products in float32


def test_fingerprint_sees_content_and_names(tmp_path):
    one = write_zip(tmp_path / "a.zip", FILES)
    first = fingerprint([one])
    assert fingerprint([one]) == first
    write_zip(one, {**FILES, "Greek/character01/0001_01.png": png(np.eye(20))})
    assert fingerprint([one]) != first
    folder = write_folder(tmp_path / "a", FILES)
    first = fingerprint([folder])
    write_folder(folder, {"Greek/character01/0001_01.png": b"other"})
    assert fingerprint([folder]) != first


def test_cache_gives_back_what_was_stored_or_nothing(tmp_path):
    cache = Cache(tmp_path / "new")
    assert cache.get("x") is None
    arrays = {"a": np.arange(5), "names": np.array(["x", "yz"])}
    cache.put("x", arrays)
    loaded = cache.get("x")
    assert loaded is not None
    assert loaded.keys() == arrays.keys()
    for name, value in arrays.items():
        np.testing.assert_array_equal(loaded[name], value)
    (path,) = (tmp_path / "new").iterdir()  # no temporary file is left
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.warns(RuntimeWarning, match="is damaged: its content is not what was written; it is made again"):
        assert cache.get("x") is None
    np.savez(path, pickled=np.array([{}], dtype=object))
    with pytest.warns(RuntimeWarning, match="is damaged"):
        assert cache.get("x") is None


def test_folder_that_cannot_be_written_is_no_error(tmp_path):
    (tmp_path / "file").write_text("")
    Cache(tmp_path / "file" / "below").put("x", {"a": np.arange(3)})
    assert Cache(tmp_path / "file" / "below").get("x") is None


def test_cache_of_the_user_follows_the_convention(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert user_cache() == tmp_path / "jaxlqr"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert user_cache() == tmp_path / ".cache" / "jaxlqr"


def test_encrypted_archive_is_refused(tmp_path):
    archive = write_zip(tmp_path / "a.zip", {"a.png": png(np.eye(3))})
    content = bytearray(archive.read_bytes())
    content[6] |= 1  # the flag in the file's header, and in the directory
    content[content.index(b"PK\x01\x02") + 8] |= 1
    archive.write_bytes(bytes(content))
    assert zipfile.is_zipfile(archive)
    with pytest.raises(ValueError, match="cannot be read as a zip archive"):
        read(archive)
