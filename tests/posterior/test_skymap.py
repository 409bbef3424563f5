"""Maps in FITS, read back by nothing but the rules of the format."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from im2gps_spark import __version__
from im2gps_spark.errors import UsageError
from im2gps_spark.grid import MAX_ORDER, cell_area_sr, from_nuniq
from im2gps_spark.posterior.skymap import from_file, to_bytes
from tests.posterior.laws import random_map

LAW = random_map(np.random.default_rng(4), 200, MAX_ORDER)


def read_header(data: bytes, at: int) -> tuple[dict[str, str], int]:
    """Keywords of the unit that begins at a byte, and where its data begin (FITS 4.0, sections 3 and 4)."""
    words: dict[str, str] = {}
    while True:
        card = data[at : at + 80].decode("ascii")
        at += 80
        if card[:8] == "END     ":
            return words, -(-at // 2880) * 2880
        if card[8:10] == "= ":
            words[card[:8].strip()] = card[10:].split("/")[0].strip().strip("'").strip()


def test_the_file_is_a_table_of_cells_and_densities():
    """Big-endian rows of int64 and float64 in 2,880-byte blocks: no library is needed to read it."""
    data = to_bytes(LAW, {"PHOTO_ID": 2**40, "ENGINE": "im2gps"})
    assert len(data) % 2880 == 0
    primary, at = read_header(data, 0)
    assert (primary["SIMPLE"], primary["NAXIS"]) == ("T", "0")
    table, at = read_header(data, at)
    form = {
        **{"XTENSION": "BINTABLE", "NAXIS1": "16", "NAXIS2": str(len(LAW.cells)), "PCOUNT": "0", "TFIELDS": "2"},
        **{"TTYPE1": "UNIQ", "TFORM1": "K", "TTYPE2": "PROBDENSITY", "TFORM2": "D", "TUNIT2": "sr-1"},
        **{"PIXTYPE": "HEALPIX", "ORDERING": "NUNIQ", "INDXSCHM": "EXPLICIT", "MOCORDER": str(LAW.order.max())},
        **{"COORDSYS": "ITRS", "CREATOR": f"im2gps-spark {__version__}"},
        **{"PHOTO_ID": str(2**40), "ENGINE": "im2gps"},
    }
    assert form.items() <= table.items()
    rows = np.frombuffer(data, np.dtype([("cell", ">i8"), ("density", ">f8")]), len(LAW.cells), at)
    assert np.all(np.diff(rows["cell"]) > 0)
    assert set(rows["cell"].tolist()) == set(LAW.cells.tolist())
    area = cell_area_sr(from_nuniq(rows["cell"])[0])
    assert float((rows["density"] * area).sum()) == pytest.approx(1.0)


def test_what_is_written_comes_back(tmp_path: Path):
    (tmp_path / "a.fits").write_bytes(to_bytes(LAW))
    back = from_file(tmp_path / "a.fits")
    assert np.array_equal(back.cells, LAW.cells)
    assert back.mass == pytest.approx(LAW.mass, rel=1e-14)
    assert to_bytes(LAW) == to_bytes(LAW)


def test_no_reader_of_sky_maps_is_needed(tmp_path):
    code = (
        "import sys; from im2gps_spark.posterior import Posterior; from im2gps_spark.grid import MultiOrderMap\n"
        "assert 'astropy' not in sys.modules, 'loaded before it is needed'\n"
        "Posterior.from_law(MultiOrderMap.uniform()).to_fits(sys.argv[1]); Posterior.from_fits(sys.argv[1])\n"
        "assert 'astropy' in sys.modules\n"
        "assert not {'mhealpy', 'healpy', 'ligo', 'astropy_healpix', 'numba', 'pyspark'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path / "a.fits"], check=True)
    assert [path.name for path in tmp_path.iterdir()] == ["a.fits"]


@pytest.mark.parametrize("key", ["ORDERING", "photo_identifier", "NAXIS2", "TTYPE1"])
def test_a_keyword_that_does_not_fit_is_refused(key):
    with pytest.raises(ValueError, match=key):
        to_bytes(LAW, {key: "x"})


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"COORDSYS= 'ITRS    '", b"COORDSYS= 'C       '", "COORDSYS is not 'ITRS'"),
        (b"ORDERING= 'NUNIQ   '", b"ORDERING= 'NESTED  '", "ORDERING is not 'NUNIQ'"),
        (b"'PROBDENSITY'", b"'PROBABILITY'", "no table with the columns"),
    ],
)
def test_another_map_is_refused(tmp_path, old, new, message):
    data = to_bytes(LAW)
    assert data.count(old) == 1
    (tmp_path / "a.fits").write_bytes(data.replace(old, new))
    with pytest.raises(ValueError, match=message):
        from_file(tmp_path / "a.fits")


def test_a_file_that_is_no_map_or_is_not_there_is_refused(tmp_path):
    (tmp_path / "a.fits").write_bytes(b"not FITS at all" * 300)
    for name in ("a.fits", "gone.fits"):
        with pytest.raises(OSError):
            from_file(tmp_path / name)


def test_without_astropy_the_extra_is_named(monkeypatch):
    for name in ("astropy", "astropy.io"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UsageError, match=r"pip install 'im2gps-spark\[fits\]'"):
        to_bytes(LAW)
    with pytest.raises(UsageError, match="astropy"):
        from_file("any.fits")
