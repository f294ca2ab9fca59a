"""The frame of a report: one HTML page with its style, to be filled by str.format."""

from __future__ import annotations

STYLE = """
:root{color-scheme:light dark;--back:#fcfcfa;--front:#1d2126;--soft:#5b636d;--line:#dcdfe3;--card:#f1f2f0;
--c0:#0072b2;--c1:#d55e00;--c2:#008a63;--c3:#b8558f;--c4:#957000;--c5:#2f8fc4;--c6:#6b7280}
@media (prefers-color-scheme:dark){:root{--back:#15181c;--front:#e6e8ea;--soft:#a3abb5;--line:#363c44;--card:#1f242a;
--c0:#5aaeea;--c1:#ff8f4a;--c2:#35c79a;--c3:#e79ac6;--c4:#dfbd45;--c5:#a3d8f7;--c6:#aab1ba}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:1120px;padding:1.5rem 1rem 3rem;background:var(--back);color:var(--front);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
h1{font-size:1.5rem;margin:0 0 1rem;line-height:1.25;overflow-wrap:anywhere}
h2{font-size:1.05rem;margin:0 0 .5rem;overflow-wrap:anywhere}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:.75rem;margin-bottom:2rem}
.cards div{background:var(--card);border-radius:8px;padding:.7rem .9rem}
.cards span,.cards small{display:block;color:var(--soft);font-size:.85rem;line-height:1.35}
.cards b{display:block;font-size:1.6rem;line-height:1.3;font-weight:650}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,440px),1fr));gap:2rem 2.5rem}
section{min-width:0;margin-bottom:.5rem}
section p{color:var(--soft);font-size:.87rem;margin:.5rem 0 0;overflow-wrap:anywhere}
svg{display:block;overflow:visible;width:100%;max-width:520px;height:auto}
svg text{font-family:inherit!important}
.legend{display:flex;flex-wrap:wrap;gap:.2rem 1rem;color:var(--front)!important}
.legend span{white-space:nowrap}
.legend i{display:inline-block;width:1.3rem;margin-right:.4rem;vertical-align:middle}
.wide{margin-top:2.2rem}
.table{overflow-x:auto}
table{border-collapse:collapse;font-size:.87rem;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:.3rem .9rem .3rem 0;border-bottom:1px solid var(--line);white-space:nowrap}
td:last-child{white-space:normal;min-width:5rem}
.stages td:last-child{min-width:18rem}
th{color:var(--soft);font-weight:500}
pre{background:var(--card);padding:.8rem 1rem;border-radius:8px;overflow-x:auto;font-size:.82rem;line-height:1.45}
summary{cursor:pointer;font-weight:650}
"""

PAGE = (
    """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>"""
    + STYLE.replace("{", "{{").replace("}", "}}")
    + """</style>
</head>
<body>
<h1>{title}</h1>
<div class="cards">{cards}</div>
<div class="charts">{sections}</div>
<section class="wide stages"><h2>Stages</h2>{stages}</section>
<section class="wide"><h2>Scores</h2>{scores}</section>
<section class="wide"><details><summary>Config</summary><pre>{config}</pre></details></section>
</body>
</html>
"""
)
