"""Small tables of flights, for tests."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from examples.flights.data import Row

TYPICAL = Row._make(next(csv.reader(["2013,1,1,517,515,2,830,819,11,UA,1545,N14228,EWR,IAH,227,1400,5,15,2013-01-01T10:00:00Z"])))
OTHER_TABLES = {
    "planes.csv": "tailnum,year,type,manufacturer,model,engines,seats,speed,engine\n"
    "N14228,1999,Fixed wing multi engine,BOEING,737-824,2,149,NA,Turbo-fan\n",
    "airports.csv": "faa,name,lat,lon,alt,tz,dst,tzone\nEWR,Newark Liberty Intl,40.6925,-74.168667,18,-5,A,America/New_York\n",
    "airlines.csv": "carrier,name\nUA,United Air Lines Inc.\nB6,JetBlue Airways\n",
}


def write_tables(folder: Path, rows: Sequence[Row]) -> Path:
    """Small tables in `folder` with these flights."""
    folder.mkdir(exist_ok=True)
    with (folder / "flights.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([Row._fields, *rows])
    for name, text in OTHER_TABLES.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder
