"""Reading a file of bounded size."""

import pathlib


def read_bytes(path, *, what, max_bytes):
    """Return a file's content, refusing a file that is larger than it can honestly be.

    Args:
        path: of the file.
        what: str, what the file should be, for the message: "a checkpoint".
        max_bytes: int, the largest size accepted.

    Returns:
        Bytes.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is too large, or cannot be read.
    """
    path = pathlib.Path(path)
    try:
        with open(path, "rb") as file:
            data = file.read(max_bytes + 1)
    except FileNotFoundError:
        raise FileNotFoundError(f"No such file. Expected {what}. Received: path={path}") from None
    except (OSError, ValueError) as error:  # ValueError: a path that holds a null character.
        raise ValueError(f"Cannot be read: {error}. Expected {what}. Received: path={path}") from error
    if len(data) > max_bytes:
        raise ValueError(
            f"Too large. Expected {what} of at most {max_bytes:,} bytes. Received: path={path}"
        )
    return data
