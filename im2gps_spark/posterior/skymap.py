"""Maps as FITS files, in the form in which gravitational-wave astronomy publishes its multi-order sky maps.

One binary table with a row a cell: its NUNIQ number and the density in it per steradian (LIGO/Virgo/KAGRA Public Alerts
User Guide, "Multi-Order Sky Maps"; numbering and keywords of IVOA MOC 2.0). Within cells a law must be uniform.
"""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from types import ModuleType

import numpy as np

from im2gps_spark import __version__
from im2gps_spark.errors import UsageError
from im2gps_spark.grid import MultiOrderMap, cell_area_sr, from_nuniq

FRAME = "ITRS"
"""The map is of the Earth. The letters that readers of sky maps know (C, E, G) would put it among the stars."""

_COMMENT = "Geodetic latitudes (WGS 84) are taken as latitudes on a sphere."


def need_astropy() -> ModuleType:
    """``astropy.io.fits``.

    Raises:
        UsageError: it is not installed.
    """
    try:
        from astropy.io import fits
    except ModuleNotFoundError as error:
        raise UsageError("FITS files need astropy: pip install 'im2gps-spark[fits]'") from error
    module: ModuleType = fits
    return module


def to_bytes(law: MultiOrderMap, header: Mapping[str, str | int | float] | None = None) -> bytes:
    """The file of a law, equal for equal laws.

    Args:
        law: uniform within cells.
        header: further keywords, of eight characters at most.

    Raises:
        UsageError: astropy is not installed.
        ValueError: a keyword is too long, or one that the file has already.
    """
    fits = need_astropy()
    rank = np.argsort(law.cells)
    table = fits.BinTableHDU.from_columns(
        [
            fits.Column("UNIQ", "K", array=law.cells[rank]),
            fits.Column("PROBDENSITY", "D", unit="sr-1", array=law.density[rank]),
        ]
    )
    table.header.extend(
        [
            ("PIXTYPE", "HEALPIX", "HEALPix pixelisation"),
            ("ORDERING", "NUNIQ", "Cells by 4 * 4^order + nested index"),
            ("COORDSYS", FRAME, "The Earth, not the sky"),
            ("MOCORDER", int(law.order.max()), "Deepest order of a cell"),
            ("INDXSCHM", "EXPLICIT", "Cells are numbered by UNIQ"),
            ("CREATOR", f"im2gps-spark {__version__}"),
        ]
    )
    table.header.add_comment(_COMMENT)
    for key, value in (header or {}).items():
        if len(key) > 8 or key.upper() in table.header:
            raise ValueError(f"{key!r} can't be added to the FITS header: too long, or there already")
        table.header[key] = value
    whole = BytesIO()
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(whole)
    return whole.getvalue()


def from_file(path: str | Path) -> MultiOrderMap:
    """The law in a file that ``to_bytes`` made, or in one of its form.

    Raises:
        UsageError: astropy is not installed.
        OSError: the file can't be read as FITS.
        ValueError: it has no such table, is not a map of the Earth, or not one of mass 1.
    """
    fits = need_astropy()
    with fits.open(path, memmap=False) as units:
        tables = [unit for unit in units if isinstance(unit, fits.BinTableHDU)]
        table = next((t for t in tables if {"UNIQ", "PROBDENSITY"} <= set(t.columns.names)), None)
        if table is None:
            raise ValueError(f"{path} has no table with the columns UNIQ and PROBDENSITY")
        for key, value in (("ORDERING", "NUNIQ"), ("COORDSYS", FRAME)):
            if table.header.get(key) != value:
                raise ValueError(f"{path} is no multi-order map of the Earth: {key} is not {value!r}")
        cells = np.asarray(table.data["UNIQ"], np.int64)
        density = np.asarray(table.data["PROBDENSITY"], np.float64)
    return MultiOrderMap.from_cells(cells, density * cell_area_sr(from_nuniq(cells)[0])).check()
