"""The CerraData-4MM classes: ids, names, colours and the hierarchy of the two levels.

Source: ``reference/classes.csv``, after the dataset's description, which gives colours for L2 only: an L1 class takes
that of its most common child. Forestry and Deforestation stand under Agriculture, as the published counts show.
"""

from typing import NamedTuple

IGNORE = 255
"""Mask value of a pixel without a label: it reaches neither loss nor score."""

MSI_BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12")
SAR_BANDS = ("VV", "VH")


class LandCover(NamedTuple):
    """One class: position in its level, short label, full name, colour (0-255) and the L1 class that holds it."""

    id: int
    abbreviation: str
    name: str
    colour: tuple[int, int, int]
    parent: int


_L1 = (
    LandCover(0, "Pa", "Pasture", (206, 239, 98), 0),
    LandCover(1, "Fo", "Forest", (22, 152, 13), 1),
    LandCover(2, "Ag", "Agriculture", (255, 215, 0), 2),
    LandCover(3, "Mg", "Mining", (176, 176, 176), 3),
    LandCover(4, "Bu", "Building", (223, 124, 38), 4),
    LandCover(5, "Wt", "Water body", (19, 50, 255), 5),
    LandCover(6, "OU", "Other uses", (117, 10, 194), 6),
)

_L2 = (
    LandCover(0, "Pa", "Pasture", (206, 239, 98), 0),
    LandCover(1, "V1", "Primary natural vegetation", (22, 152, 13), 1),
    LandCover(2, "V2", "Secondary natural vegetation", (31, 212, 18), 1),
    LandCover(3, "Wt", "Water body", (19, 50, 255), 5),
    LandCover(4, "Mg", "Mining", (176, 176, 176), 3),
    LandCover(5, "UA", "Urban area", (223, 124, 38), 4),
    LandCover(6, "OB", "Other built area", (250, 128, 114), 4),
    LandCover(7, "Ft", "Forestry", (85, 107, 47), 2),
    LandCover(8, "PR", "Perennial agriculture", (230, 32, 108), 2),
    LandCover(9, "SP", "Semi-perennial agriculture", (139, 105, 20), 2),
    LandCover(10, "T1", "Temporary agriculture of 1 cycle", (255, 215, 0), 2),
    LandCover(11, "T1+", "Temporary agriculture of 1+ cycle", (255, 255, 0), 2),
    LandCover(12, "OU", "Other uses", (117, 10, 194), 6),
    LandCover(13, "Df", "Deforestation 2022", (205, 0, 0), 2),
)

EDGES = (
    LandCover(0, "In", "Interior of a class", (235, 235, 235), 0),
    LandCover(1, "Ed", "Edge between classes", (40, 40, 40), 1),
)
"""What an edge mask holds."""

LEVELS: dict[str, tuple[LandCover, ...]] = {"l1": _L1, "l2": _L2}
"""Level name → its classes in id order: ``l1`` holds 7, ``l2`` holds 14."""

PARENTS = tuple(entry.parent for entry in _L2)
"""L2 class id → id of the L1 class that holds it."""

CHILDREN = tuple(tuple(entry.id for entry in _L2 if entry.parent == parent.id) for parent in _L1)
"""L1 class id → ids of the L2 classes that it holds."""

MODALITIES: dict[str, tuple[str, ...]] = {"msi": MSI_BANDS, "sar": SAR_BANDS, "concat": MSI_BANDS + SAR_BANDS}
"""Modality name → its bands in channel order: 12, 2 and 14."""

FOLDERS: dict[str, tuple[str, ...]] = {
    "msi": ("msi_images", "opt_images"),
    "sar": ("sar_images",),
    "l1": ("semantic_7c",),
    "l2": ("semantic_14c",),
    "edge_l1": ("edge_7c",),
    "edge_l2": ("edge_14c",),
}
"""Layer name → the folder names it goes by: Kaggle ships ``msi_images``, the authors' own code says ``opt_images``."""
