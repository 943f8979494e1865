"""LocalBlobs under the suite of its port, and what only a directory can suffer."""

import asyncio
import hashlib
import os
import sys
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from symphainy.errors import StartupFailed, StoreFailed
from symphainy.public_works.blobs import HOP_BYTES, INCOMING, LocalBlobs
from symphainy.public_works.offload import LocalOffload
from symphainy.testing.conformance.blobs import BlobsRules, put, read, stream


@pytest_asyncio.fixture
async def blobs(tmp_path: Path) -> AsyncIterator[LocalBlobs]:
    offload = LocalOffload()
    made = LocalBlobs(tmp_path / "blobs", offload=offload)
    await made.open()
    yield made
    await made.close()
    await offload.close()


class TestLocalBlobs(BlobsRules):
    pass


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


async def test_a_blob_lies_under_tenant_first_byte_and_address(blobs: LocalBlobs, tmp_path: Path) -> None:
    stored = await put(blobs, "acme", b"content")
    sha256 = hashlib.sha256(b"content").hexdigest()
    assert stored.sha256 == sha256
    assert files(tmp_path / "blobs") == [f"acme/{sha256[:2]}/{sha256}"]
    assert (tmp_path / "blobs" / "acme" / sha256[:2] / sha256).stat().st_mode & 0o777 == 0o600


async def test_what_was_given_up_leaves_no_temporary_file(blobs: LocalBlobs, tmp_path: Path) -> None:
    async def failing() -> AsyncIterator[bytes]:
        yield bytes(600_000)
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await blobs.put("acme", failing())
    assert files(tmp_path / "blobs") == []


WRITER = """
import asyncio, sys
from pathlib import Path
from symphainy.public_works.blobs import LocalBlobs
from symphainy.public_works.offload import LocalOffload

async def chunks():
    yield bytes(600_000)
    yield bytes(600_000)
    print("half", flush=True)
    await asyncio.Event().wait()

async def main():
    blobs = LocalBlobs(Path(sys.argv[1]), offload=LocalOffload())
    await blobs.open()
    await blobs.put("acme", chunks())

asyncio.run(main())
"""


async def test_a_temporary_file_is_swept_once_its_writer_is_dead_and_not_before(tmp_path: Path) -> None:
    offload = LocalOffload()
    blobs = LocalBlobs(tmp_path, offload=offload)
    writer = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", WRITER, str(tmp_path)),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert writer.stdout is not None
    assert await writer.stdout.readline() == b"half\n"
    await blobs.open()
    assert len(files(tmp_path)) == 1
    writer.kill()
    await writer.wait()
    await blobs.open()
    assert files(tmp_path) == []
    await offload.close()


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "grow"])
async def test_damaged_bytes_are_never_served_whole(blobs: LocalBlobs, tmp_path: Path, damage: str) -> None:
    data = os.urandom(HOP_BYTES + 1000)
    stored = await put(blobs, "acme", data)
    path = tmp_path / "blobs" / "acme" / stored.sha256[:2] / stored.sha256
    damaged = {
        "flip": data[:500] + bytes([data[500] ^ 1]) + data[501:],
        "cut": data[:-1],
        "empty": b"",
        "grow": data + b"\n",
    }
    path.write_bytes(damaged[damage])
    got = bytearray()
    with pytest.raises(StoreFailed, match="damaged"):
        await _read_into(blobs, stored.sha256, got)
    assert len(got) < len(damaged[damage]) or damage == "empty"
    await put(blobs, "acme", data)
    assert await read(blobs, "acme", stored.sha256) == data


async def _read_into(blobs: LocalBlobs, sha256: str, got: bytearray) -> None:
    async for chunk in blobs.read("acme", sha256):
        got += chunk


async def test_a_link_in_the_place_of_a_blob_is_not_followed(blobs: LocalBlobs, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"not a blob")
    stored = await put(blobs, "acme", b"content")
    path = tmp_path / "blobs" / "acme" / stored.sha256[:2] / stored.sha256
    path.unlink()
    path.symlink_to(secret)
    with pytest.raises(StoreFailed):
        await read(blobs, "acme", stored.sha256)


async def test_a_large_blob_passes_through_little_memory(blobs: LocalBlobs) -> None:
    async def large() -> AsyncIterator[bytes]:
        for _ in range(64):
            yield bytes(1 << 20)

    tracemalloc.start()
    stored = await blobs.put("acme", large())
    async for _ in blobs.read("acme", stored.sha256):
        pass
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert stored.size_bytes == 64 << 20
    assert peak_bytes < 8 << 20


async def test_a_directory_that_cannot_be_used_fails_the_start_and_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    offload = LocalOffload()
    with pytest.raises(
        StartupFailed, match=r"file/blobs cannot be used: Not a directory\. Make it writable"
    ) as failure:
        await LocalBlobs(tmp_path / "file" / "blobs", offload=offload).open()
    assert failure.value.service == "blobs"
    await offload.close()


async def test_a_directory_that_went_away_is_down_and_fails_by_name(blobs: LocalBlobs, tmp_path: Path) -> None:
    (tmp_path / "blobs" / INCOMING).rmdir()
    assert (await blobs.probe()).status == "down"
    with pytest.raises(StoreFailed, match="No such file or directory"):
        await blobs.put("acme", stream([b"content"]))


async def test_no_file_stays_open(blobs: LocalBlobs) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for n in range(5):
        stored = await put(blobs, "acme", b"%d" % n * 100_000)
        async for _ in blobs.read("acme", stored.sha256, stop=5):
            pass
        with pytest.raises(StoreFailed):
            await _damage_and_read(blobs, n)
    assert len(os.listdir("/proc/self/fd")) == before


async def _damage_and_read(blobs: LocalBlobs, n: int) -> None:
    stored = await put(blobs, "acme", b"damaged %d" % n)
    path = blobs._path("acme", stored.sha256)
    assert path is not None
    path.write_bytes(b"other")
    await read(blobs, "acme", stored.sha256)
