"""E-mail addresses, in the one spelling that is stored and looked for."""

from typing import Annotated

from pydantic import AfterValidator, EmailStr, Field, TypeAdapter, ValidationError

# Capitals make no difference anywhere; longer ones than this nobody has (RFC 5321, 4.5.3.1).
Email = Annotated[EmailStr, AfterValidator(str.lower), Field(max_length=320)]

EMAIL: TypeAdapter[str] = TypeAdapter(Email)


def normalize_email(text: str) -> str:
    """Return the spelling that would be stored; what is no address stays as it is, and is nobody's."""
    try:
        return EMAIL.validate_python(text)
    except ValidationError:
        return text
