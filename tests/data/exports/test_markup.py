"""Markup to text; expected texts are what a browser, or Jira, shows of the source."""

from __future__ import annotations

import time

import pytest

from promax.data.exports.markup import plain

HTML = {
    "<p>can't reach <b>srv</b>01</p><p>since <i>Mon</i>day</p>": "can't reach srv01 since Monday",
    "line<br>break<br/>and&nbsp;space": "line break and space",
    "<ul><li>one</li><li>two</li></ul>": "* one * two",
    "<table><tr><td>host</td><td>db01</td></tr></table>": "host db01",
    '<div>see <a href="https://x.org/a?b=1&c=2">the page</a><img src="x.png"></div>': "see the page",
    "<style>p{color:red}</style><p>jam</p><script>alert(1)</script>": "jam",
    "&lt;p&gt;printer&amp;nbsp;jams&lt;/p&gt;": "printer jams",
    "Tom &amp; J&#252;rgen": "Tom & Jürgen",
    "<p>ping <hostname> or List<String> if a < b</p>": "ping <hostname> or List<String> if a < b",
    "<p>shown: &lt;p&gt;</p>": "shown: <p>",
    "<P CLASS='x'>shouted</P>": "shouted",
    "<!-- hidden --><p>open": "open",
}
WIKI = {
    "{code:java}\nList<B> x = {};\n{code}": "List<B> x = {};",
    "{noformat}ERROR <p> at a.b(c){noformat}": "ERROR <p> at a.b(c)",
    "ask [~jdoe] or [~accountid:5b10]": "ask or",
    "h1. Steps\nh3. More": "Steps More",
    "||name||size||\n|a|1|\nnot|a row": "||name||size|| |a|1| not|a row",
    "h2. t\n||name||size||\n|a|1|\nnot|a row": "t name size a 1 not|a row",
    "[the docs|https://x.org] and [https://y.org/a]": "the docs and https://y.org/a",
    "[a |[https://x.org/b]] and [~x|y]": "a and",
    "[https://x.org/a#L5|https://x.org/b] [|https://x.org]": "https://x.org/a#L5",
    "before !screen-1.png|thumbnail! after !a b.jpg!": "before after",
    "{{{}core-site.xml{}}} and {{hdfs}}": "core-site.xml and hdfs",
    "{color:#FF0000}red{color} {quote}said{quote}\n * *bold* item\n # two * three": "red said bold item two * three",
}
NEITHER = [
    "C:\\temp {x} [INFO|main] a|b|c !important! *.log <hostname> List<B> a<b>c 1 < 2 && x",
    "{user} {0} [1] [~] h1 &nosuchentity; R&D; *starred* text",
    "- a dash\n# a hash",
]


@pytest.mark.parametrize("source", [*HTML, *WIKI])
def test_markup_becomes_what_is_shown(source: str) -> None:
    assert " ".join(plain(source).split()) == {**HTML, **WIKI}[source]


@pytest.mark.parametrize("text", NEITHER)
def test_text_that_only_resembles_markup_stays(text: str) -> None:
    assert plain(text) == text


@pytest.mark.parametrize(
    "unit",
    ["{{", "[~", "!a", "!a.b", "[a|", "*a ", "<a ", "|", "&lt;", "<", "<p", "{code:", "<div>", "</p>", "<table>"],
)
def test_no_text_takes_long(unit: str) -> None:
    """32,000 characters of any sign end in a blink: no pattern's time grows with the square of the length."""
    start = time.process_time()
    plain(unit * (32_000 // len(unit)) + "<br>")
    plain(unit * (32_000 // len(unit)))
    assert time.process_time() - start < 2
