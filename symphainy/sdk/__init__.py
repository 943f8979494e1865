"""The Experience SDK: the one surface that experiences use. Over HTTP or in process, with the same operations."""

from symphainy.sdk.client import AnonymousSessions, ExperienceSDK, QueryState, completed, failure_of
from symphainy.sdk.following import POLLING
from symphainy.sdk.http_door import HttpDoor
from symphainy.sdk.retry import Retry
from symphainy.sdk.runtime_client import RuntimeClient
from symphainy.sdk.sync import SyncContent, SyncExperienceSDK

__all__ = [
    "POLLING",
    "AnonymousSessions",
    "ExperienceSDK",
    "HttpDoor",
    "QueryState",
    "Retry",
    "RuntimeClient",
    "SyncContent",
    "SyncExperienceSDK",
    "completed",
    "failure_of",
]
