"""How attacks are run: batches, devices, verification, journal."""
