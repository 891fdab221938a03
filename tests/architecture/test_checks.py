#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The checks of the source tree find what they are for: each is given a tree with one planted offence."""
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
import check_format  # noqa: E402
import check_includes  # noqa: E402
import check_sizes  # noqa: E402

CXX, PYTHON, SHELL = pathlib.Path("src/a.cpp"), pathlib.Path("plots/a.py"), pathlib.Path("tools/a")


def body(lines):
    return "  work();\n" * (lines - 2)


class Sizes(unittest.TestCase):
    def complaints(self, path, text):
        return list(check_sizes.complaints(path, text))

    def test_a_file_of_400_lines_is_the_longest(self):
        self.assertEqual(self.complaints(CXX, "int a;\n" * 400), [])
        self.assertRegex(self.complaints(CXX, "int a;\n" * 401)[0], "src/a.cpp: 401 lines")

    def test_a_function_of_60_lines_is_the_longest(self):
        for head in ("void run() {\n", "TEST(Module, Name) {\n", "template <class T>\nvoid run(T t) const {\n",
                     "Module::Module(int a) : a_(a), b_{a} {\n", "auto run = [](int a) {\n"):
            extra = head.count("\n") - 1
            with self.subTest(head=head):
                self.assertEqual(self.complaints(CXX, head + body(60 - extra) + "}\n"), [])
                self.assertRegex(self.complaints(CXX, head + body(61 - extra) + "}\n")[0], "a.cpp:1: .* has 61 lines")

    def test_methods_are_functions_and_classes_are_not(self):
        methods = "  void run() {\n" + body(20) + "  }\n"
        self.assertEqual(self.complaints(CXX, "class A : B<decltype(c)> {\n public:\n" + methods * 5 + "};\n"), [])
        long = "  void run() {\n" + body(70) + "  }\n"
        self.assertRegex(self.complaints(CXX, "class A {\n public:\n" + long + "};\n")[0], "run has 70 lines")

    def test_tables_and_namespaces_are_not_functions(self):
        rows = '    {"a", with(kSmall)},\n' * 80
        self.assertEqual(self.complaints(CXX, "namespace a {\nconst Named kCases[] = {\n" + rows + "};\n}\n"), [])

    def test_braces_in_text_and_comments_do_not_count(self):
        text = "void run() {\n  say('{', \"{\", 100'000); // {\n  /* { */\n  say(R\"x({)x\");\n" + body(70) + "}\n"
        self.assertRegex(self.complaints(CXX, text)[0], "run has 73 lines")

    def test_python_and_shell_are_measured_too(self):
        self.assertRegex(self.complaints(PYTHON, "def run():\n" + "    work()\n" * 60)[0], "run has 61 lines")
        self.assertRegex(self.complaints(SHELL, "#!/bin/bash\nrun() {\n" + body(61) + "}\n")[0], "run has 61 lines")


class Includes(unittest.TestCase):
    def tree(self, **files):
        root = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory())) if hasattr(self, "enterContext") else None
        if root is None:  # Python before 3.11
            folder = tempfile.TemporaryDirectory()
            self.addCleanup(folder.cleanup)
            root = pathlib.Path(folder.name)
        for name, text in files.items():
            path = root / name.replace("__", "/").replace("_h", ".h")
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        return root

    def test_a_room_below_may_not_include_one_above(self):
        root = self.tree(base__a_h='#include "cli/b.h"\n', cli__b_h="")
        self.assertEqual(list(check_includes.complaints(root)), ["base/a.h:1: base may not include cli (cli/b.h)"])

    def test_a_circle_of_includes_is_found_once(self):
        root = self.tree(base__a_h='#include "base/b.h"\n', base__b_h='#include "base/c.h"\n', base__c_h='#include "base/a.h"\n')
        self.assertEqual(list(check_includes.circles(check_includes.included(root))),
                         ["a circle of includes: base/a.h → base/b.h → base/c.h → base/a.h"])

    def test_two_ways_to_one_file_are_no_circle(self):
        root = self.tree(base__a_h='#include "base/b.h"\n#include "base/c.h"\n', base__b_h='#include "base/c.h"\n', base__c_h="")
        self.assertEqual(list(check_includes.circles(check_includes.included(root))), [])


class Format(unittest.TestCase):
    def test_a_source_laid_out_otherwise_is_found(self):
        if not check_format.find_formatter()[0]:
            self.skipTest(check_format.find_formatter()[1])
        with tempfile.TemporaryDirectory() as folder:
            shutil.copy(HERE.parents[1] / ".clang-format", folder)
            file = pathlib.Path(folder) / "a.cpp"
            for text, code in (("int a() { return 1; }\n", 0), ("int a()\n{ return 1; }\n", 1)):
                file.write_text(text)
                done = subprocess.run([sys.executable, HERE / "check_format.py", folder, file], capture_output=True, text=True)
                self.assertEqual(done.returncode, code, done.stdout)


if __name__ == "__main__":
    unittest.main()
