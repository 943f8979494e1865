"""The promises of `Blobs`."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Sequence

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from symphainy.errors import Invalid, NotFound, TooLarge
from symphainy.ports import Blobs, StoredBlob

NO_ADDRESS = ("", "a", "A" * 64, "0" * 63, "0" * 65, "../" + "0" * 61, "0" * 64 + "\n", "/etc/passwd", "\0" * 64)
NO_TENANT = ("", "..", ".incoming", "a/b", "a\0", "Acme", "/tmp", "x" * 64)  # noqa: S108
# One for all examples: what they store does not get into the way of the next.
SHARED_STORE = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.differing_executors], max_examples=40
)


class BlobsRules:
    """Give it a fixture `blobs`, opened and empty; it is closed by the fixture."""

    async def test_what_was_put_is_read_back_under_its_sha256(self, blobs: Blobs) -> None:
        data = os.urandom(3_000_000)
        stored = await put(blobs, "acme", data, chunk_bytes=70_001)
        assert stored == StoredBlob(sha256=hashlib.sha256(data).hexdigest(), size_bytes=len(data))
        assert await read(blobs, "acme", stored.sha256) == data
        assert await blobs.size("acme", stored.sha256) == len(data)

    @SHARED_STORE
    @given(chunks=st.lists(st.binary(max_size=50), max_size=6), repeat=st.sampled_from([1, 40_000]))
    @example(chunks=[], repeat=1)
    async def test_the_cut_into_chunks_changes_nothing(self, blobs: Blobs, chunks: list[bytes], repeat: int) -> None:
        data = b"".join(chunk * repeat for chunk in chunks)
        stored = await blobs.put("acme", stream([chunk * repeat for chunk in chunks]))
        assert stored == StoredBlob(sha256=hashlib.sha256(data).hexdigest(), size_bytes=len(data))
        assert await read(blobs, "acme", stored.sha256) == data

    @SHARED_STORE
    @given(start=st.integers(0, 700_000), length=st.none() | st.integers(0, 700_000))
    @example(start=0, length=0)
    @example(start=600_000, length=None)
    @example(start=599_999, length=1)
    async def test_a_range_is_exactly_its_bytes(self, blobs: Blobs, start: int, length: int | None) -> None:
        data = hashlib.shake_128(b"range").digest(600_000)
        stored = await put(blobs, "acme", data)
        stop = None if length is None else start + length
        got = b"".join([chunk async for chunk in blobs.read("acme", stored.sha256, start=start, stop=stop)])
        assert got == data[start:stop]

    @pytest.mark.parametrize(("start", "stop"), [(-1, None), (-2, -1), (3, 2), (0, -1)])
    async def test_what_is_no_range_is_refused(self, blobs: Blobs, start: int, stop: int | None) -> None:
        stored = await put(blobs, "acme", b"content")
        with pytest.raises(Invalid):
            await anext(aiter(blobs.read("acme", stored.sha256, start=start, stop=stop)))

    async def test_equal_content_is_one_blob(self, blobs: Blobs) -> None:
        first = await put(blobs, "acme", b"same")
        assert await put(blobs, "acme", b"same") == first
        await blobs.delete("acme", first.sha256)
        assert await blobs.size("acme", first.sha256) is None

    async def test_what_is_deleted_is_gone_and_can_be_put_again(self, blobs: Blobs) -> None:
        stored = await put(blobs, "acme", b"content")
        await blobs.delete("acme", stored.sha256)
        await blobs.delete("acme", stored.sha256)
        await _has_not(blobs, "acme", stored.sha256)
        assert await put(blobs, "acme", b"content") == stored
        assert await read(blobs, "acme", stored.sha256) == b"content"

    # --- bounds ---

    async def test_content_as_large_as_allowed_is_kept(self, blobs: Blobs) -> None:
        data = bytes(400_000)
        stored = await blobs.put("acme", stream([data[:7], data[7:]]), size_max=len(data))
        assert stored.size_bytes == len(data)

    async def test_content_that_is_too_large_is_refused_and_nothing_stays(self, blobs: Blobs) -> None:
        data = bytes(400_000)
        with pytest.raises(TooLarge):
            await blobs.put("acme", stream([data]), size_max=len(data) - 1)
        await _has_not(blobs, "acme", hashlib.sha256(data).hexdigest())

    async def test_a_stream_without_end_is_cut_off(self, blobs: Blobs) -> None:
        given = 0

        async def endless() -> AsyncIterator[bytes]:
            nonlocal given
            while True:
                given += 1
                yield bytes(1 << 16)

        with pytest.raises(TooLarge):
            await blobs.put("acme", endless(), size_max=1 << 20)
        assert given == 17

    # --- what is half written is never seen ---

    async def test_a_stream_that_fails_leaves_nothing(self, blobs: Blobs) -> None:
        data = bytes(600_000)

        async def failing() -> AsyncIterator[bytes]:
            yield data
            raise ConnectionResetError("the client hung up")

        with pytest.raises(ConnectionResetError):
            await blobs.put("acme", failing())
        await _has_not(blobs, "acme", hashlib.sha256(data).hexdigest())

    async def test_a_cancelled_put_leaves_nothing(self, blobs: Blobs) -> None:
        data = bytes(600_000)
        stalled = asyncio.Event()

        async def stalling() -> AsyncIterator[bytes]:
            yield data
            stalled.set()
            await asyncio.Event().wait()

        putting = asyncio.create_task(blobs.put("acme", stalling()))
        await stalled.wait()
        await _has_not(blobs, "acme", hashlib.sha256(data).hexdigest())
        putting.cancel()
        await asyncio.wait([putting])
        assert putting.cancelled()
        await _has_not(blobs, "acme", hashlib.sha256(data).hexdigest())

    async def test_cancelling_at_any_moment_leaves_all_or_nothing(self, blobs: Blobs) -> None:
        for turns in range(40):
            data = b"%d" % turns * 200_000
            putting = asyncio.create_task(put(blobs, "acme", data, chunk_bytes=90_000))
            for _ in range(turns):
                await asyncio.sleep(0)
            putting.cancel()
            await asyncio.wait([putting])
            sha256 = hashlib.sha256(data).hexdigest()
            if await blobs.size("acme", sha256) is None:
                assert putting.cancelled()
            else:
                assert await read(blobs, "acme", sha256) == data

    async def test_a_reader_that_stops_early_harms_nobody(self, blobs: Blobs) -> None:
        data = os.urandom(1_000_000)
        stored = await put(blobs, "acme", data)
        async for _ in blobs.read("acme", stored.sha256):
            break
        assert await read(blobs, "acme", stored.sha256) == data

    async def test_a_blob_deleted_while_it_is_read_is_read_to_its_end_or_fails(self, blobs: Blobs) -> None:
        data = os.urandom(1_000_000)
        stored = await put(blobs, "acme", data)
        chunks = aiter(blobs.read("acme", stored.sha256))
        got = await anext(chunks)
        await blobs.delete("acme", stored.sha256)
        try:
            got += b"".join([chunk async for chunk in chunks])
        except NotFound:
            return
        assert got == data

    async def test_many_puts_of_one_content_at_once_are_one_blob(self, blobs: Blobs) -> None:
        data = os.urandom(500_000)
        stored = await asyncio.gather(*(put(blobs, "acme", data, chunk_bytes=1 + n * 9_000) for n in range(1, 16)))
        assert len({(each.sha256, each.size_bytes) for each in stored}) == 1
        assert await read(blobs, "acme", stored[0].sha256) == data

    async def test_puts_and_deletes_of_one_content_never_show_half_of_it(self, blobs: Blobs) -> None:
        data = os.urandom(700_000)
        sha256 = hashlib.sha256(data).hexdigest()

        async def reading() -> None:
            try:
                assert await read(blobs, "acme", sha256) == data
            except NotFound:
                return

        acts = [lambda: put(blobs, "acme", data), lambda: blobs.delete("acme", sha256), reading]
        await asyncio.gather(*(acts[n % 3]() for n in range(30)))
        await put(blobs, "acme", data)
        assert await read(blobs, "acme", sha256) == data

    # --- walls ---

    async def test_a_tenant_has_nothing_of_anothers(self, blobs: Blobs) -> None:
        stored = await put(blobs, "acme", b"acme's secret")
        await _has_not(blobs, "zeta", stored.sha256)
        await blobs.delete("zeta", stored.sha256)
        assert await read(blobs, "acme", stored.sha256) == b"acme's secret"

    async def test_two_tenants_with_equal_content_lose_nothing_to_each_other(self, blobs: Blobs) -> None:
        stored = await put(blobs, "acme", b"both")
        await put(blobs, "zeta", b"both")
        await blobs.delete("acme", stored.sha256)
        assert await read(blobs, "zeta", stored.sha256) == b"both"

    @pytest.mark.parametrize("sha256", NO_ADDRESS)
    async def test_what_is_no_address_names_nothing(self, blobs: Blobs, sha256: str) -> None:
        await put(blobs, "acme", b"content")
        await _has_not(blobs, "acme", sha256)
        await blobs.delete("acme", sha256)

    @pytest.mark.parametrize("tenant_id", NO_TENANT)
    async def test_what_is_no_tenant_has_nothing_and_can_put_nothing(self, blobs: Blobs, tenant_id: str) -> None:
        stored = await put(blobs, "acme", b"content")
        await _has_not(blobs, tenant_id, stored.sha256)
        await blobs.delete(tenant_id, stored.sha256)
        with pytest.raises(Invalid):
            await put(blobs, tenant_id, b"content")

    async def test_a_probe_of_a_store_that_works_is_ok(self, blobs: Blobs) -> None:
        probe = await blobs.probe()
        assert (probe.status, probe.latency_ms > 0) == ("ok", True)


async def stream(chunks: Sequence[bytes]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


async def put(blobs: Blobs, tenant_id: str, data: bytes, *, chunk_bytes: int = 1 << 16) -> StoredBlob:
    return await blobs.put(tenant_id, stream([data[at : at + chunk_bytes] for at in range(0, len(data), chunk_bytes)]))


async def read(blobs: Blobs, tenant_id: str, sha256: str) -> bytes:
    return b"".join([chunk async for chunk in blobs.read(tenant_id, sha256)])


async def _has_not(blobs: Blobs, tenant_id: str, sha256: str) -> None:
    assert await blobs.size(tenant_id, sha256) is None
    with pytest.raises(NotFound):
        await read(blobs, tenant_id, sha256)
