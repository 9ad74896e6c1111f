"""How much a connection may send: so much in a second, and as much at once after a pause."""

from time import monotonic


class Allowance:
    def __init__(self, per_second: int) -> None:
        self.per_second = per_second
        self.left = float(per_second)
        self.counted_at = monotonic()
        self.refused = 0  # since there was a pause

    @property
    def exhausted(self) -> bool:
        """Say whether whoever sends does not heed what they are told."""
        return self.refused > self.per_second

    def take(self, number: int = 1) -> bool:
        now = monotonic()
        self.left = min(self.left + (now - self.counted_at) * self.per_second, self.per_second)
        self.counted_at = now
        if self.left == self.per_second:
            self.refused = 0
        if self.left < number:
            self.refused += 1
            return False
        self.left -= number
        return True
