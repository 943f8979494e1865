"""A path from a request reads files under the allowed folders, and nothing else by any detour."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from symphainy.errors import Denied, NotFound
from symphainy.public_works.local_files import HOP_BYTES, AllowedFolders
from symphainy.public_works.offload import LocalOffload


@pytest.fixture
async def offload() -> AsyncIterator[LocalOffload]:
    made = LocalOffload()
    yield made
    await made.close()


@pytest.fixture
def allowed(tmp_path: Path) -> Path:
    folder = tmp_path / "allowed"
    (folder / "own" / "keys").mkdir(parents=True)
    (folder / "own" / "keys" / "development.jwk").write_text("the key")
    (folder / "a.txt").write_text("hello")
    (tmp_path / "secret.txt").write_text("not for you")
    return folder


@pytest.fixture
def files(allowed: Path, offload: LocalOffload) -> AllowedFolders:
    return AllowedFolders([allowed], hidden=[allowed / "own"], offload=offload)


async def content(files: AllowedFolders, path: Path | str) -> bytes:
    found = await files.open(str(path))
    return b"".join([chunk async for chunk in found.chunks])


async def test_a_file_under_an_allowed_folder_is_read(files: AllowedFolders, allowed: Path) -> None:
    found = await files.open(str(allowed / "a.txt"))
    assert (found.name, found.size_bytes) == ("a.txt", 5)
    assert [chunk async for chunk in found.chunks] == [b"hello"]


async def test_a_large_file_comes_in_pieces(files: AllowedFolders, allowed: Path) -> None:
    (allowed / "large").write_bytes(b"x" * (2 * HOP_BYTES + 1))
    found = await files.open(str(allowed / "large"))
    assert [len(chunk) async for chunk in found.chunks] == [HOP_BYTES, HOP_BYTES, 1]


async def test_a_link_within_the_folder_is_followed(files: AllowedFolders, allowed: Path) -> None:
    (allowed / "link.txt").symlink_to(allowed / "a.txt")
    assert await content(files, allowed / "link.txt") == b"hello"


@pytest.mark.parametrize("path", ["../secret.txt", "own/../../secret.txt", "link.txt", "folder/secret.txt"])
async def test_no_detour_leads_outside(files: AllowedFolders, allowed: Path, path: str) -> None:
    (allowed / "link.txt").symlink_to(allowed.parent / "secret.txt")
    (allowed / "folder").symlink_to(allowed.parent)
    with pytest.raises(Denied, match="is not under an allowed folder"):
        await files.open(str(allowed / path))


async def test_a_folder_whose_name_begins_alike_is_another_folder(files: AllowedFolders, allowed: Path) -> None:
    other = allowed.with_name("allowed-not")
    other.mkdir()
    (other / "a.txt").write_text("hello")
    with pytest.raises(Denied):
        await files.open(str(other / "a.txt"))


@pytest.mark.parametrize("path", ["own/keys/development.jwk", "own", "own/nothing", "key"])
async def test_what_the_platform_keeps_is_no_file_for_anyone(files: AllowedFolders, allowed: Path, path: str) -> None:
    (allowed / "key").symlink_to(allowed / "own" / "keys" / "development.jwk")
    with pytest.raises(Denied, match="belongs to the platform itself"):
        await files.open(str(allowed / path))


async def test_where_no_folder_is_allowed_nothing_is_read(allowed: Path, offload: LocalOffload) -> None:
    with pytest.raises(Denied, match=r"allowed_file_roots: none"):
        await AllowedFolders([], offload=offload).open(str(allowed / "a.txt"))


@pytest.mark.parametrize("path", ["nothing", "", "a.txt/b", "a\0b", "loop", "pipe", "n" * 5000])
async def test_what_is_no_ordinary_file_is_not_found(files: AllowedFolders, allowed: Path, path: str) -> None:
    (allowed / "loop").symlink_to(allowed / "loop")
    os.mkfifo(allowed / "pipe")
    wanted = f"{allowed}/{path}" if path else str(allowed)
    with pytest.raises(NotFound):
        await files.open(wanted)
