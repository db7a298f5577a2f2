"""What the fields of a sidecar may be: it may come from anyone."""

from __future__ import annotations

from typing import Annotated

import msgspec

# No file of a run is larger, and no run has so many epochs or steps.
Number = Annotated[int, msgspec.Meta(ge=0, le=1 << 40)]
EpochNumber = Annotated[int, msgspec.Meta(ge=0, le=9_999_999)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Slot = Annotated[int, msgspec.Meta(ge=0, le=1)]
Digest = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
Path = Annotated[str, msgspec.Meta(min_length=1, max_length=4096, pattern="^[^\\x00]+$")]
Word = Annotated[str, msgspec.Meta(max_length=40, pattern="^[ -~]*$")]
