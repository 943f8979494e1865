"""The figures that a runtime is held to. Boot fills them in from the settings."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class EngineLimits:
    """Times in seconds, sizes in bytes."""

    workers: int = 256
    """Executions that run at once in this process."""
    running_max: int = 1000
    """Executions of one tenant that run at once: its others wait."""
    requests_per_minute: int = 600_000
    anonymous_requests_per_minute: int = 600
    lease_s: float = 30.0
    grace_s: float = 10.0
    """How long a shutdown waits for running handlers before it hands their leases back."""
    session_ttl_s: float = 86_400.0
    idempotency_ttl_s: float = 86_400.0
    inline_bytes_max: int = 65_536
    """Step results over this move to blobs."""
    result_bytes_max: int = 4 << 20
    upload_bytes_max: int = 1 << 30
    retention_days: int = 30
