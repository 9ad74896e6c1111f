"""URLs of servers."""

from urllib.parse import quote, urlsplit, urlunsplit

from pydantic import SecretStr


def with_password(url: SecretStr, password: SecretStr) -> SecretStr:
    """Return the URL with this password instead of the one that may stand there; it is written as it is."""
    parts = urlsplit(url.get_secret_value())
    user, host = parts.username or "", parts.netloc.rpartition("@")[2]
    netloc = f"{user}:{quote(password.get_secret_value(), safe='')}@{host}"
    return SecretStr(urlunsplit(parts._replace(netloc=netloc)))
