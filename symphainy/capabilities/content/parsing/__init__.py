"""Parsers: bytes in, units, chunks and a balance out. Pure; they know nothing of intents, artifacts or stores."""
