"""What can be known of the content: answers with the places they stand in."""

from symphainy.capabilities.insights.handlers import InsightsCapability

__all__ = ["InsightsCapability"]
