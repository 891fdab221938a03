#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""No file over 400 lines, no function over 60: every source of the tree, whatever its language.

A function of C++ or CUDA is found by its braces, in code without comments and literals; what lies inside a function
(lambdas, local classes) is part of it. One of Python is found by its syntax tree, one of a shell script by the lines
`name() {` and `}`.
"""
import argparse
import ast
import pathlib
import re
import sys

FILE_LINES, FUNCTION_LINES = 400, 60
CXX = {".h", ".cpp", ".cu", ".cuh"}
FOLDERS = ("src", "tests", "tools", "plots", "cmake", ".ci")

# Comments, raw strings, strings and characters; a digit separator (100'000) begins none.
HIDDEN = re.compile(r'//[^\n]*|/\*.*?\*/|R"([^(\s]*)\(.*?\)\1"|"(?:\\.|[^"\\\n])*"|(?<![0-9a-zA-Z_])\'(?:\\.|[^\'\\\n])+\'',
                    re.DOTALL)
# A directive with the lines that continue it: the macros' braces are not the file's.
DIRECTIVE = re.compile(r"^[ \t]*#(?:[^\n\\]|\\.|\\\n)*", re.MULTILINE)


def blank(text):
    """Only its ends of lines."""
    return "\n" * text.count("\n")


def is_function(head):
    """Whether the code before a brace, since the last statement, is the head of a function."""
    head = re.sub(r"\[\[[^\]]*\]\]", " ", head).strip()
    if not head or "(" not in head:
        return False
    if re.match(r"(template\s*<[^{]*>\s*)?(namespace|enum|union|class|struct)\b", head):
        return False
    return not re.search(r"(^|[^=!<>+*/|&^-])=(?!=)[^()]*$", re.sub(r"operator\s*[=!<>]+", "operator", head))


def is_part_of_head(head):
    """Whether a brace after this head belongs to it: to an argument, or to a member that a constructor initialises."""
    member = re.search(r"\)[\s\w]*:(?!:)", head) and re.search(r"[\w>]\s*$", head)
    return head.count("(") > head.count(")") or bool(member)


def cxx_functions(text):
    """(name, first line, lines) of every function that is not inside another."""
    code = DIRECTIVE.sub(lambda found: blank(found[0]), HIDDEN.sub(lambda found: blank(found[0]), text))
    head, first, line, depth, inside, function = "", 1, 1, 0, 0, None
    for character in code:
        line += character == "\n"
        if inside or (character == "{" and function is None and is_part_of_head(head)):
            inside += {"{": 1, "}": -1}.get(character, 0)
            head += "" if inside else "}"
            continue
        if character == "{":
            if function is None and is_function(head):
                function = (re.sub(r"\s+", " ", head.split("(")[0]).strip(), first, depth)
            depth += 1
        elif character == "}":
            depth -= 1
            if function and function[2] == depth:
                yield function[0], function[1], line - function[1] + 1
                function = None
        if character in "{};" or (character == ":" and head in ("public", "private", "protected")):
            head = ""
        elif head or not character.isspace():
            first = first if head else line
            head += character


def python_functions(text):
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node.name, node.lineno, node.end_lineno - node.lineno + 1


def shell_functions(text):
    begun = None
    for number, line in enumerate(text.splitlines(), 1):
        found = re.match(r"(\w+)\(\) \{", line)
        if found and not line.rstrip().endswith("}"):
            begun = found[1], number
        elif line == "}" and begun:
            yield begun[0], begun[1], number - begun[1] + 1
            begun = None


def functions_of(path, text):
    if path.suffix in CXX:
        return cxx_functions(text)
    if path.suffix == ".py" or re.match(r"#!.*python", text):
        return python_functions(text)
    return shell_functions(text) if path.suffix == ".sh" or re.match(r"#!.*sh\b", text) else []


def complaints(path, text):
    lines = text.count("\n")
    if lines > FILE_LINES:
        yield f"{path}: {lines} lines, and a file has at most {FILE_LINES}"
    for name, first, length in functions_of(path, text):
        if length > FUNCTION_LINES:
            yield f"{path}:{first}: {name} has {length} lines, and a function at most {FUNCTION_LINES}"


def is_source(path):
    return path.suffix in CXX | {".py", ".sh", ".cmake"} or path.name == "CMakeLists.txt" or not path.suffix


def sources(root):
    for folder in FOLDERS:
        for path in sorted((root / folder).rglob("*")):
            if path.is_file() and is_source(path) and "__pycache__" not in path.parts and "seeds" not in path.parts:
                yield path


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root", type=pathlib.Path)
    root = parser.parse_args().root
    found, files, functions = [], 0, 0
    for path in sources(root):
        text = path.read_text(encoding="utf-8")
        files += 1
        functions += sum(1 for _ in functions_of(path, text))
        found += complaints(path.relative_to(root), text)
    print("\n".join(found) or f"{files} files and {functions} functions are short")
    sys.exit(bool(found) or functions == 0)
