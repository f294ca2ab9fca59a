"""Layouts: how published sets lay out their rows, and what examples these make."""

from curricula.layouts.columns import Columns
from curricula.layouts.detection import LAYOUTS, detect, layout_named
from curricula.layouts.layout import Draft, Layout

__all__ = ["LAYOUTS", "Columns", "Draft", "Layout", "detect", "layout_named"]
