"""The promises of `HotState`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import count

import pytest

from symphainy.errors import Invalid
from symphainy.model import Event, JsonObject
from symphainy.ports import HotState, Subscription

QUEUE_MAX = 8


class HotRules:
    """Give it the fixtures `hot`, opened, whose subscriptions hold `QUEUE_MAX` events, and `pass_time`, which lets
    seconds go by. `hot` is closed by the fixture.
    """

    # --- cache ---

    async def test_what_was_put_is_got(self, hot: HotState) -> None:
        await hot.put("execution:acme:exe_1", b"\0\xff one", ttl_s=60)
        await hot.put("execution:acme:exe_2", b"", ttl_s=60)
        assert await hot.get("execution:acme:exe_1") == b"\0\xff one"
        assert await hot.get("execution:acme:exe_2") == b""
        assert await hot.get("execution:zeta:exe_1") is None

    async def test_the_last_value_put_is_the_one_got(self, hot: HotState) -> None:
        await asyncio.gather(*(hot.put("session:acme:ses_1", b"%d" % n, ttl_s=60) for n in range(50)))
        assert await hot.get("session:acme:ses_1") == b"49"

    async def test_what_was_deleted_is_gone(self, hot: HotState) -> None:
        await hot.put("session:acme:ses_1", b"x", ttl_s=60)
        await hot.delete("session:acme:ses_1")
        await hot.delete("session:acme:ses_1")
        assert await hot.get("session:acme:ses_1") is None

    async def test_a_value_is_forgotten_after_its_time(
        self, hot: HotState, pass_time: Callable[[float], Awaitable[None]]
    ) -> None:
        await hot.put("session:acme:short", b"x", ttl_s=0.05)
        await hot.put("session:acme:long", b"y", ttl_s=60)
        assert await hot.get("session:acme:short") == b"x"
        await pass_time(0.06)
        assert await hot.get("session:acme:short") is None
        assert await hot.get("session:acme:long") == b"y"

    async def test_a_value_put_again_lives_its_new_time(
        self, hot: HotState, pass_time: Callable[[float], Awaitable[None]]
    ) -> None:
        await hot.put("session:acme:ses_1", b"x", ttl_s=0.05)
        await hot.put("session:acme:ses_1", b"x", ttl_s=60)
        await pass_time(0.06)
        assert await hot.get("session:acme:ses_1") == b"x"

    # --- live events ---

    async def test_events_arrive_in_order_and_whole(self, hot: HotState) -> None:
        async with hot.subscribe("acme", "exe_1") as subscription:
            await connect(hot, subscription, "acme", "exe_1")
            sent = [event(seq, payload={"text": "grün", "nested": [{"n": 1.5}, None]}) for seq in range(2, 8)]
            hot.publish(sent[:4])
            hot.publish(sent[4:5])
            hot.publish(sent[5:])
            assert [await subscription.next() for _ in sent] == sent
            assert not subscription.lagging

    async def test_every_subscriber_gets_every_event(self, hot: HotState) -> None:
        subscriptions = [hot.subscribe("acme", "exe_1") for _ in range(3)]
        for subscription in subscriptions:
            await connect(hot, subscription, "acme", "exe_1")
        for subscription in subscriptions:
            subscription.lagging  # noqa: B018
        hot.publish([event(100)])
        for subscription in subscriptions:
            assert await _until(subscription, 100) == event(100)
            subscription.close()

    async def test_a_subscriber_gets_its_execution_and_no_other(self, hot: HotState) -> None:
        async with hot.subscribe("acme", "exe_1") as subscription:
            await connect(hot, subscription, "acme", "exe_1")
            others = [
                event(5, tenant_id="zeta"),
                event(6, execution_id="exe_2"),
                event(7, execution_id=None),
            ]
            hot.publish([others[0], event(8), *others[1:], event(9)])
            assert [await subscription.next(), await subscription.next()] == [event(8), event(9)]

    async def test_what_is_published_after_subscribing_is_delivered_or_the_subscription_lags(
        self, hot: HotState
    ) -> None:
        for n in range(20):
            async with hot.subscribe("acme", f"exe_{n}") as subscription:
                sent = event(1, execution_id=f"exe_{n}")
                hot.publish([sent])
                got = await subscription.next()
                assert got == sent or (got is None and subscription.lagging)

    async def test_one_who_falls_behind_is_told_once_and_then_goes_on(self, hot: HotState) -> None:
        async with hot.subscribe("acme", "exe_1") as subscription:
            await connect(hot, subscription, "acme", "exe_1")
            hot.publish([event(seq) for seq in range(2, 3 + QUEUE_MAX)])
            assert await subscription.next() is None
            assert await subscription.next() is None, "until it is asked for, lagging stands"
            assert [subscription.lagging, subscription.lagging] == [True, False]
            hot.publish([event(50)])
            assert await _until(subscription, 50) == event(50)

    async def test_one_slow_subscriber_holds_up_nobody(self, hot: HotState) -> None:
        async with hot.subscribe("acme", "exe_1") as slow, hot.subscribe("acme", "exe_1") as quick:
            await connect(hot, quick, "acme", "exe_1")
            for seq in range(2, 5 * QUEUE_MAX):
                hot.publish([event(seq)])
                assert await quick.next() == event(seq)
            assert await slow.next() is None
            assert slow.lagging

    async def test_waiting_ends_when_the_time_has_passed(
        self, hot: HotState, pass_time: Callable[[float], Awaitable[None]]
    ) -> None:
        async with hot.subscribe("acme", "exe_1") as subscription:
            await connect(hot, subscription, "acme", "exe_1")
            waiting = asyncio.create_task(subscription.next(0.05))
            await pass_time(0.06)
            assert await waiting is None
            assert not subscription.lagging
            hot.publish([event(2)])
            assert await subscription.next() == event(2)

    async def test_closing_ends_the_waiting(self, hot: HotState) -> None:
        subscription = hot.subscribe("acme", "exe_1")
        await connect(hot, subscription, "acme", "exe_1")
        waiting = asyncio.create_task(subscription.next())
        await asyncio.sleep(0)
        subscription.close()
        subscription.close()
        assert await waiting is None

    async def test_one_can_leave_and_come_back(self, hot: HotState) -> None:
        for n in range(1, 6):
            async with hot.subscribe("acme", "exe_1") as subscription:
                await connect(hot, subscription, "acme", "exe_1")
                hot.publish([event(n)])
                assert await _until(subscription, n) == event(n)

    async def test_publishing_to_nobody_is_fine(self, hot: HotState) -> None:
        hot.publish([])
        hot.publish([event(1), event(2, execution_id=None)])
        assert (await hot.probe()).status == "ok"

    @pytest.mark.parametrize(("tenant_id", "execution_id"), [("acme:exe", "1"), ("acme", "exe:1"), ("", "")])
    async def test_no_name_reaches_into_another_tenant(self, hot: HotState, tenant_id: str, execution_id: str) -> None:
        with pytest.raises(Invalid, match="no colon"):
            hot.subscribe(tenant_id, execution_id)


def event(
    seq: int,
    *,
    tenant_id: str = "acme",
    execution_id: str | None = "exe_1",
    payload: JsonObject | None = None,
) -> Event:
    return Event(
        position=1000 + seq,
        seq=None if execution_id is None else seq,
        event_id=f"evt_{seq}",
        event_type="execution_progress",
        tenant_id=tenant_id,
        session_id="ses_1",
        execution_id=execution_id,
        timestamp="2026-01-01T00:00:00.000Z",
        payload=payload or {},
    )


async def connect(hot: HotState, subscription: Subscription, tenant_id: str, execution_id: str) -> None:
    """Return when what is published arrives, and nothing older is on its way."""
    for attempt in count():
        marker = event(-attempt, tenant_id=tenant_id, execution_id=execution_id)
        hot.publish([marker])
        while (got := await subscription.next()) is not None:
            if got == marker:
                return
        assert subscription.lagging


async def _until(subscription: Subscription, seq: int) -> Event:
    """The event with this `seq`, past markers that came late."""
    while (got := await subscription.next()) is None or got.seq != seq:
        assert got is not None or subscription.lagging
    return got
