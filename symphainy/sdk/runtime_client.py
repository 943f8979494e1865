"""The thin HTTP client: one method a route, typed answers, refusals rebuilt, faults tried again."""

from __future__ import annotations

import logging
import re
import ssl
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from email.utils import parsedate_to_datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy
from ipaddress import ip_address
from typing import Any, TypeAlias
from urllib.parse import quote

import httpx2
import msgspec

from symphainy import __version__
from symphainy.door import AnonymousSession, Health, IntentRequest, RealmInfo, Refusal
from symphainy.errors import Invalid, NotFound, SymphainyError, Unreachable, rebuild
from symphainy.model import (
    TERMINAL_EVENTS,
    Artifact,
    Event,
    Execution,
    IntentInfo,
    JsonObject,
    Page,
    PendingIntent,
    Session,
    Submitted,
)
from symphainy.model.json import canonical, parse
from symphainy.sdk.decoding import (
    artifact_of,
    event_of,
    execution_of,
    json_of,
    page_of,
    pending_of,
    typed,
    unexpected,
)
from symphainy.sdk.multipart import Multipart
from symphainy.sdk.retry import NEVER, Attempts, Retry

log = logging.getLogger("symphainy.sdk")

#: The platform says something on a stream at least every 15 s. After three times that it is taken for dead.
STREAM_SILENCE_S = 45.0
CONNECT_S = 5.0
EVENT_BYTES_MAX = 64 * 1024 * 1024
PROBLEM_BYTES_MAX = 1024 * 1024

# Faults that came before a byte of the request had left.
_NEVER_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)
# What no second attempt would mend: a header that is none, a scheme that nobody speaks.
_NOT_OURS = (httpx2.LocalProtocolError, httpx2.UnsupportedProtocol)
# Statuses with which something in front of the platform says that it did not get through.
_NOT_THROUGH = {502, 503, 504}
# For answers that are no problem document: a proxy's, or another program's.
_CODE_BY_STATUS = {
    401: "unauthenticated",
    403: "forbidden",
    404: "not_found",
    413: "payload_too_large",
    429: "rate_limited",
}
_PROBLEM_MEMBERS = {"type", "title", "status", "detail", "instance", "code", "request_id"}

# RFC 6750, section 2.1.
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")

Query: TypeAlias = Mapping[str, str | int | bool]


def _is_success(response: httpx2.Response) -> bool:
    return response.is_success


class RuntimeClient:
    """Use as an async context manager, or call `aclose`.

    `tenant_id` is sent with every request: a Runtime that is asked without a token wants it named.
    `timeout_s` bounds how long the platform may stay silent, not how long an answer may take to come in.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        tenant_id: str | None = None,
        headers: Mapping[str, str] | None = None,
        retry: Retry | None = None,
        timeout_s: float = 30.0,
    ) -> None:
        address = _address(url)
        self.url = str(address).rstrip("/")
        self.retry = retry or Retry()
        self._timeout_s = timeout_s
        self._headers = _caller_headers(token, headers)
        self._tenant_id = tenant_id
        self._owns_connections = True
        self._http = httpx2.AsyncClient(
            # Without TLS there is nothing to verify, and loading the trust store takes 70 ms.
            verify=True if address.scheme == "https" else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
            # A proxy cannot reach our loopback interface.
            trust_env=not _is_loopback(address.host),
            # One pool serves many callers: nothing an answer sets may show in another's request.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            # Each open stream holds a connection: no upper limit. Idle ones go before the server drops them.
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=100, keepalive_expiry=4.0),
        )

    def acting_for(
        self, *, token: str | None, tenant_id: str | None = None, headers: Mapping[str, str] | None = None
    ) -> RuntimeClient:
        """The same connections for another caller. Closing it closes nothing."""
        other = object.__new__(RuntimeClient)
        other.url, other.retry, other._timeout_s = self.url, self.retry, self._timeout_s
        other._http, other._owns_connections = self._http, False
        other._headers, other._tenant_id = _caller_headers(token, headers), tenant_id
        return other

    @property
    def tenant_id(self) -> str | None:
        """The tenant that every request names, if any."""
        return self._tenant_id

    def naming(self, tenant_id: str) -> RuntimeClient:
        """The same caller, whose requests name this tenant."""
        other = self.acting_for(token=None, tenant_id=tenant_id)
        other._headers = self._headers
        return other

    async def aclose(self) -> None:
        if self._owns_connections:
            await self._http.aclose()

    async def __aenter__(self) -> RuntimeClient:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    # --- sessions --------------------------------------------------------------------------------------

    async def create_session(
        self,
        *,
        user_id: str | None = None,
        solution_id: str = "default",
        context: JsonObject | None = None,
        metadata: JsonObject | None = None,
    ) -> Session:
        # Asked twice it makes two, of which one is never used and expires.
        body = present(user_id=user_id, solution_id=solution_id, context=context, metadata=metadata)
        return typed(await self._post("/api/session/create", body), Session)

    async def create_anonymous_session(
        self, *, context: JsonObject | None = None, metadata: JsonObject | None = None
    ) -> AnonymousSession:
        answer = await self._post("/api/session/create-anonymous", present(context=context, metadata=metadata))
        extra = typed(answer, _AnonymousExtra)
        return AnonymousSession(
            session=typed(answer, Session), access_token=extra.access_token, expires_in=extra.expires_in
        )

    async def get_session_state(self, session_id: str) -> Session:
        """The session as it stands; `context` is the state that handlers read and write."""
        return typed(await self._get(f"/api/session/{_part(session_id)}"), Session)

    async def update_session(
        self, session_id: str, *, context: JsonObject | None = None, metadata: JsonObject | None = None
    ) -> Session:
        body = present(context=context, metadata=metadata)
        response = await self._send("PATCH", f"/api/session/{_part(session_id)}", body=body)
        return typed(json_of(response.content), Session)

    async def close_session(self, session_id: str) -> Session:
        return typed(await self._post(f"/api/session/{_part(session_id)}/close", {}), Session)

    # --- intents and executions ------------------------------------------------------------------------

    async def submit_intent(self, request: IntentRequest, *, idempotency_key: str) -> Submitted:
        """Tried again under one key, so it never runs twice."""
        response = await self._send(
            "POST",
            "/api/intent/submit",
            body=_submission(request),
            headers={"Idempotency-Key": idempotency_key},
        )
        return _submitted(response)

    async def submit_batch(
        self, requests: Sequence[IntentRequest], *, idempotency_key: str
    ) -> tuple[Submitted | Refusal, ...]:
        """`idempotency_key` holds for every request that has none of its own."""
        body = {
            "intents": [_submission(request) | present(idempotency_key=request.idempotency_key) for request in requests]
        }
        response = await self._send(
            "POST", "/api/intent/submit-batch", body=body, headers={"Idempotency-Key": idempotency_key}
        )
        answers = json_of(response.content)
        return tuple(map(_batch_answer, typed(answers, list[Any])))

    async def get_intents(self) -> tuple[IntentInfo, ...]:
        return tuple(typed(each, IntentInfo) for each in typed(await self._get("/api/intents"), list[Any]))

    async def get_intent(self, intent_type: str) -> IntentInfo:
        return typed(await self._get(f"/api/intents/{_part(intent_type)}"), IntentInfo)

    async def get_realms(self) -> tuple[RealmInfo, ...]:
        return tuple(typed(each, RealmInfo) for each in typed(await self._get("/api/realms"), list[Any]))

    async def create_pending(self, body: JsonObject) -> PendingIntent:
        return pending_of(await self._post("/api/intent/pending/create", body, repeatable=False))

    async def list_pending(self, body: JsonObject) -> Page[PendingIntent]:
        return page_of(await self._post("/api/intent/pending/list", body), "pending_intents", pending_of)

    async def get_execution_status(self, execution_id: str, *, include_steps: bool = False) -> Execution:
        path = f"/api/execution/{_part(execution_id)}/status"
        return execution_of(await self._get(path, present(include_steps=include_steps or None)))

    async def get_execution_artifacts(self, execution_id: str) -> tuple[Artifact, ...]:
        path = f"/api/execution/{_part(execution_id)}/status"
        answer = typed(await self._get(path, {"include_artifacts": True}), dict[str, Any])
        return tuple(map(artifact_of, typed(answer.get("artifacts"), dict[str, Any]).values()))

    async def list_executions(self, body: JsonObject) -> Page[Execution]:
        return page_of(await self._post("/api/execution/list", body), "executions", execution_of)

    async def cancel_execution(self, execution_id: str, *, reason: str | None = None) -> Execution:
        path = f"/api/execution/{_part(execution_id)}/cancel"
        return execution_of(await self._post(path, present(reason=reason), repeatable=False))

    async def stream_execution(self, execution_id: str, *, after: int | None = None) -> AsyncIterator[Event]:
        """One connection's worth of events: not tried again. Raises `Unreachable` when it ends before the
        execution does, or when what answers is no stream.
        """
        headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
        if after is not None:
            headers["Last-Event-ID"] = str(after)
        path = f"/api/execution/{_part(execution_id)}/stream"
        response = await self._send("GET", path, headers=headers, read=False, silence_s=STREAM_SILENCE_S, retry=NEVER)
        async with aclosing(response):
            if response.status_code == 204:
                return
            if (kind := _media_type(response)) != "text/event-stream":
                raise Unreachable(f"{self.url}{path} answered with {kind or 'no media type'}, not a stream")
            try:
                async for item in httpx2.EventSource(response, max_event_size=EVENT_BYTES_MAX):
                    if item.data:
                        event = event_of(json_of(item.data.encode()))
                        yield event
                        if event.event_type in TERMINAL_EVENTS:
                            return
            except httpx2.TransportError as fault:
                raise _unreachable(self.url, fault) from fault
        raise Unreachable(f"the stream of {execution_id} ended before the execution did")

    # --- artifacts -------------------------------------------------------------------------------------

    async def resolve_artifact(self, artifact_id: str) -> Artifact:
        return artifact_of(await self._post("/api/artifact/resolve", {"artifact_id": artifact_id}))

    async def list_artifacts(self, body: JsonObject) -> Page[Artifact]:
        return page_of(await self._post("/api/artifact/list", body), "artifacts", artifact_of)

    async def artifact_lineage(self, artifact_id: str, *, direction: str) -> JsonObject:
        path = f"/api/artifacts/{_part(artifact_id)}/lineage"
        return typed(await self._get(path, {"direction": direction}), dict[str, Any])

    async def open_content(
        self, artifact_id: str, *, materialization_id: str | None, bytes_range: str | None
    ) -> httpx2.Response:
        """The answer, not yet read. The caller closes it."""
        return await self._send(
            "GET",
            f"/api/artifacts/{_part(artifact_id)}/content",
            query=present(materialization_id=materialization_id),
            headers=present(Range=bytes_range) | {"Accept": "*/*", "Accept-Encoding": "identity"},
            read=False,
        )

    async def upload(self, form: Multipart, *, idempotency_key: str) -> Submitted:
        """Tried again under one key, as long as the form can be sent from its beginning."""
        response = await self._send(
            "POST",
            "/v1/content/upload",
            form=form,
            headers={"Content-Type": form.media_type, "Idempotency-Key": idempotency_key},
        )
        return _submitted(response)

    # --- the platform ----------------------------------------------------------------------------------

    async def wal_events(self, query: Query) -> Page[Event]:
        return page_of(await self._get("/api/wal/events", query), "events", event_of)

    async def health(self) -> Health:
        """Also when the platform is down and says so."""
        return typed(json_of((await self._send("GET", "/health", is_answer=_is_health)).content), Health)

    # --- the wire --------------------------------------------------------------------------------------

    async def _get(self, path: str, query: Query | None = None) -> Any:
        return json_of((await self._send("GET", path, query=query)).content)

    async def _post(self, path: str, body: JsonObject, *, repeatable: bool = True) -> Any:
        return json_of((await self._send("POST", path, body=body, repeatable=repeatable)).content)

    async def _send(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: JsonObject | None = None,
        form: Multipart | None = None,
        headers: Mapping[str, str] | None = None,
        repeatable: bool = True,
        read: bool = True,
        silence_s: float | None = None,
        retry: Retry | None = None,
        is_answer: Callable[[httpx2.Response], bool] = _is_success,
    ) -> httpx2.Response:
        """The answer, tried for as often as is right. With `read` all of it; otherwise the caller closes it.

        What is not `repeatable` is sent a second time only when the first cannot have had an effect.
        """
        attempts = Attempts(retry or self.retry)
        while True:
            request = self._request(method, path, query, body, form, headers, silence_s)
            try:
                response = await self._http.send(request, stream=True)
                if is_answer(response):
                    if read:
                        await response.aread()
                    return response
                refusal, had_no_effect = await _refusal(response)
            except _NOT_OURS as fault:
                # The fault's own words may repeat a header.
                raise Invalid(f"the request to {self.url} is no HTTP: {type(fault).__name__}") from None
            except httpx2.TransportError as fault:
                refusal = _unreachable(self.url, fault)
                had_no_effect = isinstance(fault, _NEVER_SENT)
            if not refusal.retryable or not (repeatable or had_no_effect):
                raise refusal
            if form is not None and not await form.rewind():
                raise refusal
            log.debug("%s %s%s: %s; trying again", method, self.url, path, refusal)
            await attempts.after(refusal)

    def _request(
        self,
        method: str,
        path: str,
        query: Query | None,
        body: JsonObject | None,
        form: Multipart | None,
        headers: Mapping[str, str] | None,
        silence_s: float | None,
    ) -> httpx2.Request:
        sent = self._headers | dict(headers or {})
        if body is not None:
            sent["Content-Type"] = "application/json"
        asked = dict(query or {})
        if self._tenant_id is not None:
            asked["tenant_id"] = self._tenant_id
        return self._http.build_request(
            method,
            self.url + path,
            content=form if form is not None else None if body is None else canonical(body),
            params=asked,
            headers=sent,
            timeout=httpx2.Timeout(
                self._timeout_s,
                connect=min(self._timeout_s, CONNECT_S),
                read=silence_s or self._timeout_s,
            ),
        )


class _AnonymousExtra(msgspec.Struct, frozen=True, kw_only=True):
    access_token: str
    expires_in: int


# --- requests -----------------------------------------------------------------------------------------


def _address(url: str) -> httpx2.URL:
    try:
        address = httpx2.URL(url)
    except httpx2.InvalidURL as error:
        raise Invalid(f"{url!r} is no address: {error}. Write it like http://127.0.0.1:8001") from None
    if address.scheme not in ("http", "https") or not address.host:
        raise Invalid(f"{url!r} is no address of a platform. Write it like http://127.0.0.1:8001")
    return address


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _caller_headers(token: str | None, headers: Mapping[str, str] | None) -> dict[str, str]:
    out = {"User-Agent": f"symphainy/{__version__}", "Accept": "application/json"} | dict(headers or {})
    if token is not None:
        if not _TOKEN.fullmatch(token):
            raise Invalid("the token is none: it is empty or has characters that no token has")
        out["Authorization"] = f"Bearer {token}"
    return out


def _part(value: str) -> str:
    """One part of a path: an id from elsewhere cannot lead to another route."""
    if not value.strip("."):
        raise NotFound(f"{value!r} is the name of nothing")
    return quote(value, safe="")


def present(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _submission(request: IntentRequest) -> JsonObject:
    return present(
        intent_type=request.intent_type,
        session_id=request.session_id,
        parameters=request.parameters,
        tenant_id=request.tenant_id,
        solution_id=request.solution_id,
        metadata=request.metadata,
    )


# --- answers ------------------------------------------------------------------------------------------


def _is_health(response: httpx2.Response) -> bool:
    return response.is_success or (response.status_code == 503 and _media_type(response) == "application/json")


def _media_type(response: httpx2.Response) -> str:
    return str(response.headers.get("Content-Type", "")).partition(";")[0].strip().lower()


def _submitted(response: httpx2.Response) -> Submitted:
    replayed = response.headers.get("Idempotency-Replayed") == "true"
    return typed(typed(json_of(response.content), dict[str, Any]) | {"replayed": replayed}, Submitted)


def _batch_answer(value: Any) -> Submitted | Refusal:
    answer = typed(value, dict[str, Any])
    if "execution_id" in answer:
        return typed(answer, Submitted)
    code, message, details = _problem(answer)
    return Refusal(code=code, message=message, details=details)


def _problem(document: JsonObject) -> tuple[str, str, JsonObject]:
    """Code, message and details of a problem document."""
    message = str(document.get("detail") or document.get("title") or document["code"])
    details = {name: value for name, value in document.items() if name not in _PROBLEM_MEMBERS}
    return str(document["code"]), message, details


async def _refusal(response: httpx2.Response) -> tuple[SymphainyError, bool]:
    """The error that the answer stands for, and whether it says that nothing was done."""
    async with aclosing(response):
        data = await _read_bounded(response, PROBLEM_BYTES_MAX)
    document = _object_of(data)
    if "code" in document:
        code, message, details = _problem(document)
        if (wait_s := _retry_after_s(response)) is not None:
            details["retry_after_s"] = wait_s
        error = _rebuilt(code, message, details)
        error.request_id = document.get("request_id") or response.headers.get("X-Request-Id")
        # What stands between us and the Runtime cannot say whether the Runtime did it.
        return error, not isinstance(error, Unreachable)
    return _foreign(response), False


def _rebuilt(code: str, message: str, details: JsonObject) -> SymphainyError:
    try:
        return rebuild(code, message, details)
    except (KeyError, TypeError, ValueError):
        return unexpected(f"the answer is a malformed problem document ({code}: {message})")


def _foreign(response: httpx2.Response) -> SymphainyError:
    """An answer that is no problem document: of a proxy, or of another program."""
    status, url = response.status_code, str(response.request.url.copy_with(query=None))
    said = f"{response.request.method} {url} was answered with {status} {response.reason_phrase}".rstrip()
    if status in _NOT_THROUGH:
        return Unreachable(said)
    if status in _CODE_BY_STATUS:
        details = {"retry_after_s": _retry_after_s(response) or 1.0} if status == 429 else {}
        return rebuild(_CODE_BY_STATUS[status], said, details)
    if response.has_redirect_location:
        return unexpected(f"{said}, which leads to {response.headers['Location']}")
    return unexpected(said)


def _retry_after_s(response: httpx2.Response) -> float | None:
    """Seconds. A date is counted from the answer's own `Date`, so that no two clocks have to agree."""
    value = response.headers.get("Retry-After")
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        then = parsedate_to_datetime(value)
        now = parsedate_to_datetime(response.headers.get("Date", ""))
    except ValueError:
        return None
    return max(0.0, (then - now).total_seconds())


async def _read_bounded(response: httpx2.Response, bytes_max: int) -> bytes:
    data = b""
    async for chunk in response.aiter_bytes():
        data += chunk
        if len(data) > bytes_max:
            break
    return data


def _object_of(data: bytes) -> JsonObject:
    try:
        value = parse(data)
    except Invalid:
        return {}
    return value if isinstance(value, dict) else {}


def _unreachable(url: str, fault: Exception) -> Unreachable:
    error = Unreachable(f"{url} cannot be reached: {str(fault) or type(fault).__name__}")
    error.__cause__ = fault
    return error
