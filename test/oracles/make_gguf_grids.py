"""Makes the tables of lib/formats/gguf/grid-tables.ts from the gguf package.

Usage: make_gguf_grids.py write|compare FILE
"""
import base64
import pathlib
import sys
import textwrap

from gguf import quants

TYPES = ["IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S", "IQ1_S"]
HEAD = """/**
 * @file The lattice points of the IQ1, IQ2 and IQ3 types of GGUF, in base64: numbers of coordinates, the first in the lowest bits, four
 * of 2 bits to a byte, or two of 3 bits with a bit of 0 above each.
 *
 * Reference: gguf-py/gguf/quants.py of ggml-org/llama.cpp. Made by test/oracles/make_gguf_grids.py.
 */

export const gridTables = {
"""


def made():
    text = HEAD
    for name in TYPES:
        points = bytes.fromhex(getattr(quants, name).grid_hex.decode())
        text += f"  {name}: `\n" + "\n".join(textwrap.wrap(base64.b64encode(points).decode(), 120)) + "`,\n"
    return text + "} as const;\n"


verb, file = sys.argv[1], pathlib.Path(sys.argv[2])
if verb == "write":
    file.write_text(made())
else:
    assert file.read_text() == made(), f"{file} differs from the tables of the gguf package"
    print(f"the lattices of {len(TYPES)} GGUF types agree")
