"""What this service offers; the list is yours, the template never changes it."""

from collections.abc import Sequence

from app.feature import Feature

RESOURCES: Sequence[Feature] = []
