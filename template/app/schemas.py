"""What all schemas share: no surprises in what callers send."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

# What one store takes another refuses: a NUL in a text, a number of more than 64 bits.
Line = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1F\x7F]*$")]
Text = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x08\x0B\x0C\x0E-\x1F\x7F]*$")]
Int32 = Annotated[int, Field(strict=True, ge=-(2**31), le=2**31 - 1)]
Int64 = Annotated[int, Field(strict=True, ge=-(2**63), le=2**63 - 1)]


class Schema(BaseModel):
    """The base of what callers send: nothing that was not asked for, no number that JSON does not have."""

    model_config = ConfigDict(
        extra="forbid",
        allow_inf_nan=False,
        str_min_length=0,  # has every text looked at: half a surrogate pair cannot be sent back
    )
