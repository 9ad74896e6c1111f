"""Users: their own account, and what an administrator does with those of others."""
