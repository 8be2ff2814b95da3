"""Links: found in Markdown, with destinations that can be nothing else in a page."""

from __future__ import annotations

import html
import re
from urllib.parse import quote

import httpx
from markdown_it.common.utils import unescapeAll

_PART = r"[^\s()<>\\]|\\\S"
_BARE = r"""[^\s()<>\[\]{}"'`\\|^*$\u3000-\u303f\uff00-\uffef]"""
LINK = rf"""
    (?P<link>(?<!(?<!\\)!)(?P<mark>!*)\[(?P<label>(?:[^\]\[\\]|\\.|\[[^\]\[]*\])*)\]
        \(\s*<?(?P<destination>(?i:https?)://(?:{_PART}|\((?:{_PART})*\))*)>?
        (?:\s+(?:"[^"]*"|'[^']*'|\([^()]*\)))?\s*\))
    | (?P<pointed><(?i:https?)://[^\s<>]*>)
    | (?P<bare>(?:(?i:https?)://|(?i:www)\.)(?=[^\W_])(?:{_BARE}|\({_BARE}*\))+(?<![?!.,:;_~]))
"""
"""A verbose regular expression for links, pictures and addresses of http and https."""


def format_link(address: str, label: str = "") -> str:
    """Return a link in Markdown, or "" if the address is not one of http or https.

    Args:
        address: the destination, as it was written in Markdown.
        label: Markdown without links. Without it, the address is shown.
    """
    if re.match("www", address, re.I):
        address = "http://" + address
    try:
        url = httpx.URL(unescapeAll(address))
        destination = quote(str(url), safe="%-._~:/?#&=+,;")
    except (httpx.InvalidURL, UnicodeError):
        return ""
    # A name or a password before the host could make it look like another one.
    if url.userinfo or not re.fullmatch(rb"[A-Za-z0-9._-]+", url.raw_host):
        return ""
    destination = re.sub("%(?![0-9A-Fa-f]{2})", "%25", destination)
    destination = re.sub("&(#|[A-Za-z0-9]+(?![A-Za-z0-9=]))", _no_entity, destination)
    # Where a parser sees no link in the brackets, the address ends at the > all the same.
    return f"[{label}](<{destination}>)" if label else f"<{destination}>"


def _no_entity(match: re.Match[str]) -> str:
    """JupyterLab's parser writes & as it is, and a browser needs no ; to take it for an entity."""
    is_entity = match[1] == "#" or html.unescape(match[0] + ";") != match[0] + ";"
    return "%26" + match[1] if is_entity else match[0]
