"""Text that partners may publish and that must stay text."""

HOSTILE = (
    "plain",
    "<b>bold</b>",
    "</script><script>window.alive = 1</script>",
    "<!-- <script>",
    "<img src=x onerror='window.alive = 1'>",
    '" onmouseover="window.alive = 1" x="',
    "${window.alive = 1}",
    "`; window.alive = 1; `",
    "\\`${window.alive = 1}\\`",
    "\\u003cscript\\u003e",
    "{{ 7 * 7 }} {% raw %}",
    "&lt;b&gt; &amp; &#96;",
    "javascript:window.alive=1",
    "\u202eright to left\u202c \u2066isolate\u2069",
    "e\u0301\u0301\u0301 \u200b \u2028 \u2029",
    "\U0001f692 $ \\ ' \"",
    "x" * 10_000,
)
