"""How people and programs touch the platform: clients of the Experience SDK. They start nothing and own nothing."""

from symphainy.experience.service import ExperienceService

__all__ = ["ExperienceService"]
