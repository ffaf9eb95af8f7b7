"""Everything that is not inference."""

from __future__ import annotations

from mlops_backend.services.other.without_orm import leave_out_orm

leave_out_orm()
