"""Sessions: from a login, through its refreshes, to its end."""
