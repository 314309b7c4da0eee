"""The text of a ticket: what happened first, its context last, so that a model can't lean on a category prefix."""

from __future__ import annotations

import re

_CONTEXT = re.compile(r"\s*\(Context: .*\)\s*$", re.DOTALL)


def ticket_text(
    short: str,
    description: str,
    *,
    service: str = "",
    offering: str = "",
    category: str = "",
    subcategory: str = "",
    group: str = "",
) -> str:
    """One line by the template `{short}. {description} (Context: [{service} | {offering}] [{category} |
    {subcategory}] Group: {group}.)`, without the parts that are empty.

    >>> ticket_text("VPN drops", "Every ten minutes.", service="VPN", category="network", group="Net Ops")
    'VPN drops. Every ten minutes. (Context: [VPN] [network] Group: Net Ops.)'
    >>> ticket_text("VPN drops", "")
    'VPN drops'
    """
    body = f"{short}. {description}" if short and description else short or description
    parts = [
        f"[{' | '.join(filled)}]"
        for filled in ([x for x in pair if x] for pair in ((service, offering), (category, subcategory)))
        if filled
    ]
    parts += [f"Group: {group}."] if group else []
    context = f" (Context: {' '.join(parts)})" if parts else ""
    return " ".join(f"{body}{context}".split())


def without_context(text: str) -> str:
    """The text up to the context that `ticket_text` ends with; a text without one as it is.

    >>> without_context("VPN drops. (Context: [VPN] Group: Net Ops.)")
    'VPN drops.'
    """
    return _CONTEXT.sub("", text)
