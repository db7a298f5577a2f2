"""Names for MXNet's own objects in signatures; the package has no type hints of its own.

They are aliases of ``Any`` that say what is meant: nothing here imports mxnet.
"""

from __future__ import annotations

from typing import Any

Symbol = Any
"""An ``mx.sym.Symbol``."""
NDArray = Any
"""An ``mx.nd.NDArray``."""
Context = Any
"""An ``mx.Context``: a device."""
DataBatch = Any
"""An ``mx.io.DataBatch``."""
DataDesc = Any
"""An ``mx.io.DataDesc``: a name, a shape and a dtype."""
