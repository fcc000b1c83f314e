"""Hostile text, as a partner could publish it or a person could be called: what a page must show as text, and nothing else.

Whatever of it comes to life sets `window.hostile`, opens a dialog, or leaves an element that carries `data-hostile`.
"""

from dataclasses import dataclass

RUN = "window.hostile=1"
MARK = "data-hostile"


@dataclass(frozen=True)
class Payload:
    """`name` is safe everywhere; `text` is not."""

    name: str
    text: str


_TEXTS = {
    # HTML
    "script": f"<script>{RUN}</script>",
    "image": f'<img src=x onerror="{RUN}" {MARK}>',
    "svg": f"<svg/onload={RUN} {MARK}>",
    "frame": f'<iframe {MARK} srcdoc="<script>parent.hostile=1</script>"></iframe>',
    "end-of-elements": f"</textarea></title></style></option></select></table><b {MARK}>bold</b>",
    "end-of-script": f"</script><script>{RUN}</script>",
    "comment": "<!--<script>",
    "end-of-comment": f"--><b {MARK}>bold</b><![CDATA[",
    "entities": "&lt;b&gt;&amp;amp;&#60;&quot;&nbsp;",
    # attributes and addresses
    "double-quote": f'" autofocus onfocus="{RUN}" {MARK}="',
    "single-quote": f"' autofocus onfocus='{RUN}' {MARK}='",
    "end-of-tag": f"\"'><b {MARK}>bold</b>",
    "address": f"javascript:{RUN}",
    "data-address": f"data:text/html,<script>{RUN}</script>",
    # scripts and templates
    "template-literal": f"${{{RUN}}}",
    "backtick": f"`;{RUN};`",
    "string": f"';{RUN};//\";{RUN};//",
    "backslash": f"\\';{RUN};//\\u003cscript>",
    "jinja": "{{7*7}}{% raw %}{# gone #}{{ self }}",
    "other-templates": "<%= 7*7 %>#{7*7}{7*7}%s%(name)s{0}",
    "line-separators": f"a\u2028{RUN}\u2029b",
    "prototype": "__proto__",
    # spreadsheets
    "formula": '=HYPERLINK("http://elsewhere.example/","click")',
    "plus": "+1+1",
    "minus": "-1+1",
    "at": "@SUM(1;1)",
    "tab": "\t=1+1",
    "quoted-cell": 'x",=1+1,"y',
    # writing
    "right-to-left": "\u202egnp.exe\u202c \u2067\u202eabc\u2069 \u200fd\u200e",
    "open-isolate": "\u2067\u202eno end to this",
    "zero-width": "ze\u200bro\u200d\u2060wi\ufeffdth\u00ad",
    "combining": "\u0301\u0489" + "Z\u0337\u0351\u0489" * 40,
    "emoji": "👩‍👩‍👧‍👦🏴‍☠️👍🏿",
    "private-use": "\ue000\ufdd0\uffff\U000f0000\U0010ffff",
    "lines": f"one\ntwo\r\nthree\rfour\n=1+1\n<b {MARK}>five</b>",
    "controls": "bell\x07 escape\x1b[31m red\x1b[0m delete\x7f next\x85line form\x0cfeed",
    # length
    "one-word": "W" * 10_000,
    "many-words": "ten thousand characters " * 417,
    "deep": f"<b {MARK}>" * 900,
}
PAYLOADS = tuple(Payload(name, text) for name, text in _TEXTS.items())


def printable(most: int) -> tuple[Payload, ...]:
    """Those that a name may be: nothing invisible in it, at most so many characters. What is too long is cut."""
    cut = [Payload(p.name, p.text[:most].strip()) for p in PAYLOADS]
    return tuple(p for p in cut if p.text and p.text.isprintable())


def fitting(most: int, *, lines: bool = True) -> tuple[Payload, ...]:
    """Those that a text field of a record may hold, cut to `most` characters; without `lines` no control characters."""
    cut = [Payload(p.name, p.text[:most]) for p in PAYLOADS]
    return tuple(p for p in cut if lines or not any(c < " " or c == "\x7f" for c in p.text))


# A page's own doing, asked of it: true when something of a payload lives. Elements whose address would run something count too.
ALIVE = """() => {
  const found = [];
  if ('hostile' in window) found.push('a script ran');
  for (const e of document.querySelectorAll('[data-hostile]')) found.push('<' + e.localName + '> was made');
  for (const e of document.querySelectorAll('*')) for (const a of e.attributes) {
    if (/^on/.test(a.name)) found.push('attribute ' + a.name);
    if (['href', 'src', 'action', 'formaction', 'data', 'xlink:href'].includes(a.name) && /^\\s*(javascript|data:text)/i.test(a.value))
      found.push(a.name + '=' + a.value.slice(0, 40));
  }
  if (({}).polluted !== undefined || Object.prototype.toString.call({}.__proto__) !== '[object Object]') found.push('prototype changed');
  return found;
}"""
