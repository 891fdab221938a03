#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Draws the links that moebench has just measured, and checks what the script says of bad files.

    test_links.py MOEBENCH

Exit status: 0 if all passed, 1 if not, 77 without matplotlib (ctest counts that as skipped).
"""
import subprocess

from drawing import Drawing, main


class Links(Drawing):
    script = "links"

    def test_draws_what_moebench_writes(self):
        done = subprocess.run([self.moebench, "links", "--ranks", "2", "--backend", "cpu", "--bytes", "4096,16384", "--json", self.path / "x.json"],
                              capture_output=True, text=True)
        if done.returncode == 3:
            self.skipTest("no MPI: " + done.stderr)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.drawn((self.path / "x.json").read_text()), (0, ""))
        self.assertGreater(self.figure.stat().st_size, 10000)

    def test_refuses_what_are_no_links_in_one_line(self):
        schema = {"schema": "moebench.links/1"}
        for document, saying in (("", "links is not JSON"), ("[]", "expected an object"), ({"schema": "moebench.report/1"}, "expected the schema"),
                                 ({**schema, "points": []}, "holds no points"), (schema, "'points' is missing"),
                                 ({**schema, "points": [{}]}, r"points[0]: 'way' is missing")):
            code, said = self.drawn(document)
            self.assertEqual(code, 2)
            self.assertIn(saying, said)
            self.assertEqual(said.count("\n"), 1, said)
            self.assertFalse(self.figure.exists())


if __name__ == "__main__":
    main()
