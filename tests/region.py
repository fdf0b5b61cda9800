"""A dataset that is not CerraData-4MM: ids with gaps, three linked levels, a third sensor, small patches."""

from cerraseg.config.dataset import Dataset

IDS = (3, 15, 24, 33, 39)
"""Class ids of the finest level."""

REGION = Dataset.of(
    {
        "name": "my-region",
        "patch_size": 64,
        "sensors": {
            "msi": {"title": "Sentinel-2", "bands": ["B03", "B02", "B04", "B08"], "true_colour": ["B04", "B03", "B02"]},
            "sar": {"title": "Sentinel-1", "bands": ["VV", "VH"], "true_colour": ["VV", "VH", "VV"]},
            "dem": {"title": "Elevation model", "bands": ["elevation"]},
        },
        "levels": {
            "l1": {"classes": [{"id": 1, "name": "Wild"}, {"id": 2, "name": "Used"}]},
            "l2": {
                "classes": [
                    {"id": 40, "name": "Woods", "parent": 1},
                    {"id": 30, "name": "Open ground", "parent": 1},
                    {"id": 20, "name": "Fields", "parent": 2},
                ]
            },
            "l3": {
                "classes": [
                    {"id": 3, "name": "Woodland", "abbreviation": "Wo", "colour": "#1a7d2f", "parent": 40},
                    {"id": 15, "name": "Grassland", "abbreviation": "Gr", "colour": "#ceef62", "parent": 30},
                    {"id": 24, "name": "Soy", "abbreviation": "So", "colour": "#ffd700", "parent": 20},
                    {"id": 33, "name": "Maize", "abbreviation": "Ma", "colour": "#df7c26", "parent": 20},
                    {"id": 39, "name": "Water", "abbreviation": "Wa", "colour": "#1332ff", "parent": 30},
                ]
            },
        },
    }
)
L3 = REGION.classes("l3")
