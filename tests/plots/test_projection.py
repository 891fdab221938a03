#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Draws a projection that moebench has just written, and checks what the script says of bad ones.

    test_projection.py MOEBENCH

Exit status: 0 if all passed, 1 if not, 77 without matplotlib (ctest counts that as skipped).
"""
import json
import subprocess

from drawing import Drawing, main


class Projections(Drawing):
    script = "projection"

    def written(self, *more):
        words = "project --preset deepseek-v3 --tokens 32 --nodes 1,2,32 --fabric hgx-h100-ndr --json -".split()
        done = subprocess.run([self.moebench, *words, *more], capture_output=True, text=True, check=True)
        return json.loads(done.stdout)

    def test_draws_what_moebench_writes(self):
        for more in ([], ["--what-if", "nic=25,overlap=0.5"]):
            self.assertEqual(self.drawn(self.written(*more)), (0, ""))
            self.assertGreater(self.figure.stat().st_size, 10000)

    def test_dashes_what_is_extrapolated(self):
        import projection
        solid, beyond = projection.split(self.written()["points"])
        self.assertEqual([point["gpus"] for point in solid], [8, 16])
        self.assertEqual([point["gpus"] for point in beyond], [16, 256])

    def test_says_provenance_and_what_if(self):
        import projection
        lines = "\n".join(projection.caption(self.written("--what-if", "nic=25")))
        for part in ("extrapolated", "given", "7.90 %", "WHAT IF nic=25"):
            self.assertIn(part, lines)

    def test_refuses_what_is_no_projection(self):
        for document in ("", "[]", "{}", json.dumps({"schema": "moebench.report/1"}),
                         json.dumps({"schema": "moebench.projection/1", "points": []})):
            code, said = self.drawn(document)
            self.assertEqual(code, 2)
            self.assertEqual(said.count("\n"), 1, said)
            self.assertFalse(self.figure.exists())


if __name__ == "__main__":
    main()
