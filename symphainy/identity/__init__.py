"""Who is asking: the one token verifier, and the issuer of the development profile. Handed to both services by boot."""

from symphainy.identity.issuer import DevelopmentIssuer
from symphainy.identity.tokens import TokenVerifier, TrustedIssuer

__all__ = ["DevelopmentIssuer", "TokenVerifier", "TrustedIssuer"]
