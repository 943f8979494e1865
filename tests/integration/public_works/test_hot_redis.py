"""RedisHot under the suite of its port, on a real Valkey, and through every outage."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from symphainy.errors import MissingExtra, StartupFailed
from symphainy.model.hot_keys import EXECUTION_TTL_S, execution_key
from symphainy.public_works import hot_redis
from symphainy.public_works.clock import SystemClock
from symphainy.public_works.hot_redis import RedisHot
from symphainy.testing.conformance.hot import QUEUE_MAX, HotRules, connect, event
from symphainy.testing.servers import Valkey, free_port, start_valkey, valkey


@pytest.fixture(scope="session")
def url() -> Iterator[str]:
    with start_valkey() as started:
        yield started


@pytest.fixture
def server() -> Iterator[Valkey]:
    """One of its own, for a test that breaks it."""
    with valkey(password="swordfish") as started:
        yield started


@pytest_asyncio.fixture
async def hot(server: Valkey) -> AsyncIterator[RedisHot]:
    made = RedisHot(server.url, clock=SystemClock(), queue_max=QUEUE_MAX)
    await made.open()
    yield made
    await made.close()


class TestRedisHot(HotRules):
    @pytest_asyncio.fixture
    async def hot(self, url: str) -> AsyncIterator[RedisHot]:
        async with Redis.from_url(url) as client:
            await client.flushall()
        made = RedisHot(url, clock=SystemClock(), queue_max=QUEUE_MAX)
        await made.open()
        yield made
        await made.close()

    @pytest.fixture
    def pass_time(self) -> Callable[[float], Awaitable[None]]:
        return asyncio.sleep


async def in_use(hot: RedisHot) -> None:
    while (await hot.probe()).status != "ok":
        pass


async def test_keys_and_times_are_those_of_the_contract(url: str) -> None:
    hot = RedisHot(url, clock=SystemClock())
    await hot.open()
    await hot.put(execution_key("acme", "exe_1"), b"{}", ttl_s=EXECUTION_TTL_S)
    async with Redis.from_url(url) as client:
        assert await client.get("execution:acme:exe_1") == b"{}"
        assert 3590 < await client.ttl("execution:acme:exe_1") <= 3600
    await hot.close()


async def test_two_processes_share_keys_and_events(url: str) -> None:
    one, other = (RedisHot(url, clock=SystemClock()) for _ in range(2))
    await one.open()
    await other.open()
    async with other.subscribe("acme", "exe_7") as subscription:
        await connect(one, subscription, "acme", "exe_7")
        one.publish([event(2, execution_id="exe_7")])
        assert await subscription.next() == event(2, execution_id="exe_7")
    await one.put("session:acme:ses_7", b"shared", ttl_s=60)
    assert await other.get("session:acme:ses_7") == b"shared"
    await one.close()
    await other.close()


async def test_two_namespaces_on_one_server_know_nothing_of_each_other(url: str) -> None:
    one, other = (RedisHot(url, clock=SystemClock(), namespace=name) for name in ("one:", "other:"))
    await one.open()
    await other.open()
    await one.put("session:acme:ses_1", b"mine", ttl_s=60)
    assert await other.get("session:acme:ses_1") is None
    async with one.subscribe("acme", "exe_1") as subscription:
        await connect(one, subscription, "acme", "exe_1")
        other.publish([event(5)])
        await other.get("everything sent before is delivered")
        one.publish([event(6)])
        assert await subscription.next() == event(6)
    await one.close()
    await other.close()


# --- it does not start ---


async def test_without_a_server_the_start_fails_and_says_what_to_do() -> None:
    port = free_port()
    hot = RedisHot(f"redis://user:swordfish@127.0.0.1:{port}/0", clock=SystemClock())
    with pytest.raises(StartupFailed) as failure:
        await hot.open()
    message = str(failure.value)
    assert failure.value.service == "redis"
    assert message.startswith(f"Redis at redis://127.0.0.1:{port} cannot be used: ")
    assert message.endswith("Start it, or correct REDIS_URL, or unset REDIS_URL to keep hot state in this process")
    assert "swordfish" not in message


async def test_with_a_wrong_password_the_start_fails_without_telling_it(server: Valkey) -> None:
    hot = RedisHot(server.url.replace("swordfish", "marlin"), clock=SystemClock())
    with pytest.raises(StartupFailed, match="invalid username-password") as failure:
        await hot.open()
    assert "marlin" not in str(failure.value)


async def test_a_server_that_never_answers_does_not_hold_up_the_start(server: Valkey) -> None:
    server.freeze()
    with pytest.raises(StartupFailed, match="Timeout"):
        await RedisHot(server.url, clock=SystemClock()).open()
    server.thaw()


async def test_a_server_that_forbids_to_listen_fails_the_start(server: Valkey) -> None:
    async with Redis.from_url(server.url) as admin:
        await admin.acl_setuser(
            *("mute", True, False),
            passwords=["+pw"],
            keys=["*"],
            channels=["*"],
            commands=["+@all", "-subscribe"],
        )
    hot = RedisHot(server.url.replace(":swordfish", "mute:pw"), clock=SystemClock())
    with pytest.raises(StartupFailed, match="does not let us subscribe"):
        await hot.open()


@pytest.mark.parametrize("url", ["", "http://localhost", "redis://h:port/x"])
async def test_what_is_no_url_fails_the_start(url: str) -> None:
    with pytest.raises(StartupFailed, match="no Redis URL"):
        await RedisHot(url, clock=SystemClock()).open()


async def test_without_the_extra_the_start_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis.asyncio", None)
    with pytest.raises(MissingExtra, match=r"pip install 'symphainy\[redis\]'"):
        await RedisHot("redis://localhost", clock=SystemClock()).open()


# --- it dies later ---


async def test_a_dead_server_raises_nowhere_holds_up_nobody_and_is_seen(hot: RedisHot, server: Valkey) -> None:
    await hot.put("session:acme:ses_1", b"x", ttl_s=60)
    server.kill()
    assert await hot.get("session:acme:ses_1") is None
    # A hundred waits for a server that is gone would be minutes.
    async with asyncio.timeout(20):
        for _ in range(100):
            await hot.put("session:acme:ses_1", b"y", ttl_s=60)
            await hot.delete("session:acme:ses_2")
            assert await hot.get("session:acme:ses_1") is None
            hot.publish([event(1)])
    probe = await hot.probe()
    assert probe.status == "down"
    assert f"127.0.0.1:{server.port}" in probe.detail
    assert "swordfish" not in probe.detail


async def test_it_comes_back_by_itself(hot: RedisHot, server: Valkey) -> None:
    async with hot.subscribe("acme", "exe_1") as subscription:
        await connect(hot, subscription, "acme", "exe_1")
        server.kill()
        hot.publish([event(2)])
        assert (await subscription.next(), subscription.lagging) == (None, True)
        server.start()
        await in_use(hot)
        await hot.put("session:acme:ses_1", b"x", ttl_s=60)
        assert await hot.get("session:acme:ses_1") == b"x"
        await connect(hot, subscription, "acme", "exe_1")
        hot.publish([event(3)])
        assert await subscription.next() == event(3)


async def test_a_listener_that_is_cut_off_lags_and_is_connected_again(hot: RedisHot, server: Valkey) -> None:
    async with hot.subscribe("acme", "exe_1") as subscription:
        await connect(hot, subscription, "acme", "exe_1")
        async with Redis.from_url(server.url) as admin:
            await admin.client_kill_filter(_type="pubsub")
        assert (await subscription.next(), subscription.lagging) == (None, True)
        await connect(hot, subscription, "acme", "exe_1")


async def test_a_frozen_server_delays_one_call_and_none_after_it(hot: RedisHot, server: Valkey) -> None:
    server.freeze()
    # Fifty time-outs in a row would be about a minute.
    async with asyncio.timeout(25 * hot_redis.TIMEOUT_S):
        for _ in range(50):
            assert await hot.get("session:acme:ses_1") is None
            hot.publish([event(1)])
    server.thaw()
    await in_use(hot)


@pytest.mark.parametrize("keys_max", [hot_redis.STALE_KEYS_MAX, 1])
async def test_an_outage_brings_back_no_older_value(
    hot: RedisHot, server: Valkey, keys_max: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hot_redis, "STALE_KEYS_MAX", keys_max)
    names = [f"{kind}:acme:{n}" for n in range(3) for kind in ("session", "execution")]
    for name in [*names, "session:acme:untouched"]:
        await hot.put(name, b"old", ttl_s=60)
    server.freeze()
    for name in names[:3]:
        await hot.put(name, b"new", ttl_s=60)
    for name in names[3:]:
        await hot.delete(name)
    server.thaw()
    await in_use(hot)
    assert {await hot.get(name) for name in names} == {None}
    untouched = await hot.get("session:acme:untouched")
    assert untouched == (b"old" if keys_max > 1 else None)


async def test_a_server_that_refuses_to_write_raises_nowhere_and_is_seen(hot: RedisHot, server: Valkey) -> None:
    await hot.put("session:acme:ses_1", b"old", ttl_s=60)
    async with Redis.from_url(server.url) as admin:
        await admin.config_set("maxmemory", "1")
        await hot.put("session:acme:ses_1", b"new", ttl_s=60)
        assert await hot.get("session:acme:ses_1") is None
        assert "maxmemory" in (await hot.probe()).detail
        await admin.config_set("maxmemory", "0")
    await in_use(hot)
    assert await hot.get("session:acme:ses_1") is None


async def test_events_dropped_for_want_of_room_make_those_in_other_processes_lag_too(
    hot: RedisHot, server: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = RedisHot(server.url, clock=SystemClock())
    await other.open()
    async with other.subscribe("acme", "exe_1") as subscription:
        await connect(hot, subscription, "acme", "exe_1")
        monkeypatch.setattr(hot_redis, "OUTBOX_MAX", 2)
        for seq in range(2, 6):
            hot.publish([event(seq)])
        got = [await subscription.next()]
        while got[-1] is not None:
            got.append(await subscription.next())
        assert subscription.lagging
    await other.close()


async def test_a_value_dropped_for_want_of_room_leaves_no_older_one(
    hot: RedisHot, monkeypatch: pytest.MonkeyPatch
) -> None:
    await hot.put("session:acme:ses_1", b"old", ttl_s=60)
    monkeypatch.setattr(hot_redis, "OUTBOX_MAX", 0)
    await hot.put("session:acme:ses_1", b"new", ttl_s=60)
    monkeypatch.undo()
    assert await hot.get("session:acme:ses_1") is None
    await in_use(hot)
    assert await hot.get("session:acme:ses_1") is None
    await hot.put("session:acme:ses_1", b"newer", ttl_s=60)
    assert await hot.get("session:acme:ses_1") == b"newer"


async def test_a_message_from_another_version_makes_its_listeners_read_the_log(hot: RedisHot, server: Valkey) -> None:
    async with hot.subscribe("acme", "exe_1") as subscription:
        await connect(hot, subscription, "acme", "exe_1")
        async with Redis.from_url(server.url) as stranger:
            await stranger.publish("events:acme:exe_1", b"\xc1 not what we write")
        assert (await subscription.next(), subscription.lagging) == (None, True)


async def test_closing_while_the_server_is_gone_leaves_nobody_waiting(server: Valkey) -> None:
    hot = RedisHot(server.url, clock=SystemClock())
    await hot.open()
    server.freeze()
    waiting = asyncio.create_task(hot.get("session:acme:ses_1"))
    await asyncio.sleep(0)
    await hot.close()
    assert await waiting is None
    server.thaw()
