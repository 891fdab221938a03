# SPDX-License-Identifier: Apache-2.0
"""report: one page for a browser."""
import html.parser
import json
import os
import pathlib
import re
import shutil
import subprocess
import xml.etree.ElementTree

from program import ROOT, Skip, expect, expect_refused, flags, main, moebench, report, small

VOID = {"meta"}


def _without_each(value, path=()):
    """The paths of all that can be left out, of lists in their first element."""
    steps = value if isinstance(value, dict) else range(len(value[:1])) if isinstance(value, list) else ()
    for step in steps:
        yield (*path, step)
        yield from _without_each(value[step], (*path, step))


def a_report_that_lacks_a_field_is_read_or_refused():
    measured = moebench(f"run {small(experts='2,4', iters=8)} --samples --json a.json")
    assert measured.code == 0
    whole = pathlib.Path("a.json").read_text()
    for path in _without_each({"points": json.loads(whole)["points"]}):
        changed = json.loads(whole)
        *steps, last = path
        inner = changed
        for step in steps:
            inner = inner[step]
        inner[last] = None
        pathlib.Path("b.json").write_text(json.dumps(changed))
        ended = moebench("report b.json -o b.html --force")
        assert ended.code in (0, 2) and len(ended.errors()) == (ended.code == 2), (path, ended.err)


class _Outline(html.parser.HTMLParser):
    """The tags of a page, all of which must be closed in order, and its text."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.words, self.links = [], [], [], []
        self.feed(text)
        assert not self.open, self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.links += [value for name, value in attributes if name in ("src", "href", "xlink:href", "onclick", "onload")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, tag

    def handle_data(self, data):
        self.words.append(data)


def _page(path):
    text = pathlib.Path(path).read_text()
    outline = _Outline(text)
    for svg in re.findall(r"<svg.*?</svg>", text, re.DOTALL):
        xml.etree.ElementTree.fromstring(svg)
    return text, outline


def _doubtful_report():
    """A missed target, an unchecked point and a stage at 118 % of its limit, one point each of three."""
    assert moebench(f"run {small(experts='4,8,16', iters=20)} --json a.json").code == 0
    document = report("a.json")
    missed, unchecked, beaten = document["points"]
    missed["stop"].update(reason="time", unmet="noise 20 % > target 1 %", noise_target_pct=1)
    unchecked["check"].update(mode="none", verdict="unchecked", passed=False, items=[])
    experts = next(stage for stage in beaten["stages"] if stage["stage"] == "experts")
    experts.update(floor_us=1.18 * experts["time"]["p50_us"], limit_pct=118, bound="compute")
    pathlib.Path("a.json").write_text(json.dumps(document))
    report("a.json")  # what is shown is a valid report
    assert moebench("report a.json -o a.html").code == 0


def a_report_becomes_one_page_that_needs_nothing_else():
    assert moebench(f"run {small(experts='4,8,16', engine='loop,naive-mask', iters=20)} --json a.json").code == 0
    made = moebench("report a.json -o a.html")
    assert made.code == 0 and made.out == "" and made.err == "page: a.html\n"
    text, outline = _page("a.html")
    assert not outline.links and "script" not in outline.tags and "@import" not in text and "url(" not in text
    assert [text for text in re.findall(r"https?://[^\"]*", text) if text != "http://www.w3.org/2000/svg"] == []
    assert outline.tags.count("svg") == 3, "rates along experts, times, stages"
    expect(text, "naive-mask", "Where the time goes", "Again: <code>moebench run")
    assert moebench("report a.json -o -").out == text


def doubts_stand_above_all_figures():
    _doubtful_report()
    text, _ = _page("a.html")
    first = text[:text.index("<table")]
    for doubt in ("was missed", "unchecked: 1 point was measured", "1 of 3 points have a stage above 105 % of its limit, up to 118 %"):
        assert doubt in first, (doubt, first)
    assert "no doubt" not in first and "class=\"box fine\"" not in text
    expect(text, "118 !", "unchecked</td>")


def doubts_show_on_the_first_screen_of_a_browser():
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if not browser:
        raise Skip("no browser here (apt-get install chromium)")
    _doubtful_report()
    # The page measures itself: which of the words lie inside a window of 1280 by 720.
    probe = """<script>addEventListener('load', () => {
      const seen = [...document.querySelectorAll('.box li')].filter(e => e.getBoundingClientRect().bottom < 720).map(e => e.textContent);
      const wide = [...document.querySelectorAll('svg text')].filter(e => { const b = e.getBoundingClientRect(), s = e.ownerSVGElement.getBoundingClientRect();
        return b.left < s.left - 1 || b.right > s.right + 1; }).length;
      document.body.innerHTML = '<pre id=probe>' + JSON.stringify({seen, wide}) + '</pre>';
    });</script></body>"""
    pathlib.Path("probed.html").write_text(pathlib.Path("a.html").read_text().replace("</body>", probe))
    shown = subprocess.run([browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1280,720", "--user-data-dir=profile",
                            "--dump-dom", f"file://{os.getcwd()}/probed.html"], capture_output=True, text=True, timeout=80)
    found = re.search(r"<pre id=\"probe\">(.*?)</pre>", shown.stdout, re.DOTALL)
    assert found, shown.stdout[-500:] + shown.stderr[-500:]
    probed = json.loads(found[1].replace("&gt;", ">").replace("&lt;", "<").replace("&amp;", "&"))
    seen = "\n".join(probed["seen"])
    expect(seen, "was missed", "unchecked: 1 point", "118")
    assert probed["wide"] == 0, "a label reaches out of its figure"


def a_page_is_never_written_over_a_file():
    assert moebench(f"run {small()} --json a.json").code == 0
    pathlib.Path("a.html").write_text("mine")
    expect_refused(moebench("report a.json -o a.html"), 2, "a.html already exists; give --force")
    assert pathlib.Path("a.html").read_text() == "mine"
    assert moebench("report a.json --output a.html --force").code == 0
    expect_refused(moebench("report a.json"), 2, "report needs --output FILE (-o)")
    expect_refused(moebench("report -o b.html"), 2, "report needs a report")
    expect_refused(moebench("report b.json -o b.html"), 3, "cannot read report b.json")


def names_of_the_machine_are_text_on_the_page():
    assert moebench(f"run {small()} --json a.json").code == 0
    document = report("a.json")
    document["environment"]["host"] = document["machine"]["host"] = "<script>alert(1)</script>&"
    document["warnings"].append("a <b>bold</b> \x1b[31mwarning")
    pathlib.Path("a.json").write_text(json.dumps(document))
    assert moebench("report a.json -o a.html").code == 0
    text, outline = _page("a.html")
    assert "script" not in outline.tags and "\x1b" not in text
    expect(text, "&lt;script&gt;alert(1)")


def reports_of_old_become_pages():
    for path in sorted(path for path in (ROOT / "results").glob("*/*.json") if path.parent.name != "links"):
        made = moebench(f"report {path} -o page.html --force")
        assert made.code == 0, path
        _page("page.html")


main(globals())
