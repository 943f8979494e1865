"""The execution authority, and the only writer of the log."""

from symphainy.runtime.api import RuntimeApi
from symphainy.runtime.engine import Engine
from symphainy.runtime.limits import EngineLimits
from symphainy.runtime.registry import IntentRegistry
from symphainy.runtime.saga import SagaCoordinator, SagaStep
from symphainy.runtime.state_surface import StateSurface
from symphainy.runtime.wal import WriteAheadLog
from symphainy.runtime.worker import Worker

__all__ = [
    "Engine",
    "EngineLimits",
    "IntentRegistry",
    "RuntimeApi",
    "SagaCoordinator",
    "SagaStep",
    "StateSurface",
    "Worker",
    "WriteAheadLog",
]
