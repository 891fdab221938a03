# SPDX-License-Identifier: Apache-2.0
"""What the tests of scripts share that draw one JSON document which moebench has just written."""
import contextlib
import importlib
import io
import json
import pathlib
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "plots"))


class Drawing(unittest.TestCase):
    script = ""  # of plots/, without .py
    moebench = ""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = pathlib.Path(folder.name)
        self.figure = self.path / "figure.png"

    def drawn(self, document):
        """The exit code of the script for a document, and what it said on stderr."""
        data = self.path / "data.json"
        data.write_text(document if isinstance(document, str) else json.dumps(document))
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as said:
            code = importlib.import_module(self.script).main([str(data), "-o", str(self.figure)])
        return code, said.getvalue()


def main():
    """Runs the tests of the program's file; its one argument is moebench."""
    try:
        import matplotlib
        del matplotlib
    except ImportError:
        print("skipped: no matplotlib")
        sys.exit(77)
    Drawing.moebench = sys.argv.pop(1)
    unittest.main()
