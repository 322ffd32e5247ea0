"""Random numbers as functions of what they are for, never of who asks first.

Conventions:
    A draw is addressed by (seed, purpose, indices): the same address gives the same numbers on any worker, after any resume.
"""

import hashlib

import numpy as np
from jaxtyping import Int64, UInt64


def key(*address: int | str) -> int:
    """A 64-bit key for an address."""
    text = "\x1f".join(str(part) for part in address)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def generator(*address: int | str) -> np.random.Generator:
    """A generator that belongs to an address alone."""
    return np.random.Generator(np.random.Philox(key=key(*address)))


def mix(values: UInt64[np.ndarray, " n"], salt: int) -> UInt64[np.ndarray, " n"]:
    """Scramble 64-bit values, one for one.

    Source: the finaliser of splitmix64 (Steele et al. 2014).
    """
    with np.errstate(over="ignore"):
        mixed = values ^ np.uint64(salt)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return mixed ^ (mixed >> np.uint64(31))


def permutation(size: int, *address: int | str) -> Int64[np.ndarray, " size"]:
    """A random order of `range(size)` that belongs to an address; the same with any version of numpy."""
    scrambled = mix(np.arange(size, dtype=np.uint64), key(*address))
    return np.argsort(scrambled, kind="stable")
