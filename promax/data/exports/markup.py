"""HTML and Jira wiki markup -> what a reader would see of it."""

from __future__ import annotations

import html
import re

_TAGS = (
    r"a|abbr|b|big|blockquote|body|br|center|code|dd|del|div|dl|dt|em|font|h[1-6]|head|hr|html|i|img|ins|kbd|li|meta|"
    r"ol|p|pre|s|samp|script|small|span|strike|strong|style|sub|sup|table|tbody|td|tfoot|th|thead|title|tr|tt|u|ul"
)
# What makes a cell HTML: an end tag, or a tag that needs none. `List<B>` has neither.
_IS_HTML = re.compile(rf"</(?:{_TAGS})\s*>|<(?:br|hr|p)\s*/?>|<img\s", re.IGNORECASE)
# `<` that begins no HTML tag: a placeholder like <hostname>, a generic type, less than.
_NO_TAG = re.compile(rf"<(?!/?(?:{_TAGS})(?:\s[^<>]*)?/?>|!--)", re.IGNORECASE)
_ENTITY = re.compile(r"&(?:[A-Za-z][A-Za-z0-9]{1,30}|#\d{1,7}|#[xX][0-9A-Fa-f]{1,6});")

# HTML in such a block is what the ticket is about, not how it is written.
_IS_WIKI_BLOCK = re.compile(r"\{(?:code|noformat|quote)(?::[^{}\n]*)?\}")
_IMAGE = r"![^!\s|][^!|\n]*\.\w{2,4}(?:\|[^!\n]*)?!"
_LINK = r"\[([^\[\]|\n]*)\|(?:(?:https?|ftp|file|mailto):|[#^~/])[^\[\]\n]*\]"
_BARE_LINK = r"\[((?:https?|ftp|file|mailto):[^\[\]\s|]+)\]"
_PERSON = r"\[~[^\[\]\n]+\]"
_BLOCK = r"\{(?:code|noformat|quote|color|panel)(?::[^{}\n]*)?\}"
_MONOSPACE = r"\{\{(?:\{\})?([^{}\n]+?)(?:\{\})?\}\}"  # the editor also writes {{{}x{}}}
_HEADING = r"^[ \t]*h[1-6]\.\s+"
# What makes a cell Jira wiki markup: signs that prose and logs don't use.
_IS_WIKI = re.compile("|".join((_BLOCK, _MONOSPACE, _PERSON, _IMAGE, _BARE_LINK, _LINK, _HEADING)), re.MULTILINE)
# (sign, what remains of it) after the notation guide that Jira ships; in this order, since links nest.
_WIKI = [
    (re.compile(sign, re.MULTILINE), rest)
    for sign, rest in (
        (_BLOCK, " "),
        (_MONOSPACE, r"\1"),
        (_PERSON, " "),
        (_IMAGE, " "),
        (_BARE_LINK, r"\1"),
        (_LINK, r"\1"),
        (_HEADING, ""),
        (r"^[ \t]*(?:\*+|#+|-)[ \t]+", ""),  # list items
        (r"(?<![\w*])\*([^\s*](?:[^*\n]*[^\s*])?)\*(?![\w*])", r"\1"),  # bold
    )
]
_TABLE_ROW = re.compile(r"^[ \t]*\|.*\|[ \t]*$", re.MULTILINE)


def plain(text: str) -> str:
    r"""The text without HTML and Jira wiki markup; one that looks like neither comes back as it is.

    HTML is laid out by inscriptis, so that a block ends a word and an inline tag doesn't. Only tags of
    HTML count as tags: `<hostname>` and `List<String>` stay. Text that was escaped as a whole is
    unescaped first. Code and logs stay, since they say what failed; persons, images and link targets
    with a shown text don't.

    >>> plain("<p>can't reach <b>srv</b>&nbsp;01</p><p>since <i>Mon</i>day</p>").split()
    ["can't", 'reach', 'srv', '01', 'since', 'Monday']
    >>> plain("[~jdoe] see {{core-site.xml}} in [the docs|http://x.org]: {code:xml}<a/>{code}").split()
    ['see', 'core-site.xml', 'in', 'the', 'docs:', '<a/>']
    """
    if _IS_WIKI_BLOCK.search(text) is None:
        if not _IS_HTML.search(text) and _ENTITY.search(text):
            text = html.unescape(text)
        if _IS_HTML.search(text):
            from inscriptis import get_text  # type: ignore[import-untyped]  # brings lxml

            return str(get_text(_NO_TAG.sub("&lt;", text)))
    if _IS_WIKI.search(text):
        for sign, rest in _WIKI:
            text = sign.sub(rest, text)
        text = _TABLE_ROW.sub(lambda row: row[0].replace("|", " "), text)
    return text
