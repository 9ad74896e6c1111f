"""Prints every route, and who may call it."""

from importlib import import_module

from app.auth.policies import policies


def main() -> None:
    app = import_module("app.main").app
    for method, path, policy in policies(app):
        print(f"{method:8}{path:40}  {policy or 'NOBODY HAS SAID'}")


if __name__ == "__main__":
    main()
