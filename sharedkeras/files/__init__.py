"""Files that are either whole or not there, and readers that trust nothing they read."""

from sharedkeras.files.archives import describe_archive, read_archive
from sharedkeras.files.bounded import read_bytes
from sharedkeras.files.directories import make_directory
from sharedkeras.files.hdf5 import copy_hdf5
from sharedkeras.files.json_reader import parse_json, read_json
from sharedkeras.files.litter import remove_litter, temporary, vacant
from sharedkeras.files.locks import locked
from sharedkeras.files.placing import put_back, put_in_place
from sharedkeras.files.writing import save_network, write_atomically

__all__ = [
    "copy_hdf5",
    "describe_archive",
    "locked",
    "make_directory",
    "parse_json",
    "put_back",
    "put_in_place",
    "read_archive",
    "read_bytes",
    "read_json",
    "remove_litter",
    "save_network",
    "temporary",
    "vacant",
    "write_atomically",
]
